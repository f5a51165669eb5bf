"""`deepfake score`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pipeline.commands._options import (
    AllFaces,
    Beam,
    Clips,
    FalsePositiveRate,
    MissRate,
    Model,
    Precropped,
    Workers,
    configuration,
)


def score(
    data: Clips,
    output: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="The file to write: a table (.parquet), or answers as those of `deepfake predict "
            "--jsonl` (.jsonl).",
        ),
    ],
    model: Model = None,
    precropped: Precropped = False,
    workers: Workers = 1,
    all_faces: AllFaces = False,
    false_positive_rate: FalsePositiveRate = None,
    miss_rate: MissRate = None,
    part: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Score one part of the clips only, as 3/8, into the folder beside --output, which "
            "all parts share; auto in a Slurm job array or an indexed Kubernetes job.",
            show_default="all clips",
        ),
    ] = "",
    beam: Beam = None,
) -> int:
    """Write P(fake) of all videos and pictures below a folder into a file.

    Pictures whose names say that they are frames or faces of one clip have one row together; every
    other file has its own, with the score or the reason. An interrupted run goes on where it
    stopped. Hidden files are not looked at. With --part it does its share of the clips and writes
    no file; when all parts are done, call it without.

    Exit status: 0 everything that was given has a score, 4 something was not (documents such as
    .txt and .csv do not count), which the output says with the reason, 2 wrong usage or data, 1
    failure.
    """
    from pipeline.score_table import write_score_table
    from pipeline.scoring import ScoringRequest
    from preprocessing.manifest.parts import Part
    from serving.model.starter import named_or_starter

    return write_score_table(
        ScoringRequest(
            model=named_or_starter(model),
            data=data,
            output=output,
            precropped=precropped,
            workers=workers,
            all_faces=all_faces,
            false_positive_rate=false_positive_rate,
            miss_rate=miss_rate,
            part=Part.parse(part, os.environ) if part else None,
            beam=configuration("folder", None, beam=beam).beam,
        )
    )
