"""`deepfake index`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands._options import Overrides, Preset, configuration_of_any_layout
from preprocessing.datasets.clip import LABEL_NAMES
from preprocessing.faces.crop_settings import LANDMARKS
from preprocessing.support.files import place

if TYPE_CHECKING:
    from pipeline.config import Config
    from preprocessing.manifest.manifest import Manifest


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
    leaks, and writes the manifest when asked. A list of one's own is checked row by row. With
    data.precropped=true and extraction.crop_by=landmarks (preset face_crops) it measures where the
    faces lie in some of the crops.
    """
    from components.trainer.config import needs_fakes
    from pipeline import inputs
    from preprocessing.manifest.checks import check_trainable
    from preprocessing.manifest.table import dataset_table

    config = configuration_of_any_layout(preset, overrides, data, None, list_file)
    listed = inputs.index(config)
    print(dataset_table(listed))
    if config.data.precropped and config.extraction.crop_by == LANDMARKS:
        print(_geometry(config, listed))
    if manifest:
        listed.write_csv(place(manifest))
        print(f"wrote {len(listed.clips)} rows to {manifest}")
    for warning in check_trainable(listed, needs_fakes(config.training)):
        print(f"warning: {warning}")
    return 0


def _geometry(config: Config, listed: Manifest) -> str:
    """How the faces of each dataset lie in their crops."""
    from preprocessing.faces.crop_geometry import wanted_geometry
    from preprocessing.faces.geometry_survey import survey, survey_table
    from preprocessing.manifest.hashes import files_of
    from preprocessing.support.quiet import quiet

    root = place(listed.root)
    files: dict[str, list[str]] = {}
    for clip in listed.clips:
        name = f"{clip.dataset}, {LABEL_NAMES[clip.label]}"
        files.setdefault(name, []).extend(files_of(root, clip))
    with quiet():
        measured = survey(root, dict(sorted(files.items())))
    return survey_table(measured, wanted_geometry(config.extraction))
