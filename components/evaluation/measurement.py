"""Measures, slices, curves and comparisons, computed from tables of scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.evaluation import bootstrap
from components.evaluation.intervals import measure_with_intervals
from components.evaluation.measures import (
    Comparison,
    MeasuredDifference,
    SliceMeasures,
    SplitMeasures,
    StoredMeasure,
)
from components.evaluation.metrics import Measure, measure
from components.evaluation.scores import clip_tables, clusters_of
from components.evaluation.slices import KEYS, methods_of, slices_of
from preprocessing.extraction import face_example as names

OVERALL = "overall"


def measure_split(crops: pd.DataFrame, resamples: int = bootstrap.RESAMPLES) -> SplitMeasures:
    """Measures the scores of a split.

    Args:
      crops: see `scores.CROP_COLUMNS`.
      resamples: of the bootstrap.

    Returns:
      The measures of all crops and clips, and of their slices. Only clips have intervals.
    """
    _, clips = clip_tables(crops)
    return SplitMeasures(
        crops=_slices(crops, 0), clips=_slices(clips, resamples), resamples=resamples
    )


def _slices(table: pd.DataFrame, resamples: int) -> list[SliceMeasures]:
    labels, logits = table[names.LABEL].to_numpy(int), table["logit"].to_numpy(float)
    clusters = clusters_of(table)
    rows = []
    for key, value, members in _members(table):
        part = labels[members], logits[members], clusters[members]
        results = (
            measure_with_intervals(*part, resamples) if resamples else measure(part[0], part[1])
        )
        rows.append(
            SliceMeasures(
                key=key,
                value=value,
                real=int((part[0] == 0).sum()),
                fake=int((part[0] == 1).sum()),
                clusters=len(np.unique(part[2])),
                metrics={
                    name: StoredMeasure(**_stored(result)) for name, result in results.items()
                },
            )
        )
    return rows


def _members(table: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """(key, value, numbers of the rows) of every slice, the whole table first."""
    columns = [table[name] for name in (names.LABEL, names.DATASET, names.METHOD)]
    methods = methods_of(zip(*columns, strict=True))
    members: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(table.to_dict("records")):
        slices = slices_of(
            label=row[names.LABEL],
            dataset=row[names.DATASET],
            method=row[names.METHOD],
            clip_id=row[names.CLIP_ID],
            pair_id=row[names.PAIR_ID],
            face_size=row["face_size"],
            methods=methods,
        )
        for key, values in slices.items():
            for value in values:
                members.setdefault((key, value), []).append(number)
    order = sorted(members, key=lambda member: (KEYS.index(member[0]), member[1]))
    every = (OVERALL, "", np.arange(len(table)))
    return [every, *((key, value, np.array(members[key, value])) for key, value in order)]


def compare(
    candidate: pd.DataFrame, baseline: pd.DataFrame, resamples: int, key: str = names.CLIP_ID
) -> Comparison:
    """Differences of two models on the clips that both have scored.

    Both are measured on the same resamples, so what makes a clip hard for both cancels out.

    Args:
      candidate: table of clips.
      baseline: table of clips of the other model.
      resamples: of the bootstrap.
      key: column that identifies a clip in both tables; its values are unique in each.

    Returns:
      How many clips there are of each kind, and the differences in all metrics.
    """
    both = candidate.merge(baseline[[key, "logit"]], on=key, suffixes=("", "_baseline"))
    labels, clusters = both[names.LABEL].to_numpy(int), clusters_of(both)
    logits = [both[column].to_numpy(float) for column in ("logit", "logit_baseline")]
    values = [measure(labels, model_logits) for model_logits in logits]
    draws: dict[str, np.ndarray] = {}
    if len(both) and all(np.isfinite(model_logits).all() for model_logits in logits):
        drawn = [
            bootstrap.resample(labels, model_logits, clusters, resamples) for model_logits in logits
        ]
        draws = {name: drawn[0][name] - drawn[1][name] for name in drawn[0]}
    metrics = {}
    for name, result in values[0].items():
        reference = values[1][name]
        difference = Measure(result.value - reference.value, note=result.note or reference.note)
        if math.isfinite(difference.value) and draws:
            informative = bootstrap.informative_clusters(labels, clusters)
            low, high, why = _interval_of_difference(draws[name], informative)
            difference = Measure(difference.value, low, high, why)
        metrics[name] = MeasuredDifference(
            candidate=_number(result.value),
            baseline=_number(reference.value),
            **_stored(difference),
        )
    return Comparison(
        clips=len(both),
        only_candidate=len(candidate) - len(both),
        only_baseline=len(baseline) - len(both),
        metrics=metrics,
    )


def _interval_of_difference(draws: np.ndarray, informative: int) -> tuple[float, float, str]:
    """As `bootstrap.interval`; where all resamples agree, both ends are their value.

    Two models that rank all clips alike differ by exactly 0 on every resample. For one model's own
    measure a width of zero would promise too much, and is left out.
    """
    low, high, why = bootstrap.interval(draws, informative)
    finite = draws[np.isfinite(draws)]
    if informative >= 2 and len(finite) and np.ptp(finite) == 0:
        return float(finite[0]), float(finite[0]), why
    return low, high, why


def _stored(result: Measure) -> dict[str, Any]:
    """The fields of a measure as JSON has them: None instead of NaN."""
    values = dataclasses.asdict(result)
    return {key: value if key == "note" else _number(value) for key, value in values.items()}


def find(slices: Sequence[SliceMeasures], key: str = OVERALL, value: str = "") -> SliceMeasures:
    """The slice of this name.

    Raises:
      LookupError: there is none.
    """
    for row in slices:
        if (row.key, row.value) == (key, value):
            return row
    raise LookupError(f"no slice {key}={value} was measured")


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
