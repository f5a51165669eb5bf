"""Options that several commands share, and the configurations made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.config import Config

_ANY_LAYOUT = "folder"

Preset = Annotated[str, typer.Option(metavar="NAME", help="Name of a preset, or a YAML file.")]
Data = Annotated[str | None, typer.Option(metavar="DIR", help="Folder of the dataset.")]
Output = Annotated[
    str | None, typer.Option(metavar="DIR", help="Folder of all that the run writes.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one value of the configuration, as in training.epochs=5; may be repeated.",
    ),
]
Image = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Image with this project that tasks run in, with its registry and version.",
        show_default="the configured one",
    ),
]
AllFaces = Annotated[
    bool,
    typer.Option(
        "--all-faces",
        help="Judge every face that is found; else tracks that are much shorter than their shot, "
        "and faces much smaller than its largest, are left out and counted.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="A model version, or the folder of versions.",
        show_default="the starter",
    ),
]
FalsePositiveRate = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Share of real clips that may be called fake.",
        show_default="the model's, else 0.01",
    ),
]
MissRate = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Share of fake clips that may be called real.",
        show_default="the model's, else 0.05",
    ),
]
Clips = Annotated[str, typer.Option(metavar="DIR", help="Folder of the clips.")]
Precropped = Annotated[bool, typer.Option("--precropped", help="The files are face crops already.")]
Workers = Annotated[int, typer.Option(metavar="N", help="Beam worker processes.")]
Beam = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="Where Beam runs, as the configuration's beam has it: "
        "runner=portable,job_endpoint=HOST:PORT, or --beam=--ARGUMENT=VALUE; may be repeated.",
        show_default="here",
    ),
]


def configuration(
    preset: str,
    overrides: list[str] | None,
    data: str | None = None,
    output: str | None = None,
    list_file: str | None = None,
    beam: list[str] | None = None,
) -> Config:
    """The configuration of a preset with the values that options change.

    Args:
      preset: name of a preset, or path of a YAML file.
      overrides: `KEY=VALUE` each.
      data: folder of the dataset, instead of the preset's.
      output: folder of what is written, instead of the preset's.
      list_file: list of the clips, instead of the preset's.
      beam: options of Beam's runner, instead of the preset's.

    Raises:
      UsageError: see `pipeline.config.load_config`.
    """
    from pipeline.config import load_config, override_of
    from pipeline.config_values import quoted

    changes = list(overrides or ())
    if data:
        changes.append(override_of("data.dir", data))
    if list_file:
        changes.append(override_of("data.list", list_file))
    if output:
        changes.append(override_of("output", output))
    if beam:
        changes.append(f"beam=[{', '.join(map(quoted, beam))}]")
    return load_config(preset, changes)


def configuration_of_any_layout(
    preset: str,
    overrides: list[str] | None,
    data: str | None,
    output: str | None,
    list_file: str | None = None,
    beam: list[str] | None = None,
) -> Config:
    """As `configuration`, for commands that recognise the layout where nothing names one.

    Raises:
      UsageError: see `pipeline.config.load_config`.
    """
    # The first change, so that one of the caller's layout holds.
    any_layout = ["data.layout=auto"] if preset == _ANY_LAYOUT else []
    return configuration(preset, [*any_layout, *(overrides or ())], data, output, list_file, beam)
