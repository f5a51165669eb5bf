"""What a model answers about crops, whoever asked it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Name of the output in the signatures.
APPEARANCE = "appearance"
# Said where heat maps were asked for.
NO_HEAT_MAPS = (
    "no heat maps, for the model has no signature `explain`: an earlier version exported it"
)


class NoOutputs(Exception):
    """A model gave no outputs: its server refused, failed, or was not there in time."""


@dataclasses.dataclass(frozen=True)
class CropOutputs:
    """Outputs of a model for the crops of a file.

    Attributes:
      logits: float [crops], calibrated.
      appearance: float [crops, 1 + facts], see `serving.model.familiarity`; None where the model
        has no such output, or was not asked for it.
    """

    logits: np.ndarray
    appearance: np.ndarray | None = None

    @classmethod
    def joined(cls, parts: Sequence[Mapping[str, Any]], appearance: bool) -> CropOutputs:
        """Joins what a signature answered for batches of crops.

        Args:
          parts: tensors by output, one a batch; empty for no crops.
          appearance: whether they hold that output, and it is wanted.
        """

        def all_of(name: str) -> np.ndarray:
            return np.concatenate([part[name].numpy() for part in parts])

        if not parts:
            return cls(np.empty(0, np.float32))
        return cls(all_of("logit"), all_of(APPEARANCE) if appearance else None)
