"""`deepfake index`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands._options import Overrides, Preset, configuration_of_any_layout


def index(
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DIR]", help="Folder of the dataset; not needed beside --list."),
    ] = None,
    list_file: Annotated[
        str | None,
        typer.Option(
            "--list",
            metavar="FILE",
            help="A list of the clips: CSV or Parquet with the columns path and label, and split, "
            "clip, group, identities, method, dataset where wanted.",
            show_default="clips.csv or clips.parquet in DIR, where there is one",
        ),
    ] = None,
    manifest: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the manifest (CSV) there.")
    ] = None,
    preset: Preset = "folder",
    overrides: Overrides = None,
) -> int:
    """List a dataset: what is in it and how it is divided.

    Recognises the layout of a folder, divides its clips into splits, prints a table with the
    leaks, and writes the manifest when asked. A list of one's own is checked row by row.
    """
    from pipeline import inputs
    from preprocessing.manifest.checks import check_trainable
    from preprocessing.manifest.table import dataset_table

    config = configuration_of_any_layout(preset, overrides, data, None, list_file)
    listed = inputs.index(config)
    print(dataset_table(listed))
    if manifest:
        listed.write_csv(Path(manifest))
        print(f"wrote {len(listed.clips)} rows to {manifest}")
    for warning in check_trainable(listed):
        print(f"warning: {warning}")
    return 0
