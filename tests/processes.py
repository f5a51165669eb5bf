"""Processes that a test started: which of them live, how much memory they took, what they read."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

_ACCESS, _OPEN = 0x1, 0x20
# Between two looks; the peak that the kernel keeps lacks no more than what is allocated meanwhile.
_SECONDS = 0.01


def children() -> set[int]:
    """Numbers of the processes that this one started and that are there."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(child) for text in lists for child in text.read_text().split()}


def descendants(pid: int) -> set[int]:
    """Numbers of the processes that a process started, and those started; without zombies."""
    parents = _parents()
    known = {pid}
    while more := {child for child, parent in parents.items() if parent in known} - known:
        known |= more
    return known - {pid}


def children_of(pid: int) -> set[int]:
    """Numbers of the processes that a process started, without zombies."""
    return {child for child, parent in _parents().items() if parent == pid}


def _parents() -> dict[int, int]:
    """Number of each process, without zombies, and of the one that started it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _fields(folder)
        if fields[0] not in "ZX":
            parents[int(folder.name)] = int(fields[1])
    return parents


def running() -> set[int]:
    """Numbers of all processes, without zombies."""
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _fields(path)[0] not in "ZX"}


def parent(pid: int) -> int:
    """Number of the process that started it; 0 of a process that is gone."""
    return int(_fields(Path(f"/proc/{pid}"))[1])


def peak(pid: int) -> float:
    """Most memory that a process ever held, in MB; of a process that is gone, 0."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


class Peaks:
    """Follows the peak memory of processes, also of those that end meanwhile; a context manager.

    Args:
      processes: called for the numbers of those to be followed.

    Attributes:
      megabytes: of each process that was seen, since the last `clear`.
    """

    def __init__(self, processes: Callable[[], Iterable[int]]):
        self._processes = processes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self.megabytes: dict[int, float] = {}

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Takes the peaks as they are now."""
        for pid in self._processes():
            self.megabytes[pid] = max(self.megabytes.get(pid, 0.0), peak(pid))

    def clear(self) -> None:
        """Forgets the processes that were seen."""
        self.megabytes = {}

    def _follow(self) -> None:
        while not self._stop.wait(_SECONDS):
            with contextlib.suppress(OSError):  # A thread of this process ended.
                self.look()


class Watch:
    """Tells whether anyone opened or read one of some files (inotify)."""

    def __init__(self, *paths: Path):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.inotify_init1(os.O_NONBLOCK)
        assert self._file >= 0
        self._names = {
            self._libc.inotify_add_watch(self._file, bytes(path), _ACCESS | _OPEN): path.name
            for path in paths
        }
        assert min(self._names) > 0

    def touched(self) -> list[str]:
        """Names of the files that were touched since the last call."""
        try:
            data = os.read(self._file, 1 << 16)
        except BlockingIOError:
            return []
        names, at = [], 0
        while at < len(data):
            number, _, _, length = struct.unpack_from("iIII", data, at)
            names.append(self._names[number])
            at += 16 + length
        return names

    def close(self) -> None:
        os.close(self._file)


def _fields(folder: Path) -> list[str]:
    """State, parent and more of a process; the name before them may hold anything."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", "0"]
