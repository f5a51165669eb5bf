import math

import pytest

from components.evaluation.bounds import (
    AT_LEAST,
    AT_MOST,
    Bound,
    BoundResult,
    parse,
)
from components.evaluation.config import GateConfig, bounds_of
from pipeline.config import load_config
from preprocessing.support.errors import UsageError


def test_bounds_of_slices_are_read():
    gate = GateConfig(slices=("method=Face Swap: auc >= 0.7", "source: accuracy>=.6"))
    assert bounds_of(gate) == [
        Bound("accuracy", 0.8),
        Bound("auc", 0.9),
        Bound("auc", 0.7, "method", "Face Swap"),
        Bound("accuracy", 0.6, "source", ""),
    ]


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("eer <= 0.1", Bound("eer", 0.1, relation=AT_MOST)),
        (" auc>=1 ", Bound("auc", 1.0)),
        ("tpr_at_fpr_0.1pct >= 5e-1", Bound("tpr_at_fpr_0.1pct", 0.5)),
        ("log_loss <= 12.5", Bound("log_loss", 12.5, relation=AT_MOST)),
        ("auc >= 0", Bound("auc", 0.0)),
        ("calibration_error <= 1", Bound("calibration_error", 1.0, relation=AT_MOST)),
        ("method = a=b : brier <= .2", Bound("brier", 0.2, "method", "a=b", AT_MOST)),
        ("face_size=under 80 px: auc >= 0.6", Bound("auc", 0.6, "face_size", "under 80 px")),
        ("compression: auc <= 0.99", Bound("auc", 0.99, "compression", "", AT_MOST)),
    ],
)
def test_any_measure_is_bounded_from_below_or_above(text, bound):
    assert parse(text) == bound
    gate = load_config("demo", [f"evaluation.clip_gate.bounds=['{text}']"]).evaluation.clip_gate
    assert bounds_of(gate)[2:] == [bound]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method=Deepfakes auc 0.7", "cannot be read"),
        ("method=Deepfakes: auc >= much", "cannot be read"),
        ("method=Deepfakes: auc >= nan", "cannot be read"),
        ("method=Deepfakes: auc >= inf", "cannot be read"),
        ("method=Deepfakes: auc > 0.7", "cannot be read"),
        ("method=Deepfakes: auc = 0.7", "cannot be read"),
        # The value of a slice ends at the first colon.
        ("method=Deep:fakes: auc >= 0.7", "cannot be read"),
        ("method=: auc >= 0.7", "cannot be read"),
        ("methods=Deepfakes: auc >= 0.7", "no slice 'methods'; did you mean 'method'"),
        ("method=Deepfakes: recall >= 0.7", "no metric 'recall'.*there are accuracy, auc, eer"),
        ("method=Deepfakes: acuracy >= 0.7", "no metric 'acuracy'; did you mean 'accuracy'"),
        ("face_size=under 90 px: auc >= 0.7", "no face_size .*did you mean 'under 80 px'"),
        ("compression=c42: auc >= 0.7", "no compression 'c42'"),
        ("method: auc >= 90", "can never hold: auc lies between 0 and 1"),
        ("method: auc >= 1.000001", "can never hold"),
        ("method: auc >= -0.000001", "holds always"),
        ("method: eer <= -1", "can never hold: eer lies between 0 and 1"),
        ("method: eer <= 1.5", "holds always"),
        ("method: log_loss <= -0.1", "can never hold: log_loss lies between 0 and inf"),
    ],
)
def test_wrong_bounds_are_refused_before_a_run(text, words):
    with pytest.raises(UsageError, match=words):
        parse(text)
    for gate in ("gate", "clip_gate"):
        for key in ("slices", "bounds"):
            with pytest.raises(UsageError, match=f"^evaluation.{gate}.{key}: .*{words}"):
                load_config("demo", [f"evaluation.{gate}.{key}=['{text}']"])


def test_slices_refuse_a_bound_without_a_slice():
    with pytest.raises(
        UsageError,
        match=r"^evaluation.clip_gate.slices: 'eer <= 0.1' names no slice; .* key bounds beside it",
    ):
        load_config("demo", ["evaluation.clip_gate.slices=['eer <= 0.1']"])


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (("eer >= 0.2", "eer <= 0.1"), "eer cannot be at least 0.2 and at most 0.1"),
        (("auc <= 0.5",), "auc cannot be at least 0.9 and at most 0.5"),
        (("method=a: eer <= 0.1", "method=a: eer >= 0.2"), "eer of method=a cannot be"),
        # A bound on a key holds for each of its slices.
        (("method: eer >= 0.2", "method=a: eer <= 0.1"), "eer of method=a cannot be"),
        (("method=a: eer >= 0.2", "method: eer <= 0.1"), "eer of method=a cannot be"),
        (("method: eer >= 0.2", "method: eer <= 0.1"), "eer of method cannot be"),
    ],
)
def test_bounds_that_contradict_each_other_are_refused(bounds, words):
    with pytest.raises(UsageError, match=f"^evaluation.gate: {words}"):
        GateConfig.from_dict({"bounds": bounds}, key="evaluation.gate")


