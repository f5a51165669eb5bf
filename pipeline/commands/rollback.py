"""`deepfake rollback`."""

from __future__ import annotations

from typing import Annotated

import typer


def rollback(
    model_base: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_BASE",
            help="Folder of version folders (what Pusher writes: OUTPUT/models/NAME).",
        ),
    ],
    to: Annotated[
        int | None,
        typer.Option(
            metavar="VERSION",
            help="Serve this version, any that is there, instead of the one served before.",
        ),
    ] = None,
) -> int:
    """Serve the version that was served before the newest again, or any other.

    Copies that version to a new number, above all others, and says which. So every server that
    serves the highest number, which is the policy of TensorFlow Serving and of `deepfake serve`
    where none is given, loads it as it loads a push, and the next push takes its place. The folder
    of the newest version stays as it is, and nothing is deleted. Called again, it goes back to the
    one that was served before that; --to serves any version that is there. A server whose
    configuration names versions or labels follows that instead.

    Exit status: 0 done, 2 there is no such version, or the folder cannot be used.
    """
    from pipeline.rollback import roll_back

    print(roll_back(model_base, to).text())
    return 0
