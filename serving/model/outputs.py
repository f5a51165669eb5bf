"""What a model answers about crops, whoever asked it."""

from __future__ import annotations

import dataclasses

import numpy as np

# Name of the output in the signatures.
APPEARANCE = "appearance"


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
