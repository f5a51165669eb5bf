"""Measures of scores, such as AUC and EER; each says why where it is undefined."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from sklearn import metrics as sk

from components.evaluation.catalogue import MEASURES, NEED_BOTH_CLASSES
from serving.model.aggregation import probability

# TPR at a small rate of false alarms: what a user of a detector lives with.
LOW_FPRS = {"tpr_at_fpr_1pct": 0.01, "tpr_at_fpr_0.1pct": 0.001}
# 15 bins as in Guo et al., "On Calibration of Modern Neural Networks" (2017).
CALIBRATION_BINS = 15


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure of one set of scores.

    Attributes:
      value: NaN where it is not defined.
      low: lower end of the 95% interval; NaN where there is none.
      high: upper end of it.
      note: why value or interval is missing, or what limits them.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    note: str = ""


def measure(labels: np.ndarray, logits: np.ndarray) -> dict[str, Measure]:
    """All of `catalogue.MEASURES`, without intervals.

    Args:
      labels: int [n], 1 = fake.
      logits: float [n], calibrated.

    Returns:
      Metric -> Measure. Fake is called what has a logit above 0 (a score above 0.5). EER is where
      the interpolated ROC curve crosses the line of equal errors; TPR at an FPR is the highest
      that a threshold reaches without exceeding it; the calibration error is the mean distance
      between score and share of fakes over 15 bins of equal width, weighted by their numbers;
      balanced, it is that of clips which weigh so that half of them are fake, as scores mean it.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, np.float64)
    reason = _missing_reason(labels, logits)
    if reason and not (reason.startswith("no ") and len(labels)):
        return {name: Measure(math.nan, note=reason) for name in MEASURES}
    scores = probability(logits)
    values = {
        "accuracy": sk.accuracy_score(labels, logits > 0),
        # From logits: clipped probabilities would hide how wrong the most confident mistakes are.
        "log_loss": np.mean(np.logaddexp(0.0, logits) - labels * logits),
        "brier": sk.brier_score_loss(labels, scores, pos_label=1),
        "calibration_error": calibration_error(labels, scores),
    }
    notes = {}
    if reason:
        notes = dict.fromkeys(NEED_BOTH_CLASSES, reason)
    else:
        fpr, tpr, _ = sk.roc_curve(labels, logits, drop_intermediate=False)
        values["auc"] = sk.roc_auc_score(labels, logits)
        values["average_precision"] = sk.average_precision_score(labels, logits)
        values["eer"] = equal_error_rate(fpr, tpr)
        values["balanced_calibration_error"] = calibration_error(
            labels, scores, balanced_weights(labels)
        )
        reals = int((labels == 0).sum())
        for name, limit in LOW_FPRS.items():
            values[name] = tpr[fpr <= limit + 1e-12].max()
            if reals * limit < 1:
                notes[name] = f"with {reals} real ones it is the rate without any false alarm"
    return {
        name: Measure(float(values.get(name, math.nan)), note=notes.get(name, ""))
        for name in MEASURES
    }


def equal_error_rate(fpr: np.ndarray, tpr: np.ndarray) -> float:
    """Where FPR = 1 - TPR on the ROC curve, between its points on a straight line."""
    distance = 1 - tpr - fpr
    after = int(np.argmax(distance <= 0))
    if after == 0:
        return float(fpr[0])
    share = distance[after - 1] / (distance[after - 1] - distance[after])
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))


def calibration_error(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Mean |score - share of fakes| over bins of equal width, weighted by their numbers.

    Args:
      labels: int [n], 1 = fake.
      scores: float [n].
      weights: float [n]; None where all are equal.
    """
    weights = np.ones(len(scores)) if weights is None else weights
    bins = calibration_bin(scores)
    sums = np.bincount(bins, weights=weights * (scores - labels), minlength=CALIBRATION_BINS)
    return float(np.abs(sums).sum() / weights.sum())


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """Weights by which each class has half of the sum, which is 1; float [n].

    Args:
      labels: int [n], 1 = fake, both classes among them.
    """
    shares = np.bincount(labels, minlength=2) / len(labels)
    weights: np.ndarray = 0.5 / (len(labels) * shares[labels])
    return weights


def calibration_bin(scores: np.ndarray) -> np.ndarray:
    """Number of each score's bin: int64 [n] in [0, CALIBRATION_BINS)."""
    return np.minimum(
        (np.asarray(scores) * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1
    )


def _missing_reason(labels: np.ndarray, logits: np.ndarray) -> str:
    if not len(labels):
        return "nothing was scored"
    broken = int((~np.isfinite(logits)).sum())
    if broken:
        return f"{broken} of {len(logits)} scores are not numbers"
    for label, name in ((0, "real"), (1, "fake")):
        if not (labels == label).any():
            return f"no {name} one: both classes are needed"
    return ""
