import pytest

from preprocessing.support.beam_args import local_args


@pytest.mark.integration
@pytest.mark.parametrize("workers", [1, 2])
def test_tfx_does_not_pack_itself_for_workers_on_this_machine(workers):
    from tfx.utils import dependency_utils

    arguments = local_args(workers)
    assert dependency_utils.make_beam_dependency_flags(arguments) == arguments
