"""What glibc's allocator keeps; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import gc

# Of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_KEPT_BYTES = 256 << 20


def keep_memory() -> None:
    """Has freed memory used again, up to 256 MiB at the end of the heap.

    Otherwise blocks of more than some MB come from the kernel each time and go back to it. Each
    of their pages is a fault then: copying 50 MB takes several times as long, and where Python or
    gRPC copy, they hold the GIL.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_memory_back() -> None:
    """Frees what only cycles of Python objects hold, and returns unused memory to the kernel."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc keeps freed arenas, and swaps would add up.
        trim(0)
