"""Temporary folders of the gateway: one for uploads, and one for each worker's own files."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

_LOG = logging.getLogger(__name__)

_PREFIX = "deepfake-gateway-"


class Spool:
    """A folder of this process's own, which others of its kind leave alone while it lives.

    Whoever holds the lock of a folder owns it, and the operating system gives locks back when a
    process ends in any way: a folder without one is what a killed gateway has left behind.

    Attributes:
      folder: empty at first.
    """

    def __init__(self) -> None:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            # Another gateway may have swept the folder before it was locked.
            if folder.exists():
                self.folder = folder
                return
            os.close(self._lock)

    def close(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # Closed before.
            os.close(self._lock)
        self._lock = -1


def sweep() -> list[Path]:
    """Removes the folders of gateways of this user that ended without doing so themselves.

    Returns:
      What was removed.
    """
    removed = []
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # It went away meanwhile.
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)
    if removed:
        _LOG.warning("removed %d folders that a killed gateway left behind", len(removed))
    return removed
