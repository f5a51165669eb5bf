"""Configuration of the demo dataset: `data.demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from preprocessing.support.choices import Difficulty
from preprocessing.support.section import Section, Seed

# Stands in each folder of synthetic data.
MARKER = "demo.json"
# A split without a person cannot be trained on or measured; 100,000 clips fill a disk.
_Persons = Annotated[int, Field(ge=1, le=100_000)]


class DemoConfig(Section):
    """The synthetic demo dataset (`layout: demo`); see preprocessing/datasets/demo.py."""

    train_identities: _Persons = Field(100, description="Pseudo-persons for training.")
    val_identities: _Persons = Field(20, description="Pseudo-persons for validation.")
    test_identities: _Persons = Field(40, description="Pseudo-persons for the test.")
    seed: Seed = Field(7, description="Equal seeds make equal clips.")
    difficulty: Difficulty = Field(
        "easy",
        description="easy: most fakes are blurrier in the face than around it; hard: as sharp as "
        "around it on average, closer in colour, and every clip is degraded by a draw of its own.",
    )


def is_made(root: Path) -> bool:
    """Whether a dataset's folder holds synthetic data, whatever layout it is read by."""
    return (root / MARKER).exists()
