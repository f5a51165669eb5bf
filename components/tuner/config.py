"""Configuration of the search for better values: `tuner`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from components.trainer.config import Augmentation, check_block
from preprocessing.support.section import AsList, Number, Section, Text

# On a logarithmic scale the lowest rate must be above 0.
_Rates = Annotated[tuple[Annotated[Number, Field(ge=1e-9, le=10.0)], ...], AsList]
_Dropouts = Annotated[tuple[Annotated[Number, Field(ge=0.0, le=0.95)], ...], AsList]
_Blocks = Annotated[tuple[Text, ...], AsList]
_Augmentations = Annotated[tuple[Augmentation, ...], AsList]


class TunerConfig(Section):
    """The search for better values of `training` and `model`; see components/tuner/."""

    # Off: each trial is a training of its own.
    enabled: bool = Field(False, description="Searches before the Trainer trains.")
    trials: int = Field(8, ge=1, le=10_000, description="Short trainings.")
    # The steps per epoch are training's.
    epochs: int = Field(2, ge=1, le=10_000, description="Epochs of a trial.")
    learning_rate: _Rates = Field(
        (1e-5, 1e-3), description="Ends of the range, searched on a logarithmic scale."
    )
    dropout: _Dropouts = Field((0.0, 0.6), description="Ends of the range.")
    unfreeze_from: _Blocks = Field(
        (),
        description='Blocks to choose from, "" being all layers; an empty list keeps '
        "training.unfreeze_from.",
    )
    augmentation: _Augmentations = Field(("light", "standard", "strong"), description="Strengths.")

    @field_validator("learning_rate", "dropout")
    @classmethod
    def _check_range(cls, ends: tuple[float, ...]) -> tuple[float, ...]:
        if len(ends) != 2 or ends[0] > ends[1]:
            raise ValueError(f"{list(ends)} is not a range; write [lowest, highest]")
        return ends

    @field_validator("augmentation")
    @classmethod
    def _check_augmentations(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("the list is empty; name one strength at least")
        return names


def check_tuner(tuner: TunerConfig, backbone: str) -> None:
    """Refuses (UsageError) blocks that the backbone does not have."""
    for block in tuner.unfreeze_from:
        check_block("tuner.unfreeze_from", block, backbone)
