"""`deepfake doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

Imports = Annotated[
    bool,
    typer.Option(
        "--imports", help="Show instead where the start of programs goes: seconds by library."
    ),
]


def doctor(imports: Imports = False) -> int:
    """Check this machine: versions, imports, disk, memory, GPU, Docker, Java.

    Where the extra `pipeline` is not installed, as in the image `serve`, what answers need is
    looked at, and not what runs need.

    Exit status: 0 a run (or answers alone) can work here, 1 something that it needs is broken.
    """
    if imports:
        from pipeline.import_times import import_times

        print("\n".join(import_times()))
        return 0
    from pipeline.doctor import examine
    from preprocessing.support.versions import has_pipeline

    broken = 0
    for finding in examine():
        print(f"{finding.state:<8} {finding.name:<55} {finding.detail}", flush=True)
        broken += finding.state == "broken"
    can = "a run can work here" if has_pipeline() else "answers can be given here, but nothing run"
    print(f"\n{broken} broken" if broken else f"\n{can}")
    return 1 if broken else 0
