"""`deepfake demo-data`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer


def demo_data(
    data: Annotated[str, typer.Argument(metavar="DIR", help="Folder to make.")],
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Another draw of the same kind.")
    ] = None,
    difficulty: Annotated[
        Literal["easy", "hard"] | None,
        typer.Option(
            help="easy: most fakes are blurrier than what surrounds them; hard: none of that.",
        ),
    ] = None,
) -> int:
    """Make the demo's dataset.

    Makes a small dataset in the layout of Celeb-DF v2, without a download.
    """
    from pipeline.config import load_config
    from preprocessing.datasets.demo import make_demo_data

    demo = load_config("demo").data.demo
    if seed is not None:
        demo = dataclasses.replace(demo, seed=seed)
    if difficulty is not None:
        demo = dataclasses.replace(demo, difficulty=difficulty)
    make_demo_data(Path(data), demo)
    print(f"the demo's dataset is in {data}; its README.txt says what it is")
    return 0
