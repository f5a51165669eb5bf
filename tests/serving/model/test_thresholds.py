import math

import numpy as np
import pytest

from preprocessing.support.errors import UsageError
from serving.model.aggregation import probability
from serving.model.operating_points import OperatingPoints, operating_points
from serving.model.thresholds import FALSE_ALARMS, Thresholds, thresholds_of

# What the version before this one wrote beside a model: thresholds as P(fake) only.
OLD_CARD = {
    "operating_points": {
        "split": "val",
        "real_clips": 300,
        "fake_clips": 300,
        "points": [
            {"name": "eer", "threshold": 0.5373266447168217, "fpr": 0.31, "tpr": 0.69},
            {"name": "fpr_0.1", "threshold": 0.7718034118710107, "fpr": 0.1, "tpr": 0.39},
            {"name": "fpr_0.05", "threshold": 0.8346529012434543, "fpr": 0.05, "tpr": 0.27},
            {"name": "fpr_0.01", "threshold": 0.9200811742036105, "fpr": 0.01, "tpr": 0.08},
            {"name": "fpr_0.001", "threshold": 0.9509243543062011, "fpr": 0.0, "tpr": 0.03},
        ],
    }
}


def band(logits, labels, **arguments):
    points = operating_points(np.array(logits), np.array(labels))
    return thresholds_of(OperatingPoints.from_dict(points), **arguments)


def test_rare_false_alarms_lie_above_equal_errors_in_a_model_that_errs():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 1000)
    logits = rng.normal(size=2000) + labels
    found = band(logits, labels)
    assert np.mean(logits[labels == 0] > found.fake_above_logit) <= 0.01
    assert found.real_up_to_logit < found.fake_above_logit
    bounds = (-99.0, found.real_up_to_logit, found.fake_above_logit, 99.0)
    assert [found.verdict(logit) for logit in bounds] == ["real", "real", "uncertain", "fake"]
    # With more false alarms allowed, more is fake.
    assert band(logits, labels, false_alarms=0.1).fake_above_logit < found.fake_above_logit


def test_words_change_just_above_the_thresholds():
    found = Thresholds(0.01, 2.0, -1.0, 400)
    for threshold, up_to, above in ((2.0, "uncertain", "fake"), (-1.0, "real", "uncertain")):
        assert found.verdict(math.nextafter(threshold, -math.inf)) == up_to
        assert found.verdict(threshold) == up_to
        assert found.verdict(math.nextafter(threshold, math.inf)) == above


@pytest.mark.parametrize("logit", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_logits_that_are_not_finite_have_no_word(logit):
    with pytest.raises(ValueError, match="no verdict"):
        Thresholds(0.01, 2.0, -1.0, 400).verdict(logit)


def test_what_lies_between_separated_classes_is_uncertain_up_to_the_middle():
    found = band([-3.0, -1.0, 2.0, 3.0], [0, 0, 1, 1])
    assert (found.real_up_to_logit, found.fake_above_logit) == (-1.0, 0.5)
    assert found.real_up_to == pytest.approx(float(probability(-1.0)))
    assert found.fake_above == pytest.approx(float(probability(0.5)))
    assert found.verdict(0.0) == "uncertain"
    assert "val's 2 real clips are too few to show 1.0%" in found.text()


@pytest.mark.parametrize(("real_clips", "few"), [(99, True), (100, False)])
def test_enough_real_clips_need_no_excuse(real_clips, few):
    text = Thresholds(0.01, 0.4978, -0.0101, real_clips).text()
    assert ("too few" in text) is few
    assert text.startswith("fake: above 0.622; real: up to 0.497; uncertain: between")


def test_saturated_thresholds_are_told_as_logits():
    assert (
        Thresholds(0.01, 50.5, -41.0, 400)
        .text()
        .startswith("fake: above 1.000 (logit 50.5); real: up to 0.000 (logit -41);")
    )


def test_clips_beyond_the_precision_of_probabilities_get_the_right_words():
    reals, fakes = np.linspace(38, 41, 40), np.linspace(60, 63, 40)
    found = band([*reals, *fakes], np.repeat([0, 1], 40))
    assert {found.verdict(logit) for logit in reals} == {"real"}
    assert {found.verdict(logit) for logit in fakes} == {"fake"}
    assert found.verdict(45.0) == "uncertain"


def test_cards_with_probabilities_give_the_words_that_they_gave():
    found = thresholds_of(OperatingPoints.from_dict(OLD_CARD["operating_points"]))
    points = {p["name"]: p["threshold"] for p in OLD_CARD["operating_points"]["points"]}
    assert found.false_alarms == FALSE_ALARMS == 0.01
    assert found.fake_above == pytest.approx(points["fpr_0.01"], rel=1e-15)
    assert found.real_up_to == pytest.approx(points["eer"], rel=1e-15)
    for logit in np.linspace(-6, 6, 4001):
        score = float(probability(logit))
        before = "fake" if score > points["fpr_0.01"] else "uncertain"
        before = before if score > points["eer"] else "real"
        assert found.verdict(logit) == before


@pytest.mark.parametrize("saturated", ["eer", "fpr_0.01"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_cards_with_saturated_probabilities_give_no_word(saturated, value):
    """The comparison with 1.0 called every fake real; which logit it was is lost."""
    points = [
        {**point, "threshold": value} if point["name"] == saturated else point
        for point in OLD_CARD["operating_points"]["points"]
    ]
    assert thresholds_of(OperatingPoints(points=points, real_clips=300)) is None


@pytest.mark.parametrize(
    "points",
    [None, OperatingPoints.from_dict(operating_points(np.array([1.0]), np.array([1])))],
    ids=["an older model", "one class in val"],
)
def test_models_without_points_have_no_band(points):
    assert thresholds_of(points) is None


def test_a_share_that_the_model_has_not_is_refused():
    with pytest.raises(UsageError, match=r"share of 0.02 .* for 0.1, 0.05, 0.01, 0.001"):
        band([-1.0, 1.0], [0, 1], false_alarms=0.02)
