"""Configuration of the dataset: `data`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from preprocessing.datasets.demo_config import DemoConfig
from preprocessing.datasets.layout import layouts
from preprocessing.support.choices import SplitProtocol
from preprocessing.support.section import Number, Section, Text, not_one_of

# Below, val or test would be empty for most datasets; above, little is left to train on.
_Share = Annotated[Number, Field(ge=0.01, le=0.9)]


class DataConfig(Section):
    """Which clips, and how they are divided."""

    # May stay empty for `layout: demo`, which makes its own.
    dir: Text = Field("", description="Folder of the dataset.")
    # The names are those of the registry, see preprocessing/datasets/layout.py, and two more.
    layout: Text = Field(
        "auto",
        description="How the folder is read: list, celeb_df, faceforensics, dfdc, folder, or demo, "
        "which makes its own; auto detects it.",
    )
    list: Text = Field(
        "",
        description="A list of the clips (CSV, or Parquet by its ending), paths in it relative to "
        "dir, or to the list's own folder without a dir. Empty: clips.csv or clips.parquet in dir.",
    )
    split: SplitProtocol = Field(
        "identity",
        description="official: the dataset's own lists or folders; identity: no person in two "
        "splits; clip: by clip; auto: as the folders train, val and test of a plain folder or the "
        "column split of a list say; without them as identity.",
    )
    val_fraction: _Share = Field(
        0.15,
        description="Share of the clips for validation that the identity and clip splits aim at.",
    )
    test_fraction: _Share = Field(
        0.15, description="The same for the test; the rest is for training."
    )
    precropped: bool = Field(
        False,
        description="True: the files are face crops already. With extraction.crop_by=box they are "
        "taken as they come; with landmarks the detector measures where the face lies in each.",
    )
    demo: DemoConfig = DemoConfig()

    @field_validator("layout")
    @classmethod
    def _check_layout(cls, value: str) -> str:
        names = ("auto", "demo", *layouts())
        if value not in names:
            raise ValueError(not_one_of(value, names))
        return value
