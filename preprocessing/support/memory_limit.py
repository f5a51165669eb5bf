"""The memory that a container may use: beyond it the kernel kills, without a word."""

from __future__ import annotations

from pathlib import Path

from preprocessing.support.errors import UsageError

# Of control groups, version 2 and version 1, as a container sees its own. Documentation/
# admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux.
_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# Version 1 writes the largest number of whole pages where there is no limit.
_NO_LIMIT = 1 << 60


def memory_limit() -> int | None:
    """Bytes that the processes of this container may use together; None where nothing limits."""
    for name in _FILES:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None
    return None


def check_memory(megabytes: int, what: str) -> None:
    """Refuses to start where the memory will not do.

    Args:
      megabytes: that are needed, in MiB.
      what: needs them, for the message.

    Raises:
      UsageError: the limit is below.
    """
    limit = memory_limit()
    if limit is not None and limit < megabytes << 20:
        raise UsageError(
            f"this container may use {limit >> 20} MiB of memory, and {what} needs {megabytes} "
            "MiB: raise the container's memory limit"
        )
