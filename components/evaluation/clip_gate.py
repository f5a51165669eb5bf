"""The gate on clips: the same kinds of bounds as on frames, and scores that are numbers."""

from __future__ import annotations

import math

from components.evaluation.bounds import AUC_CHANGE, AUC_CHANGE_LOW, Bound, BoundResult
from components.evaluation.config import GateConfig, bounds_of
from components.evaluation.measurement import find
from components.evaluation.measures import Comparison, MeasuredDifference, SliceMeasures

LEVEL = "clip"
FINITE = "share of scores that are numbers"


def judge_clips(
    gate: GateConfig,
    slices: list[SliceMeasures],
    finite_share: float,
    comparison: Comparison | None,
    incomparable: str = "",
) -> list[BoundResult]:
    """Holds the measures of clips against the bounds.

    Args:
      gate: the bounds.
      slices: of the test split's clips, see `measurement.measure_split`.
      finite_share: share of the crops whose score is a number; NaN without crops.
      comparison: with the last blessed model, see `measurement.compare`; None without one.
      incomparable: why there is none although there is such a model, see
        `geometries.why_incomparable`; the change does not hold then, unless every change would.

    Returns:
      A row for each bound and slice. What could not be measured never holds.
    """
    note = "nothing was scored" if math.isnan(finite_share) else ""
    rows = [BoundResult.of(LEVEL, Bound(FINITE, 1.0), "", finite_share, note)]
    for bound in bounds_of(gate):
        rows += _rows(bound, slices)
    if comparison is not None:
        rows.append(_change(gate, comparison.metrics["auc"]))
    elif incomparable and gate.max_auc_drop < 1:
        unknown = MeasuredDifference(candidate=None, baseline=None, value=None, note=incomparable)
        rows.append(_change(gate, unknown))
    return rows


def _change(gate: GateConfig, change: MeasuredDifference) -> BoundResult:
    """The row about the last blessed model; `change` is the measure of the difference of AUC."""
    if gate.drop_by == "interval":
        bound = Bound(AUC_CHANGE_LOW, -gate.max_auc_drop)
        note = change.note
        if change.low is not None:
            note = f"the difference itself is {change.value:+.3f}"
        return BoundResult.of(LEVEL, bound, "", change.low, note)
    return BoundResult.of(
        LEVEL, Bound(AUC_CHANGE, -gate.max_auc_drop), "", change.value, change.note
    )


def _rows(bound: Bound, slices: list[SliceMeasures]) -> list[BoundResult]:
    if not bound.key:
        parts = [find(slices)]
    else:
        parts = [
            part
            for part in slices
            if part.key == bound.key and (not bound.value or part.value == bound.value)
        ]
    if not parts:
        name = f"{bound.key}={bound.value}" if bound.value else bound.key
        return [BoundResult.of(LEVEL, bound, name, None, "no clip of it was tested")]
    rows = []
    for part in parts:
        name = f"{part.key}={part.value}" if bound.key else ""
        metric = part.metrics[bound.metric]
        rows.append(BoundResult.of(LEVEL, bound, name, metric.value, metric.note))
    return rows
