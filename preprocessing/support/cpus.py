"""The CPUs that this process may use: those of the machine, less what a container or job denies."""

from __future__ import annotations

import os
from pathlib import Path

# Of control groups, version 2 and version 1, as a container sees its own: microseconds of CPU time
# in a period of microseconds. Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst
# of Linux.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def available_cpus() -> int:
    """Whole CPUs, at least 1."""
    cpus = float(len(os.sched_getaffinity(0)))
    for files in ((_QUOTA,), (_QUOTA_1, _PERIOD_1)):
        try:
            quota, period = " ".join(file.read_text(encoding="ascii") for file in files).split()
        except (OSError, ValueError):
            continue
        # Without a limit version 2 writes `max`, version 1 -1.
        if quota.isdigit() and int(period):
            cpus = min(cpus, int(quota) / int(period))
    return max(1, int(cpus))


def threads_of_a_worker(workers: int) -> int:
    """Threads for one of the worker processes that share this machine.

    Args:
      workers: their number.

    Returns:
      0 for the only one on a machine without limits: the libraries take all CPUs by themselves.
    """
    threads = max(1, available_cpus() // workers)
    return 0 if threads >= (os.cpu_count() or 1) and workers == 1 else threads
