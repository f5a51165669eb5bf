"""Folders of another user end with a sentence that names user and remedy."""

import os

import pytest

from preprocessing.support import readable
from preprocessing.support.errors import UsageError


@pytest.mark.parametrize("closed", [".", "7"])
def test_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch, closed):
    (tmp_path / "7").mkdir()
    readable.check_readable(tmp_path)
    # As root may read everything, what the kernel would say to others is said here.
    name = (tmp_path / closed).resolve()
    monkeypatch.setattr(readable.os, "access", lambda path, mode: path != name)
    with pytest.raises(UsageError, match=rf"{name} may not be read by the user {os.geteuid()} "):
        readable.check_readable(tmp_path)
