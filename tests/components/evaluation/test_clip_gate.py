"""Comparisons of two models, and the gate on clips; without TFX."""

import math

import numpy as np
import pandas as pd
import pytest

from components.evaluation import bootstrap
from components.evaluation.bounds import AUC_CHANGE, AUC_CHANGE_LOW
from components.evaluation.clip_gate import FINITE, judge_clips
from components.evaluation.config import GateConfig
from components.evaluation.measurement import compare, measure_split
from components.evaluation.scores import clip_tables, clusters_of

RESAMPLES = 200
PERMISSIVE = GateConfig(min_accuracy=0.0, min_auc=0.0, max_auc_drop=1.0)


def table(logits, **columns) -> pd.DataFrame:
    """Clips, every second one fake, two clips a person."""
    number = np.arange(len(logits))
    return pd.DataFrame(
        {
            "clip_id": [f"clip{n:03}.mp4" for n in number],
            "pair_id": [f"clip{n - n % 2:03}.mp4" for n in number],
            "dataset": "made",
            "method": np.where(number % 2, "swap", "real"),
            "identity": [f"p{n // 4}" for n in number],
            "label": number % 2,
            "face_size": 100.0,
            "logit": np.asarray(logits, float),
            **columns,
        }
    )


def drawn(seed: int, size: int = 120, distance: float = 1.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size) + distance * (np.arange(size) % 2)


def crops(logits) -> pd.DataFrame:
    return table(logits, track_id=0, frame_index=0, score=0.5)


def gated(comparison, logits=None, **changes):
    slices = measure_split(crops(drawn(0) if logits is None else logits), RESAMPLES).clips
    return judge_clips(PERMISSIVE.replace(**changes), slices, 1.0, comparison)


def test_persons_are_clusters_and_donors_are_not():
    persons = table(
        [0.0] * 5, identity=["a|b", "a", "b|a", "", ""], dataset=["d", "d", "d", "d", "e"]
    )
    persons["pair_id"] = ["x", "x", "y", "o.mp4", "o.mp4"]
    assert clusters_of(persons).tolist() == ["d:a", "d:a", "d:b", "d:o.mp4", "e:o.mp4"]


def test_persons_widen_the_interval():
    """Forty clips of ten persons tell less than forty clips of forty persons."""
    right = np.repeat(np.random.default_rng(3).normal(1.0, 2.0, 10), 4)
    logits = right * np.tile([-1.0, 1.0], 20)

    def width(identity):
        clips = table(logits, identity=identity, track_id=0, frame_index=0, score=0.5)
        overall = measure_split(clips, 400).clips[0].metrics["accuracy"]
        return overall.high - overall.low

    alone = width([f"q{n}" for n in range(40)])
    assert width([f"p{n // 4}" for n in range(40)]) > 1.3 * alone


def test_a_model_differs_from_itself_by_exactly_nothing():
    found = compare(table(drawn(0)), table(drawn(0)), RESAMPLES)
    assert (found.clips, found.only_candidate, found.only_baseline) == (120, 0, 0)
    for name, row in found.metrics.items():
        assert (row.value, row.low, row.high) == (0.0, 0.0, 0.0), name
        assert row.candidate == row.baseline


def test_both_models_are_measured_on_the_same_resamples():
    """What makes a clip hard for both cancels out: the interval is that of paired draws."""
    base = drawn(0)
    other = base + 0.3 * np.random.default_rng(1).normal(size=len(base))
    found = compare(table(other), table(base), RESAMPLES).metrics["auc"]
    labels, clusters = np.arange(120) % 2, clusters_of(table(base))

    def ends(seeds):
        draws = [
            bootstrap.resample(labels, logits, clusters, RESAMPLES, seed)["auc"]
            for logits, seed in zip((other, base), seeds, strict=True)
        ]
        return bootstrap.interval(draws[0] - draws[1], 30)[:2]

    assert (found.low, found.high) == pytest.approx(ends((0, 0)))
    low, high = ends((0, 1))
    assert found.high - found.low < 0.6 * (high - low)


def test_one_person_alone_gives_no_interval_of_a_difference():
    clips = table(drawn(0), identity="p")
    row = compare(clips, clips, RESAMPLES).metrics["auc"]
    assert (row.value, row.low, row.high) == (0.0, None, None)
    assert "one person or clip" in row.note


def test_clips_of_one_table_only_are_counted():
    found = compare(table(drawn(0))[:100], table(drawn(1))[40:], RESAMPLES)
    assert (found.clips, found.only_candidate, found.only_baseline) == (60, 40, 20)


