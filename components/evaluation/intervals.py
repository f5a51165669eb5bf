"""Measures with confidence intervals of the bootstrap."""

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
    results = measure(labels, logits)
    if not resamples or not np.isfinite([m.value for m in results.values()]).any():
        return results
    draws = bootstrap.resample(labels, logits, clusters, resamples, seed)
    informative = bootstrap.informative_clusters(labels, clusters)
    return {
        name: _with_interval(result, draws[name], informative)
        if math.isfinite(result.value)
        else result
        for name, result in results.items()
    }


def _with_interval(result: Measure, draws: np.ndarray, informative: int) -> Measure:
    low, high, why = bootstrap.interval(draws, informative)
    return dataclasses.replace(
        result, low=low, high=high, note="; ".join(filter(None, [result.note, why]))
    )
