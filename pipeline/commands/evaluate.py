"""`deepfake evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands._options import AllFaces, Clips, Model, Precropped, Workers


def evaluate(
    data: Clips,
    model: Model = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the report.",
            show_default="evaluation-NAME, NAME being that of --data",
        ),
    ] = None,
    precropped: Precropped = False,
    workers: Workers = 1,
    all_faces: AllFaces = False,
    official_test: Annotated[
        bool,
        typer.Option("--official-test", help="Only the clips of the dataset's own test list."),
    ] = False,
) -> int:
    """Measure a finished model on a labelled dataset.

    An interrupted run goes on where it stopped. Hidden files are not looked at.

    Exit status: 0 everything that was given was measured, 4 something was not (documents such
    as .txt and .csv do not count), which the output says with the reason, 2 wrong usage or
    data, 1 failure, which NaN or infinite logits are.
    """
    from pipeline.model_evaluation import evaluate_model
    from pipeline.scoring import ScoringRequest
    from serving.model.starter import named_or_starter

    request = ScoringRequest(
        model=named_or_starter(model),
        data=data,
        output=output or f"evaluation-{Path(data).resolve().name}",
        precropped=precropped,
        official_test=official_test,
        workers=workers,
        all_faces=all_faces,
    )
    return evaluate_model(request)
