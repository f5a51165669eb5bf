import math

import pytest

from pipeline.bounds import Bound, Row, bounds_of, parse
from pipeline.config import GateConfig, load_config
from preprocessing.errors import UsageError


def test_bounds_of_slices_are_read():
    gate = GateConfig(slices=("method=Face Swap: auc >= 0.7", "source: accuracy>=.6"))
    assert bounds_of(gate)[2:] == [
        Bound("auc", 0.7, "method", "Face Swap"),
        Bound("accuracy", 0.6, "source", ""),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method=Deepfakes auc 0.7", "cannot be read"),
        ("method=Deepfakes: auc >= much", "cannot be read"),
        ("method=Deepfakes: auc >= nan", "cannot be read"),
        ("methods=Deepfakes: auc >= 0.7", "slices are dataset, method"),
        ("method=Deepfakes: recall >= 0.7", "metrics accuracy, auc"),
    ],
)
def test_misspelt_bounds_are_refused_before_a_run(text, words):
    with pytest.raises(UsageError, match=words):
        parse(text)
    for gate in ("gate", "clip_gate"):
        with pytest.raises(UsageError, match=words):
            load_config("demo", [f"evaluation.{gate}.slices=['{text}']"])


@pytest.mark.parametrize(
    ("value", "held"),
    [(0.8, True), (0.81, True), (0.79, False), (None, False), (math.nan, False), (math.inf, False)],
)
def test_what_is_no_number_never_holds(value, held):
    row = Row.of("clip", Bound("auc", 0.8), "", value, "only real clips")
    assert row.held is held
    assert Row.from_json(row.as_json()).text() == row.text()
    if value is None:
        assert row.text() == "clip auc >= 0.800: not measured (only real clips)"
