"""`deepfake doctor`."""

from __future__ import annotations


def doctor() -> int:
    """Check this machine: versions, imports, disk, memory, GPU, Docker, Java.

    Exit status: 0 a run can work here, 1 something that it needs is broken.
    """
    from pipeline.doctor import examine

    broken = 0
    for finding in examine():
        print(f"{finding.state:<8} {finding.name:<55} {finding.detail}", flush=True)
        broken += finding.state == "broken"
    print(f"\n{broken} broken" if broken else "\na run can work here")
    return 1 if broken else 0
