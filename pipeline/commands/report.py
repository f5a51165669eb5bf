"""`deepfake report`."""

from __future__ import annotations

import os
import webbrowser
from typing import Annotated

import typer


def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="--output of a run, or of an evaluation.")
    ],
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Draw it again.")] = False,
) -> int:
    """Show the report of a run.

    Prints where the page is, and opens it where there is a display.
    """
    from preprocessing.support.quiet import quiet

    with quiet():
        from components.report.finished import page_of

        page = page_of(run, again=rebuild)
    print(page)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(page.resolve().as_uri())
    return 0
