"""Folders for what is on its way from or to an object store, emptied whatever happens."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "deepfake-scratch-"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder that is deleted afterwards.

    It lies in a folder of this process below `TMPDIR`. A killed process leaves its own behind, and
    the next one deletes that: the lock on it (flock) goes with the process, however that ends.
    """
    folder = Path(tempfile.mkdtemp(dir=_of_process(os.getpid())))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.lru_cache(maxsize=1)
def _of_process(pid: int) -> Path:
    """The folder of this process; `pid` tells a fork from its parent."""
    parent = Path(tempfile.gettempdir())
    _sweep(parent)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Stays open until the process ends; programs that it starts do not inherit it.
        held = _locked(folder)
        if held is not None and folder.exists():  # Another's sweep may have come in between.
            break
    atexit.register(_delete, folder, pid)
    return folder


def _delete(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Deletes the folders of processes that are gone."""
    for folder in parent.glob(f"{_PREFIX}*"):
        descriptor = _locked(folder)
        if descriptor is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None where another process does, or may not be."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
