"""How large a calibration error is by chance."""

from __future__ import annotations

import numpy as np

from components.evaluation.metrics import calibration_error
from serving.model.aggregation import probability


def chance_error(logits: np.ndarray, draws: int = 200) -> float:
    """The calibration error that scores show by chance if they are perfectly calibrated.

    Args:
      logits: float [n].
      draws: of labels, each by its score.
    """
    rng, scores = np.random.default_rng(0), probability(logits)
    labels = rng.random((draws, len(scores))) < scores
    return float(np.mean([calibration_error(drawn, scores) for drawn in labels]))
