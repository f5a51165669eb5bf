"""The rows of the gate on clips: each says what was asked, what was measured, and why it fails."""

import math

import pytest

from components.evaluation.clip_gate import judge_clips
from components.evaluation.config import GateConfig
from components.evaluation.measures import (
    Comparison,
    MeasuredDifference,
    SliceMeasures,
    StoredMeasure,
)

GATE = GateConfig(min_accuracy=0.8, min_auc=0.9, max_auc_drop=0.02)


def measured(value: float | None, note: str = "") -> StoredMeasure:
    return StoredMeasure(value=value, note=note)


def slices(
    accuracy: float | None = 0.85, auc: float | None = 0.95, note: str = ""
) -> list[SliceMeasures]:
    metrics = {"accuracy": measured(accuracy, note), "auc": measured(auc, note)}
    return [
        SliceMeasures(key=key, value=value, real=4, fake=4, metrics=metrics)
        for key, value in (("overall", ""), ("method", "swap"), ("source", "swap"))
    ]


def compared(value: float | None, note: str = "") -> Comparison:
    auc = MeasuredDifference(candidate=None, baseline=None, value=value, low=value, note=note)
    return Comparison(clips=8, only_candidate=0, only_baseline=0, metrics={"auc": auc})


def test_a_model_without_predecessor_has_three_rows_and_one_with_it_a_fourth():
    names = [
        (row.level, row.slice, row.metric, row.bound)
        for row in judge_clips(GATE, slices(), 1.0, None)
    ]
    assert names == [
        ("clip", "", "share of scores that are numbers", 1.0),
        ("clip", "", "accuracy", 0.8),
        ("clip", "", "auc", 0.9),
    ]
    (change,) = judge_clips(GATE, slices(), 1.0, compared(-0.01))[3:]
    assert (change.level, change.slice, change.bound, change.value) == ("clip", "", -0.02, -0.01)
    assert change.metric.startswith("auc against the last blessed model")


@pytest.mark.parametrize(("change", "held"), [(0.5, True), (-0.02, True), (-0.021, False)])
def test_the_drop_may_be_as_large_as_the_gate_says(change, held):
    assert judge_clips(GATE, slices(), 1.0, compared(change))[3].held is held


def test_a_drop_that_could_not_be_measured_refuses_with_its_reason():
    row = judge_clips(GATE, slices(), 1.0, compared(None, "no real clip in common"))[3]
    assert not row.held
    assert math.isnan(row.value)
    assert row.reason == "no real clip in common"
    assert row.text().endswith("not measured (no real clip in common)")


@pytest.mark.parametrize("drop_by", ["point", "interval"])
def test_a_comparison_that_cannot_be_made_refuses_unless_every_drop_is_allowed(drop_by):
    gate = GATE.replace(drop_by=drop_by)
    (row,) = judge_clips(gate, slices(), 1.0, None, "its crops are cut otherwise")[3:]
    assert (row.held, row.bound, row.reason) == (False, -0.02, "its crops are cut otherwise")
    any_drop = gate.replace(max_auc_drop=1.0)
    assert not judge_clips(any_drop, slices(), 1.0, None, "its crops are cut otherwise")[3:]


def test_no_score_at_all_refuses_with_its_reason():
    row = judge_clips(GATE, slices(None, None), math.nan, None)[0]
    assert not row.held
    assert row.reason == "nothing was scored"


@pytest.mark.parametrize(
    ("share", "held", "reason"), [(1.0, True, ""), (0.99, False, "below the bound")]
)
def test_every_score_must_be_finite(share, held, reason):
    row = judge_clips(GATE, slices(), share, None)[0]
    assert (row.held, row.reason) == (held, reason)


def test_a_measure_that_is_missing_refuses_with_the_note_of_the_measure():
    for row in judge_clips(GATE, slices(None, None, "no fake one"), 1.0, None)[1:]:
        assert not row.held
        assert row.reason == "no fake one"


def test_a_bound_of_a_slice_is_for_that_key_and_value_only():
    gate = GateConfig(
        min_accuracy=0.0,
        min_auc=0.0,
        max_auc_drop=1.0,
        slices=("method=swap: auc >= 0.7", "source: auc >= 0.6"),
    )
    rows = judge_clips(gate, slices(), 1.0, None)[3:]
    assert [(row.slice, row.bound, row.value) for row in rows] == [
        ("method=swap", 0.7, 0.95),
        ("source=swap", 0.6, 0.95),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [("method=blend: auc >= 0.7", "method=blend"), ("dataset: auc >= 0.7", "dataset")],
)
def test_a_slice_that_was_not_tested_refuses(text, name):
    (row,) = judge_clips(
        GateConfig(min_accuracy=0.0, min_auc=0.0, max_auc_drop=1.0, slices=(text,)),
        slices(),
        1.0,
        None,
    )[3:]
    assert (row.slice, row.held, row.reason) == (name, False, "no clip of it was tested")
