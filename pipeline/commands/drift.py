"""`deepfake drift`."""

from __future__ import annotations

from typing import Annotated

import typer


def drift(
    scores: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="A .parquet table of `deepfake score`; given twice, the reference first. Once "
            "with --model.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="A model, whose card's validation clips are the reference."
        ),
    ] = None,
    max_psi: Annotated[
        float, typer.Option(metavar="X", help="Limit of the population stability index.")
    ] = 0.25,
    max_ks: Annotated[
        float,
        typer.Option(
            metavar="X", help="Limit of the largest difference of two shares (Kolmogorov-Smirnov)."
        ),
    ] = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> int:
    """Whether new clips score otherwise than earlier ones, or look otherwise.

    Compares the distributions of scores and of distances to the training's crops (familiarity) of
    two tables that one model gave: population stability index and Kolmogorov-Smirnov's statistic,
    with 95% bootstrap intervals over clips. Drift is told where a whole interval lies above its
    limit. A change of the share of fakes is drift, too; whether the model is still right, only
    labelled clips tell (`deepfake evaluate`).

    Exit status: 0 nothing drifted, 3 something did, 2 wrong usage, or too few clips.
    """
    from pipeline.drift import compare_scores

    return compare_scores(scores, model, max_psi, max_ks, as_json)
