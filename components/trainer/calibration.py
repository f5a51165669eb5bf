"""From the network's logit to a probability that means what it says."""

from __future__ import annotations

import numpy as np
from scipy import optimize

# A validation set says little about temperatures further out than this.
BOUNDS = (0.05, 20.0)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature whose division of the logits gives the best likelihood.

    Temperature scaling, Guo et al., "On Calibration of Modern Neural Networks" (2017). Classes
    weigh the same, whatever their share. Targets are those of Platt (1999), (n+1)/(n+2) instead of
    1 and 1/(n+2) instead of 0 for n crops of a class: where the classes are separated, plain
    likelihood would drive the temperature to nothing.

    Args:
      logits: float [crops], of crops not trained on.
      labels: int [crops], 1 = fake.

    Returns:
      The temperature, within `BOUNDS`. 1 where a class is missing.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    fakes, reals = int((labels == 1).sum()), int((labels == 0).sum())
    if not fakes or not reals:
        return 1.0
    targets = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    weights = np.where(labels == 1, 0.5 / fakes, 0.5 / reals)

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        return float(np.sum(weights * (np.logaddexp(0.0, scaled) - targets * scaled)))

    # The loss is convex in 1 / temperature, so it has one minimum on any monotone scale.
    found = optimize.minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded")
    return float(np.exp(found.x))
