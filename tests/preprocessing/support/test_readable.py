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


def test_link_into_a_closed_folder_is_passed_over(tmp_path):
    closed = tmp_path / "closed"
    (closed / "7").mkdir(parents=True)
    base = tmp_path / "models"
    base.mkdir()
    (base / "7").symlink_to(closed / "7")
    closed.chmod(0)
    try:
        bound_by_modes(lambda: readable.check_readable(base))
    finally:
        closed.chmod(0o755)
