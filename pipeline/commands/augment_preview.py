"""`deepfake augment-preview`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.commands._options import Overrides, Preset, configuration
from preprocessing.support.errors import UsageError
from preprocessing.support.files import refuse_bucket


def augment_preview(
    output: Annotated[str, typer.Option(metavar="FILE", help="The .png file to write.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Face crops: pictures (in folders real and fake), what `deepfake extract` wrote, "
            "or the output of a run.",
            show_default="the preset's",
        ),
    ] = None,
    strength: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Show this strength instead of the configured one; may be repeated; all shows "
            "all.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option(metavar="N", help="Crops.")] = 4,
    draws: Annotated[int, typer.Option(metavar="N", help="Draws of each.")] = 6,
    preset: Preset = "folder",
    overrides: Overrides = None,
) -> int:
    """Show what the training's augmentation does to face crops.

    Writes a contact sheet: each row a face crop, each column a draw of the augmentation, with
    pairs and pseudo-fakes as training would see them.
    """
    from preprocessing.support.quiet import quiet

    refuse_bucket(output)
    config = configuration(preset, overrides)
    crops = data or config.output
    if not crops:
        raise UsageError("no face crops are named: give --data DIR, or set output")
    with quiet():
        from components.trainer.augmentation import STRENGTHS
        from components.trainer.augmentation_preview import write_preview

        names = list(STRENGTHS) if "all" in (strength or ()) else strength or []
        summary = write_preview(config, crops, output, names, rows, draws)
    print(summary)
    return 0
