"""`deepfake extract`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pipeline.commands._options import (
    Beam,
    Data,
    Output,
    Overrides,
    Preset,
    configuration_of_any_layout,
)
from preprocessing.support.errors import UsageError


def extract(
    preset: Preset = "folder",
    data: Data = None,
    output: Output = None,
    overrides: Overrides = None,
    part: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Extract one part of the clips only, as 3/8, into the face store of --output, "
            "which all parts share; auto in a Slurm job array or an indexed Kubernetes job.",
            show_default="all clips",
        ),
    ] = "",
    status: Annotated[
        bool, typer.Option("--status", help="Say how many clips the parts have done; do nothing.")
    ] = False,
    beam: Beam = None,
) -> int:
    """Cut the faces out of a dataset.

    Divides a dataset, cuts the faces out of its clips and writes TFRecords by split, a report
    and a contact sheet. Started again, it goes on where it stopped. Hidden files are not looked
    at. With --part it does its share of the clips and writes no records; when all parts are done,
    call it without, or `deepfake run` with the same --output.

    Exit status: 0 everything that was given gave faces, 4 something was not (documents such as
    .txt and .csv do not count), which the output says with the reason, 2 wrong usage or data, 1
    failure.
    """
    if part and status:
        raise UsageError("give --part or --status, and not both")
    from pipeline.extraction import extract_all, extract_part, extraction_status

    config = configuration_of_any_layout(preset, overrides, data, output, beam=beam)
    if status:
        return extraction_status(config)
    if not part:
        return extract_all(config)
    from preprocessing.manifest.parts import Part

    return extract_part(config, Part.parse(part, os.environ))
