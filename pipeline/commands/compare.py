"""`deepfake compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from preprocessing.support.files import refuse_bucket


def compare(
    runs: Annotated[tuple[str, str], typer.Argument(metavar="RUN", help="--output of a run.")],
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a page (HTML) as well.")
    ] = None,
) -> int:
    """Compare two runs on the clips that both have tested.

    Clips are the same where the contents of their files are equal, whatever their names.
    """
    from components.report.compare import compare_runs, write_page

    refuse_bucket(output or "")
    comparison = compare_runs(*runs)
    print(comparison.text())
    if output:
        write_page(comparison, output)
        print(f"wrote {output}")
    return 0
