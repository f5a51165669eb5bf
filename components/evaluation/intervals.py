"""Measures with the intervals that the bootstrap gives them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from components.evaluation import bootstrap
from components.evaluation.metrics import Measure, measure


def measure_with_intervals(
    labels: np.ndarray, logits: np.ndarray, clusters: np.ndarray, resamples: int, seed: int = 0
) -> dict[str, Measure]:
    """As `measure`, with 95% bootstrap intervals.

    Args:
      labels: int [n], 1 = fake.
      logits: float [n], calibrated.
      clusters: [n], what is drawn as a whole (see `bootstrap.interval`).
      resamples: number of resamples; 0 leaves the intervals out.
      seed: of the resampling.
    """
    found = measure(labels, logits)
    if not resamples or not np.isfinite([m.value for m in found.values()]).any():
        return found
    draws = bootstrap.resample(labels, logits, clusters, resamples, seed)
    informative = bootstrap.informative_clusters(labels, clusters)
    return {
        name: _with_interval(one, draws[name], informative) if math.isfinite(one.value) else one
        for name, one in found.items()
    }


def _with_interval(one: Measure, draws: np.ndarray, informative: int) -> Measure:
    low, high, why = bootstrap.interval(draws, informative)
    return dataclasses.replace(
        one, low=low, high=high, note="; ".join(filter(None, [one.note, why]))
    )
