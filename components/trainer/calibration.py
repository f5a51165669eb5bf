"""Calibration of the network's logits: temperature and offset, fitted on clips."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import optimize

# A validation set says little about temperatures further out than this.
BOUNDS = (0.05, 20.0)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The calibrated logit of a raw one is (raw + offset) / temperature.

    With a temperature above 0 it may be applied to crops before `serving.model.aggregation` joins
    them, or to clips afterwards: it commutes with their means and maxima.

    Attributes:
      temperature: divisor, above 0.
      offset: summand in raw logits, before the division.
    """

    temperature: float = 1.0
    offset: float = 0.0

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Calibrates logits of any shape."""
        return (logits + self.offset) / self.temperature


def fit_calibration(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """The temperature and offset that give the best likelihood of the labels of clips.

    A clip's logit is its highest track's. Were the map fitted on crops, clips of many tracks would
    get scores that are too high.

    Platt, "Probabilistic Outputs for Support Vector Machines" (1999); without the offset it would
    be the temperature scaling of Guo et al., "On Calibration of Modern Neural Networks" (2017),
    which leaves a network that calls too much or too little fake as it is. Classes weigh the same,
    whatever their share: scores are probabilities where half of all clips are fake. Targets are
    Platt's, (n+1)/(n+2) instead of 1 and 1/(n+2) instead of 0 for n clips of a class: where the
    classes are separated, as they often are in a val of few clips, plain likelihood would drive the
    temperature to nothing.

    Args:
      logits: float [clips], of clips not trained on, see `serving.model.aggregation`.
      labels: int [clips], 1 = fake.

    Returns:
      The calibration, its temperature within `BOUNDS`. The one that changes nothing where a class
      is missing.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    fakes, reals = int((labels == 1).sum()), int((labels == 0).sum())
    if not fakes or not reals:
        return Calibration()
    targets = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    weights = np.where(labels == 1, 0.5 / fakes, 0.5 / reals)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Cross-entropy and its gradient; convex in slope and intercept."""
        slope, intercept = parameters
        scaled = slope * logits + intercept
        value = np.sum(weights * (np.logaddexp(0.0, scaled) - targets * scaled))
        # tanh: a sigmoid that does not overflow.
        error = weights * (0.5 * (1.0 + np.tanh(0.5 * scaled)) - targets)
        return float(value), np.array([np.sum(error * logits), np.sum(error)])

    slopes = (1.0 / BOUNDS[1], 1.0 / BOUNDS[0])
    solution = optimize.minimize(
        loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[slopes, (None, None)]
    )
    slope, intercept = (float(value) for value in solution.x)
    return Calibration(1.0 / slope, intercept / slope)
