import numpy as np
import pytest

from serving.model.aggregation import probability
from serving.model.operating_points import (
    FALSE_POSITIVE_RATES,
    OperatingPoint,
    operating_points,
)


def by_name(logits, labels):
    return {point["name"]: point for point in operating_points(logits, labels)["points"]}


def test_each_point_keeps_its_promise_on_the_clips_it_was_fitted_on():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 2000)
    logits = rng.normal(size=4000) + 2 * labels
    points = by_name(logits, labels)
    for point in points.values():
        assert point["fpr"] == np.mean(logits[labels == 0] > point["logit"])
        assert point["tpr"] == np.mean(logits[labels == 1] > point["logit"])
        assert point["threshold"] == float(probability(point["logit"]))
    assert points["eer"]["fpr"] == pytest.approx(1 - points["eer"]["tpr"], abs=2e-3)
    for rate in FALSE_POSITIVE_RATES:
        # As many false alarms as allowed, and not one more.
        assert rate - 1 / 2000 < points[f"fpr_{rate:g}"]["fpr"] <= rate


def test_few_real_clips_allow_no_false_alarm_at_all():
    points = by_name(np.array([-1.0, 0.5, 0.2, 3.0]), np.array([0, 0, 1, 1]))
    assert points["fpr_0.01"] == {
        "name": "fpr_0.01",
        "logit": 0.5,
        "threshold": pytest.approx(float(probability(0.5))),
        "fpr": 0.0,
        "tpr": 0.5,
    }


def test_separated_classes_are_parted_in_the_middle():
    points = by_name(np.array([-3.0, -1.0, 2.0, 3.0]), np.array([0, 0, 1, 1]))
    assert points["eer"]["logit"] == 0.5
    assert (points["eer"]["fpr"], points["eer"]["tpr"]) == (0, 1)


@pytest.mark.parametrize(
    ("logits", "labels"), [([1.0, 2.0], [1, 1]), ([1.0, 2.0], [0, 0]), ([np.nan, 0.0], [0, 1])]
)
def test_no_threshold_where_nothing_can_be_told(logits, labels):
    found = by_name(np.array(logits), np.array(labels))
    for key in ("logit", "threshold", "fpr", "tpr"):
        assert {point[key] for point in found.values()} == {None}


def test_equal_scores_everywhere():
    points = by_name(np.zeros(6), np.array([0, 1] * 3))
    assert points["eer"]["logit"] == 0.0
    assert points["eer"]["threshold"] == 0.5


def test_rates_of_the_points_are_those_that_their_names_say():
    assert FALSE_POSITIVE_RATES == (0.1, 0.05, 0.01, 0.001)
    # 1,000 real clips with logits 0 to 999: at most k of them may lie above the threshold.
    logits = np.concatenate([np.arange(1000.0), [2000.0]])
    points = by_name(logits, np.append(np.zeros(1000, int), 1))
    found = {name: point["logit"] for name, point in points.items() if name != "eer"}
    assert found == {"fpr_0.1": 899, "fpr_0.05": 949, "fpr_0.01": 989, "fpr_0.001": 998}


def test_a_reversed_model_errs_on_both_sides_of_its_point():
    point = by_name(np.array([3.0, 1.0]), np.array([0, 1]))["eer"]
    assert (point["logit"], point["fpr"], point["tpr"]) == (2.0, 1.0, 0.0)


def test_equal_errors_lie_between_two_neighbours():
    # Reals 0, 1, 2, 6 and fakes 3, 4, 5, 7: one of four is wrong on each side above 2 .. 3.
    logits = np.array([0.0, 1.0, 2.0, 6.0, 3.0, 4.0, 5.0, 7.0])
    point = by_name(logits, np.repeat([0, 1], 4))["eer"]
    assert (point["logit"], point["fpr"], point["tpr"]) == (3.5, 0.25, 0.75)


def test_saturated_logits_keep_their_thresholds():
    """All scores are 1.0; a threshold on them would find no fake at all."""
    reals, fakes = np.linspace(38, 41, 50), np.linspace(60, 63, 50)
    assert set(probability(np.concatenate([reals, fakes]))) == {1.0}
    points = by_name(np.concatenate([reals, fakes]), np.repeat([0, 1], 50))
    assert points["eer"]["logit"] == 50.5
    assert points["fpr_0.01"]["logit"] == 41.0
    assert (points["eer"]["tpr"], points["eer"]["fpr"]) == (1.0, 0.0)
    assert (points["fpr_0.01"]["tpr"], points["fpr_0.01"]["fpr"]) == (1.0, 0.0)


@pytest.mark.parametrize("logit", [-30.0, -2.5, 0.0, 1e-3, 7.0, 25.0])
def test_logits_of_older_cards_are_computed_back(logit):
    old = {"name": "eer", "threshold": float(probability(logit))}
    assert OperatingPoint.from_dict(old).threshold_logit() == pytest.approx(
        logit, rel=1e-4, abs=1e-12
    )
    assert OperatingPoint.from_dict({**old, "logit": logit}).threshold_logit() == logit


@pytest.mark.parametrize("threshold", [None, 0.0, 1.0])
def test_no_logit_is_made_up_for_a_saturated_or_missing_threshold(threshold):
    assert OperatingPoint(name="eer", threshold=threshold).threshold_logit() is None


def test_a_fake_at_the_threshold_is_not_called_fake():
    point = by_name(np.array([0.0, 1.0, 1.0, 2.0]), np.array([0, 0, 1, 1]))["fpr_0.01"]
    assert (point["logit"], point["fpr"], point["tpr"]) == (1.0, 0.0, 0.5)


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])
def test_clips_of_each_class_are_counted(labels):
    found = operating_points(np.arange(5.0), np.array(labels))
    assert (found["real_clips"], found["fake_clips"]) == (labels.count(0), labels.count(1))


def test_one_real_clip_is_enough():
    points = by_name(np.array([0.5, 2.0]), np.array([0, 1]))
    assert {name: point["logit"] for name, point in points.items()} == {
        "eer": 1.25,
        **{f"fpr_{rate}": 0.5 for rate in ("0.1", "0.05", "0.01", "0.001")},
    }