@pytest.mark.parametrize(
    "bounds",
    [
        ("eer >= 0.1", "eer <= 0.1"),
        ("method=a: eer >= 0.2", "method=b: eer <= 0.1"),
        ("method: eer >= 0.2", "source: eer <= 0.1"),
        ("brier >= 0.2", "eer <= 0.1"),
        ("eer <= 0.2", "eer <= 0.1"),
    ],
)
def test_other_bounds_stand_beside_each_other(bounds):
    assert len(bounds_of(GateConfig(bounds=bounds))) == 4


@pytest.mark.parametrize(
    ("value", "held"),
    [(0.8, True), (0.81, True), (0.79, False), (None, False), (math.nan, False), (math.inf, False)],
)
def test_what_is_not_finite_never_holds(value, held):
    row = BoundResult.of("clip", Bound("auc", 0.8), "", value, "only real clips")
    assert row.held is held
    assert BoundResult.from_json(row.as_json()).text() == row.text()
    if value is None:
        assert row.text() == "clip auc >= 0.800: not measured (only real clips)"


@pytest.mark.parametrize(
    ("relation", "value", "held"),
    [
        (AT_LEAST, math.nextafter(0.2, 1), True),
        (AT_LEAST, 0.2, True),
        (AT_LEAST, math.nextafter(0.2, 0), False),
        (AT_MOST, math.nextafter(0.2, 1), False),
        (AT_MOST, 0.2, True),
        (AT_MOST, math.nextafter(0.2, 0), True),
        (AT_MOST, math.nan, False),
        (AT_MOST, -math.inf, False),
    ],
)
def test_bounds_hold_up_to_their_limit(relation, value, held):
    bound = Bound("eer", 0.2, relation=relation)
    assert bound.holds(value) is held
    assert BoundResult.of("clip", bound, "", value, "").held is held


def test_a_row_says_what_was_measured_and_why_it_does_not_hold():
    bound = Bound("eer", 0.2, "method", "a", AT_MOST)
    row = BoundResult.of("clip", bound, "method=a", 0.25, "few reals")
    assert row == BoundResult(
        "clip", "method=a", "eer", 0.2, 0.25, False, "above the bound; few reals", AT_MOST
    )
    assert row.text() == "clip eer of method=a 0.250 > 0.200"
    assert row.as_json()["relation"] == "<="
    held = BoundResult.of("clip", bound, "method=a", 0.125, "few reals")
    assert (held.held, held.reason) == (True, "")
    assert held.text() == "clip eer of method=a 0.125 <= 0.200"
    assert BoundResult.of("frame", Bound("auc", 0.5), "", 0.25, "").reason == "below the bound"


def test_digits_tell_value_and_bound_apart():
    row = BoundResult.of("clip", Bound("auc", 0.8), "", 0.79996, "")
    assert row.text() == "clip auc 0.79996 < 0.80000"
    assert (
        BoundResult.of("clip", Bound("auc", 0.8), "", 0.8, "").text() == "clip auc 0.800 >= 0.800"
    )
    small = Bound("brier", 0.0004, relation=AT_MOST)
    assert BoundResult.of("clip", small, "", 0.0004, "").text() == "clip brier 0.0004 <= 0.0004"
    assert BoundResult.of("clip", small, "", 0.00036, "").text() == "clip brier 0.00036 <= 0.00040"
    none = BoundResult.of("clip", small, "", None, "no fake")
    assert none.text() == "clip brier <= 0.0004: not measured (no fake)"


OLD_ROW = {"level": "clip", "slice": "", "metric": "auc", "bound": 0.9, "value": None}


def test_verdicts_of_earlier_versions_are_read():
    row = BoundResult.from_json({**OLD_ROW, "held": False, "reason": "only real clips"})
    assert row.text() == "clip auc >= 0.900: not measured (only real clips)"


def test_rows_keep_their_form():
    row = BoundResult.of("clip", Bound("auc", 0.9), "", None, "only real clips")
    expected = {**OLD_ROW, "held": False, "reason": "only real clips", "relation": ">="}
    assert list(row.as_json().items()) == list(expected.items())


@pytest.mark.parametrize(
    "values",
    [{}, [], OLD_ROW, {**OLD_ROW, "held": "no"}, {**OLD_ROW, "held": True, "hold": True}],
    ids=["empty", "list", "without held", "a text", "unknown key"],
)
def test_what_is_no_row_of_a_verdict_is_refused(values):
    with pytest.raises(UsageError, match="is no row of a verdict"):
        BoundResult.from_json(values)
