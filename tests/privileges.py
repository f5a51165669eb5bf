"""What root may do beyond other users, and work without it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent import futures
from typing import TypeVar

_Result = TypeVar("_Result")

# linux/capability.h
_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


def bound_by_modes(work: Callable[[], _Result]) -> _Result:
    """The result of work for which file modes hold, also where the user is root.

    It runs in a thread of its own, which gives up the capabilities that root passes modes by, and
    so do the threads that it starts; programs that it starts have them again.
    """
    with futures.ThreadPoolExecutor(1, initializer=_drop) as thread:
        return thread.submit(work).result()


def _drop() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    _check(libc.capget(ctypes.byref(header), sets))
    # The permitted ones as well: access(2) asks for them.
    sets[0].effective &= ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    sets[0].permitted &= ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    _check(libc.capset(ctypes.byref(header), sets))


def _check(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), "the capabilities of this thread cannot be changed")
