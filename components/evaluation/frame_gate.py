"""TFMA's verdict as rows: each bound, the measured value, and whether it held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.bounds import AT_LEAST, AT_MOST, AUC_CHANGE, Bound, BoundResult
from components.evaluation.catalogue import NEED_BOTH_CLASSES
from components.evaluation.eval_config import AUC_DIFF, MEAN_LABEL, bounded_name, tfma_name

FILE = "verdict.json"


def judge_frames(
    evaluation: str, eval_config: config_pb2.EvalConfig, incomparable: str = ""
) -> list[BoundResult]:
    """Holds TFMA's metrics against the bounds of the configuration.

    TFMA gives a slice of one class an AUC of 0 and compares that with the bound; here it is not
    measured, and a bound on it never holds.

    Args:
      evaluation: folder of TFMA's results.
      eval_config: with the bounds as `eval_config.make_eval_config` writes them.
      incomparable: why nothing was compared although there is a last blessed model, see
        `geometries.why_incomparable`; the change does not hold then, unless every change would.
    """
    measured = metrics_by_slice(evaluation)
    rows = []
    for metric in eval_config.metrics_specs[0].metrics:
        name = bounded_name(metric)
        for threshold in metric.per_slice_thresholds:
            for spec in threshold.slicing_specs:
                rows += _rows(name, threshold.threshold, spec, measured, incomparable)
    return rows


def _rows(
    name: str,
    threshold: config_pb2.MetricThreshold,
    spec: config_pb2.SlicingSpec,
    measured: dict[str, dict[str, Any]],
    incomparable: str,
) -> list[BoundResult]:
    key, value = _named(spec)
    bound = _bound(name, threshold.value_threshold, key, value)
    slice_names = [""]
    if key:
        slice_prefix = f"{key}={value}"
        slice_names = sorted(
            s for s in measured if s == slice_prefix or (not value and s.startswith(slice_prefix))
        )
    if not slice_names:
        slice_name = slice_prefix.rstrip("=")
        return [BoundResult.of("frame", bound, slice_name, None, "no crop of it was tested")]
    rows = []
    for slice_name in slice_names:
        metrics = measured.get(slice_name, {})
        result = metrics.get(tfma_name(name))
        reason = "" if result is not None else "nothing was tested"
        # TFMA gives them a value where a class is missing, too.
        if name in NEED_BOTH_CLASSES and metrics.get(MEAN_LABEL) in (0.0, 1.0):
            result, reason = None, f"only {'fake' if metrics[MEAN_LABEL] else 'real'} crops"
        rows.append(BoundResult.of("frame", bound, slice_name, result, reason))
        if not threshold.HasField("change_threshold"):
            continue
        change = Bound(AUC_CHANGE, threshold.change_threshold.absolute.value)
        if AUC_DIFF in metrics:
            difference = None if result is None else metrics[AUC_DIFF]
            rows.append(BoundResult.of("frame", change, slice_name, difference, reason))
        elif incomparable and change.limit > -1:
            rows.append(BoundResult.of("frame", change, slice_name, None, incomparable))
    return rows


def _bound(name: str, threshold: config_pb2.GenericValueThreshold, key: str, value: str) -> Bound:
    if threshold.HasField("upper_bound"):
        return Bound(name, threshold.upper_bound.value, key, value, AT_MOST)
    return Bound(name, threshold.lower_bound.value, key, value, AT_LEAST)


def _named(spec: config_pb2.SlicingSpec) -> tuple[str, str]:
    for key, value in spec.feature_values.items():
        return key, value
    return (spec.feature_keys[0], "") if spec.feature_keys else ("", "")


def metrics_by_slice(evaluation: str) -> dict[str, dict[str, Any]]:
    """TFMA's scalar metrics: slice (`method=Deepfakes`, empty for everything) -> metric -> value.

    Differences from the baseline end in `_diff`; the baseline's own values are left out.
    """
    result = tfma.load_eval_result(evaluation)
    by_slice: dict[str, dict[str, Any]] = {}
    for slice_key, by_output in result.slicing_metrics:
        if len(slice_key) > 1:
            continue
        name = "".join(f"{key}={value}" for key, value in slice_key)
        values = by_output[""][""]
        numbers = {metric: _number(value) for metric, value in values.items()}
        by_slice[name] = {m: number for m, number in numbers.items() if number is not None}
    return by_slice


def _number(value: dict[str, Any]) -> float | None:
    """The number of a metric of TFMA, with an interval or without; None where it is no number."""
    number = value.get("boundedValue", {}).get("value", value.get("doubleValue"))
    return number if isinstance(number, float) else None


def write(folder: str, rows: list[BoundResult]) -> None:
    """Writes the rows as JSON."""
    text = json.dumps([row.as_json() for row in rows], indent=1)
    Path(folder, FILE).write_text(text, encoding="utf-8")


def read(folder: str) -> list[BoundResult]:
    """Reads what `write` wrote."""
    rows = json.loads(Path(folder, FILE).read_text(encoding="utf-8"))
    return [BoundResult.from_json(row) for row in rows]
