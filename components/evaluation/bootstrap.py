"""Confidence intervals of measures: the bootstrap over clusters of clips.

Clips of one person, and a fake and its original, are not independent: whole clusters are drawn
(Field and Welsh, "Bootstrapping clustered data", 2007). A resample is a vector of weights, so all
measures of all resamples come from the same few cumulative sums over the sorted scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

from components.evaluation.metrics import CALIBRATION_BINS, LOW_FPRS, calibration_bin
from serving.model.aggregation import probability

RESAMPLES = 1000
# Weights held at once: 16 MB.
_CHUNK = 2_000_000


def resample(
    labels: np.ndarray,
    logits: np.ndarray,
    clusters: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Every measure of `catalogue.MEASURES` on resamples of the clusters.

    Args:
      labels: int [n], 1 = fake.
      logits: finite float [n].
      clusters: [n], name or number of each clip's cluster.
      resamples: number of resamples.
      seed: equal seeds draw equal clusters, so that two models' measures are paired.

    Returns:
      Metric -> float [resamples]; NaN where a resample has not what the measure needs.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, np.float64)
    parts = [
        weighted(labels, logits, weights) for weights in cluster_weights(clusters, resamples, seed)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def cluster_weights(clusters: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Draws the weights of clips in chunks: float [chunk, n], together `resamples` rows."""
    names, cluster_of = np.unique(clusters, return_inverse=True)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // len(cluster_of))
    shares = np.full(len(names), 1 / len(names))
    for start in range(0, resamples, chunk):
        drawn = rng.multinomial(len(names), shares, size=min(chunk, resamples - start))
        yield drawn[:, cluster_of].astype(np.float64)


def weighted(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of weighted scores; the definitions are those of `metrics.measure`.

    Args:
      labels: int [n].
      logits: float [n].
      weights: float [resamples, n].

    Returns:
      Metric -> float [resamples].
    """
    scores = probability(logits)
    total = weights.sum(axis=1)
    losses = np.stack(
        [
            (logits > 0) == labels,
            np.logaddexp(0.0, logits) - labels * logits,
            (scores - labels) ** 2,
        ],
        axis=1,
    )
    bins = np.zeros((len(labels), CALIBRATION_BINS))
    bins[np.arange(len(labels)), calibration_bin(scores)] = scores - labels
    fakes = weights @ labels
    with np.errstate(invalid="ignore", divide="ignore"):
        factors = np.stack([0.5 / (total - fakes), 0.5 / fakes], axis=1)
        balanced = np.abs((weights * factors[:, labels]) @ bins).sum(axis=1)
        balanced[(fakes == 0) | (fakes == total)] = math.nan
        means = weights @ losses / total[:, None]
        calibration = np.abs(weights @ bins).sum(axis=1) / total
        curve = _Curve(labels, logits, weights)
        return {
            "accuracy": means[:, 0],
            "log_loss": means[:, 1],
            "brier": means[:, 2],
            "calibration_error": calibration,
            "balanced_calibration_error": balanced,
            "auc": curve.auc(),
            "average_precision": curve.average_precision(),
            "eer": curve.equal_error_rate(),
            **{name: curve.tpr_at(limit) for name, limit in LOW_FPRS.items()},
        }


class _Curve:
    """ROC curves of many weightings: [resamples, points], from the origin to (1, 1)."""

    def __init__(self, labels: np.ndarray, logits: np.ndarray, weights: np.ndarray):
        order = np.argsort(-logits, kind="stable")
        # Equal scores are one point of the curve.
        last = np.append(np.flatnonzero(np.diff(logits[order])), len(order) - 1)
        fakes = np.cumsum((weights * labels)[:, order], axis=1)[:, last]
        reals = np.cumsum((weights * (1 - labels))[:, order], axis=1)[:, last]
        origin = np.zeros((len(weights), 1))
        self._true, self._false = np.hstack([origin, fakes]), np.hstack([origin, reals])
        both = (fakes[:, -1:] > 0) & (reals[:, -1:] > 0)
        self.tpr = np.where(both, self._true / self._true[:, -1:], math.nan)
        self.fpr = np.where(both, self._false / self._false[:, -1:], math.nan)
        self._rows = np.arange(len(weights))

    def auc(self) -> np.ndarray:
        heights = (self.tpr[:, 1:] + self.tpr[:, :-1]) / 2
        areas: np.ndarray = np.sum(np.diff(self.fpr, axis=1) * heights, axis=1)
        return areas

    def average_precision(self) -> np.ndarray:
        called = self._true[:, 1:] + self._false[:, 1:]
        precision = np.where(called > 0, self._true[:, 1:] / called, 0.0)
        means: np.ndarray = np.sum(np.diff(self.tpr, axis=1) * precision, axis=1)
        return means

    def equal_error_rate(self) -> np.ndarray:
        distance = 1 - self.tpr - self.fpr
        after = np.maximum(np.argmax(distance <= 0, axis=1), 1)
        above, below = distance[self._rows, after - 1], distance[self._rows, after]
        start, end = self.fpr[self._rows, after - 1], self.fpr[self._rows, after]
        rates: np.ndarray = start + above / (above - below) * (end - start)
        return rates

    def tpr_at(self, limit: float) -> np.ndarray:
        allowed = np.where(self.fpr <= limit + 1e-12, self.tpr, 0.0).max(axis=1)
        return np.where(np.isnan(self.tpr[:, -1]), math.nan, allowed)


def informative_clusters(labels: np.ndarray, clusters: np.ndarray) -> int:
    """Clusters that hold the class which stands in fewer of them: what limits an interval."""
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    return min(len(np.unique(clusters[labels == label])) for label in np.unique(labels))


def interval(draws: np.ndarray, clusters: int, level: float = 0.95) -> tuple[float, float, str]:
    """The expanded percentile interval of resampled values.

    Plain percentile intervals are too narrow for few clusters; Hesterberg, "What Teachers Should
    Know About the Bootstrap" (2015), section 5.3, widens their levels to
    Phi(-sqrt(n / (n - 1)) * t), with t the quantile of Student's distribution for n - 1 degrees of
    freedom. With hundreds of clusters nothing changes.

    Args:
      draws: float [resamples].
      clusters: number of clusters.
      level: share of intervals that shall hold the true value.

    Returns:
      Lower and upper end, and why there is none (both ends are NaN then).
    """
    if clusters < 2:
        return math.nan, math.nan, "no interval: one class comes from one person or clip only"
    draws = draws[np.isfinite(draws)]
    if not len(draws) or np.ptp(draws) == 0:
        return math.nan, math.nan, "no interval: every resample gives this value"
    tail = stats.norm.cdf(
        math.sqrt(clusters / (clusters - 1)) * stats.t.ppf((1 - level) / 2, clusters - 1)
    )
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high), ""
