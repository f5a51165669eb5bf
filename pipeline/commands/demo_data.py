"""`deepfake demo-data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from preprocessing.support.files import refuse_bucket


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

    refuse_bucket(data, option="DIR")
    options = {"seed": seed, "difficulty": difficulty}
    changes = [f"data.demo.{key}={value}" for key, value in options.items() if value is not None]
    make_demo_data(Path(data), load_config("demo", changes).data.demo)
    print(f"the demo's dataset is in {data}; its README.txt says what it is")
    return 0
