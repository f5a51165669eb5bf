import pytest

from pipeline.config import load_config
from preprocessing.support.beam_args import worker_args


@pytest.mark.integration
@pytest.mark.parametrize("workers", [1, 2])
def test_tfx_does_not_pack_itself_for_workers_on_this_machine(workers):
    from tfx.utils import dependency_utils

    arguments = [*load_config("demo").beam_args, *worker_args(workers)]
    assert dependency_utils.make_beam_dependency_flags(arguments) == arguments