# AUC of the candidate is lower by 0.006, and its paired interval reaches down to about -0.02.
BASE = drawn(0)
SLIGHTLY_WORSE = BASE - 0.12 * (np.arange(120) % 2) * (np.arange(120) % 8 == 1)


def test_a_drop_may_be_judged_by_its_point_or_by_its_interval():
    comparison = compare(table(SLIGHTLY_WORSE), table(BASE), RESAMPLES)
    change = comparison.metrics["auc"]
    assert change.low < change.value < 0
    between = -(change.low + change.value) / 2
    by_point = gated(comparison, max_auc_drop=between)[-1]
    assert (by_point.metric, by_point.held) == (AUC_CHANGE, True)
    assert by_point.value == change.value
    by_interval = gated(comparison, max_auc_drop=between, drop_by="interval")[-1]
    assert (by_interval.metric, by_interval.held) == (AUC_CHANGE_LOW, False)
    assert (by_interval.value, by_interval.bound) == (change.low, -between)
    assert by_interval.reason.startswith("below the bound; the difference itself is -0.0")
    wide = gated(comparison, max_auc_drop=-change.low, drop_by="interval")[-1]
    assert wide.held, "the bound itself is allowed"


def test_an_equal_model_holds_by_interval_and_one_without_an_interval_does_not():
    same = compare(table(BASE), table(BASE), RESAMPLES)
    assert gated(same, max_auc_drop=0.0, drop_by="interval")[-1].held
    alone = compare(table(BASE, identity="p"), table(BASE, identity="p"), RESAMPLES)
    row = gated(alone, max_auc_drop=1.0, drop_by="interval")[-1]
    assert not row.held
    assert "one person or clip" in row.text()


def test_every_measure_is_held_against_its_bounds():
    slices = measure_split(crops(BASE), 0).clips
    # Plain floats: numpy 2 writes its own as `np.float64(0.5)`.
    values = {name: float(row.value) for name, row in slices[0].metrics.items()}
    for name, value in values.items():
        for text, held in (
            (f"{name} >= {value!r}", True),
            (f"{name} <= {value!r}", True),
            (f"{name} >= {math.nextafter(value, 9)!r}", False),
            (f"{name} <= {math.nextafter(value, -9)!r}", False),
        ):
            if not 0 <= float(text.split()[-1]) <= 1 and name != "log_loss":
                continue
            row = judge_clips(PERMISSIVE.replace(bounds=(text,)), slices, 1.0, None)[3]
            assert (row.metric, row.value, row.held) == (name, value, held), text


def test_rows_are_the_share_of_finite_scores_then_the_bounds():
    rows = gated(None, BASE, bounds=("eer <= 0.5",), slices=("method: auc >= 0.1",))
    assert [(row.metric, row.slice) for row in rows] == [
        (FINITE, ""),
        ("accuracy", ""),
        ("auc", ""),
        ("eer", ""),
        ("auc", "method=swap"),
    ]
    assert {row.level for row in rows} == {"clip"}
    assert all(row.held for row in rows)


def test_scores_that_are_not_finite_refuse_the_model():
    logits = BASE.copy()
    logits[0] = np.nan
    slices = measure_split(crops(logits), RESAMPLES).clips
    rows = judge_clips(PERMISSIVE, slices, 119 / 120, None)
    assert [row.held for row in rows] == [False, False, False]
    assert rows[0].text() == f"clip {FINITE} 0.992 < 1.000"
    assert rows[2].reason == "1 of 120 scores are not numbers"


def test_slices_that_were_not_tested_refuse_the_model():
    (row,) = gated(None, BASE, slices=("method=morph: eer <= 1",))[3:]
    assert row.text() == (
        "clip eer of method=morph <= 1.000: not measured (no clip of it was tested)"
    )
    (row,) = gated(None, BASE, slices=("compression: auc >= 0",))[3:]
    assert (row.slice, row.held) == ("compression", False)


def test_every_slice_of_a_key_has_a_row():
    both = crops(BASE)
    both.loc[both.index % 4 == 3, "method"] = "morph"
    slices = measure_split(both, RESAMPLES).clips
    gate = PERMISSIVE.replace(slices=("method: auc >= 0.1", "method=morph: eer <= 1"))
    rows = judge_clips(gate, slices, 1.0, None)[3:]
    names = [(row.metric, row.slice) for row in rows]
    assert names == [("auc", "method=morph"), ("auc", "method=swap"), ("eer", "method=morph")]


def test_the_tables_of_the_gate_are_those_of_the_evaluation():
    assert clip_tables(crops(BASE))[1]["logit"].tolist() == BASE.tolist()
