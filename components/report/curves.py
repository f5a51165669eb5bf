"""The data of the report's charts."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import metrics as sk

from components.evaluation.metrics import balanced_weights
from serving.model.aggregation import probability

# Points of a curve that a chart can show; more only make the page heavy.
_POINTS = 200
HISTOGRAM_BINS = 20
RELIABILITY_BINS = 10


def curves(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """ROC, precision-recall, histogram of scores and reliability.

    Args:
      labels: int [n], 1 = fake.
      logits: finite float [n].

    Returns:
      `roc` and `pr`: lists of [x, y], empty where a class is missing; `histogram`: `real` and
      `fake` counts per bin of the score; `reliability`: per bin with anything in it the mean
      `score`, the share of `fake`, and `n`. There, where both classes are, they weigh the same, for
      a score is a probability where half of all clips are fake.
    """
    scores = probability(logits)
    both_classes = 0 < labels.sum() < len(labels)
    roc = pr = []
    if both_classes:
        fpr, tpr, _ = sk.roc_curve(labels, logits)
        roc = _thinned(fpr, tpr)
        precision, recall, _ = sk.precision_recall_curve(labels, logits)
        pr = _thinned(recall[::-1], precision[::-1])
    return {
        "roc": roc,
        "pr": pr,
        "histogram": {
            name: np.histogram(scores[labels == label], HISTOGRAM_BINS, (0, 1))[0].tolist()
            for label, name in ((0, "real"), (1, "fake"))
        },
        "reliability": _reliability(labels, scores),
    }


def confusion(labels: np.ndarray, logits: np.ndarray, threshold: float) -> dict[str, int]:
    """Counts at a threshold; fake is called what has a logit above it."""
    called_fake = logits > threshold
    return {
        "real_called_real": int(np.sum((labels == 0) & ~called_fake)),
        "real_called_fake": int(np.sum((labels == 0) & called_fake)),
        "fake_called_real": int(np.sum((labels == 1) & ~called_fake)),
        "fake_called_fake": int(np.sum((labels == 1) & called_fake)),
    }


def _reliability(labels: np.ndarray, scores: np.ndarray) -> list[dict[str, float]]:
    bins = np.minimum((scores * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    both_classes = 0 < labels.sum() < len(labels)
    weights = balanced_weights(labels) if both_classes else np.ones(len(labels))
    return [
        {
            "score": float(np.average(scores[bins == number], weights=weights[bins == number])),
            "fake": float(np.average(labels[bins == number], weights=weights[bins == number])),
            "n": int((bins == number).sum()),
        }
        for number in range(RELIABILITY_BINS)
        if (bins == number).any()
    ]


def _thinned(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    indices = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int))
    return [[round(float(x[i]), 5), round(float(y[i]), 5)] for i in indices]
