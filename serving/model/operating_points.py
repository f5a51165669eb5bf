"""Operating points: thresholds on a clip's logit, and the rates that they reach.

They are fitted on val, stored beside the model, and only reported on test. A clip counts as fake
when its logit is greater than the threshold's. P(fake) stands beside it for people: it rounds to
1.0 for logits from 37 on, so two confident clips can no longer be told apart by it.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np

from preprocessing.support.record import Record
from preprocessing.support.section import AsList
from serving.model.aggregation import probability

# Shares of real clips called fake that users ask for; the smallest ones need many real clips.
FALSE_POSITIVE_RATES = (0.1, 0.05, 0.01, 0.001)


def operating_points(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Thresholds at the equal error rate and at each of `FALSE_POSITIVE_RATES`.

    Args:
      logits: float [clips], calibrated.
      labels: int [clips], 1 = fake.

    Returns:
      `real_clips`, `fake_clips`, and `points`: for each its `name` (`eer`, `fpr_0.01`),
      `logit` (the threshold; None where a class is missing or a logit is not finite),
      `threshold` (P(fake) at it), and `fpr` and `tpr`, what it reached on these very clips.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    real, fake = np.sort(logits[labels == 0])[::-1], logits[labels == 1]
    result = {"real_clips": len(real), "fake_clips": len(fake)}
    names = ["eer", *(f"fpr_{rate:g}" for rate in FALSE_POSITIVE_RATES)]
    if not len(real) or not len(fake) or not np.isfinite(logits).all():
        empty = dict.fromkeys(("logit", "threshold", "fpr", "tpr"))
        return {**result, "points": [{"name": name, **empty} for name in names]}
    thresholds = [_balanced(real, fake)]
    for rate in FALSE_POSITIVE_RATES:
        # With the (k+1)-th highest real logit as threshold, at most k reals are above it.
        thresholds.append(real[min(int(rate * len(real) + 1e-9), len(real) - 1)])
    points = [
        {
            "name": name,
            "logit": float(logit),
            "threshold": float(probability(logit)),
            "fpr": float(np.mean(real > logit)),
            "tpr": float(np.mean(fake > logit)),
        }
        for name, logit in zip(names, thresholds, strict=True)
    ]
    return {**result, "points": points}


class OperatingPoint(Record):
    """A stored threshold.

    Attributes:
      name: `eer`, or `fpr_0.01` and the like.
      threshold: P(fake) at it; None where there is none.
      logit: the threshold itself; models of earlier versions have none.
      fpr: share of val's real clips above it.
      tpr: share of val's fake clips above it.
    """

    name: str
    threshold: float | None
    logit: float | None = None
    fpr: float | None = None
    tpr: float | None = None

    def threshold_logit(self) -> float | None:
        """The logit to compare with.

        Earlier versions stored P(fake) alone, from which it is computed back, log(p / (1 - p)).

        Returns:
          The logit; None where there is none, or where the stored probability is exactly 0 or 1,
          to which the logits of all confident clips are rounded.
        """
        if "logit" in self.model_fields_set:
            return self.logit
        share = self.threshold
        if share is None or not 0.0 < share < 1.0:
            return None
        return math.log(share) - math.log1p(-share)


class OperatingPoints(Record):
    """`operating_points` of the model card; see `operating_points`.

    Attributes:
      points: the thresholds.
      real_clips: on which they were chosen.
      fake_clips: likewise.
    """

    points: Annotated[tuple[OperatingPoint, ...], AsList] = ()
    real_clips: int = 0
    fake_clips: int = 0


def _balanced(real: np.ndarray, fake: np.ndarray) -> float:
    """The logit between two neighbours where misses and false alarms are nearest to each other."""
    logits = np.unique(np.concatenate([real, fake]))
    if len(logits) == 1:
        return float(logits[0])
    candidates = (logits[1:] + logits[:-1]) / 2
    false_alarms = 1 - np.searchsorted(np.sort(real), candidates, "right") / len(real)
    misses = np.searchsorted(np.sort(fake), candidates, "right") / len(fake)
    return float(candidates[np.argmin(np.abs(false_alarms - misses))])
