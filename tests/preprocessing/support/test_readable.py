"""Folders of another user end with a sentence that names user and remedy."""

import os

import pytest
from privileges import bound_by_modes

from preprocessing.support import readable
from preprocessing.support.errors import UsageError


@pytest.mark.parametrize("closed", [".", "7"])
def test_folder_that_may_not_be_read_is_named(tmp_path, closed):
    (tmp_path / "7").mkdir()
    readable.check_readable(tmp_path)
    name = (tmp_path / closed).resolve()
    name.chmod(0)
    try:
        with pytest.raises(
            UsageError, match=rf"{name} may not be read by the user {os.geteuid()} "
        ):
            bound_by_modes(lambda: readable.check_readable(tmp_path))
    finally:
        name.chmod(0o755)
