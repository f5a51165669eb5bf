"""`deepfake compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.commands._options import Data, Image, Output, Overrides, Preset, configuration
from preprocessing.support.files import refuse_bucket


def compile(
    target: Annotated[
        Literal["kubeflow", "vertex"], typer.Option(help="What the pipeline is to run on.")
    ],
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="What is written: .yaml for Kubeflow, .json for Vertex AI.",
            show_default="pipeline.yaml or pipeline.json",
        ),
    ] = None,
    image: Image = None,
    preset: Preset = "folder",
    data: Data = None,
    output: Output = None,
    overrides: Overrides = None,
) -> int:
    """Compile the pipeline for Kubeflow Pipelines 2 or Vertex AI.

    Divides the dataset, writes its manifest below --output, and writes the pipeline. Data and
    output lie on the volume that the tasks mount, see the section kubeflow of the configuration.
    """
    config = configuration(preset, overrides, data, output)
    from pipeline.compilation import compile_file
    from pipeline.kubeflow.names import image_of

    refuse_bucket(file or "", option="--file")
    path = Path(file or f"pipeline.{'yaml' if target == 'kubeflow' else 'json'}")
    compile_file(target, config, image_of(config.kubeflow, image), path, print)
    print(f"wrote {path}")
    return 0
