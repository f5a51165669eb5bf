import numpy as np
import pytest

from preprocessing.aggregation import probability
from preprocessing.operating_points import FALSE_POSITIVE_RATES, operating_points


def by_name(logits, labels):
    return {point["name"]: point for point in operating_points(logits, labels)["points"]}


def test_each_point_keeps_its_promise_on_the_clips_it_was_fitted_on():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 2000)
    logits = rng.normal(size=4000) + 2 * labels
    points = by_name(logits, labels)
    scores = probability(logits)
    for point in points.values():
        assert point["fpr"] == np.mean(scores[labels == 0] > point["threshold"])
        assert point["tpr"] == np.mean(scores[labels == 1] > point["threshold"])
    assert points["eer"]["fpr"] == pytest.approx(1 - points["eer"]["tpr"], abs=2e-3)
    for rate in FALSE_POSITIVE_RATES:
        # As many false alarms as allowed, and not one more.
        assert rate - 1 / 2000 < points[f"fpr_{rate:g}"]["fpr"] <= rate


def test_few_real_clips_allow_no_false_alarm_at_all():
    points = by_name(np.array([-1.0, 0.5, 0.2, 3.0]), np.array([0, 0, 1, 1]))
    assert points["fpr_0.01"] == {
        "name": "fpr_0.01",
        "threshold": pytest.approx(float(probability(0.5))),
        "fpr": 0.0,
        "tpr": 0.5,
    }


def test_separated_classes_are_parted_in_the_middle():
    points = by_name(np.array([-3.0, -1.0, 2.0, 3.0]), np.array([0, 0, 1, 1]))
    assert points["eer"]["threshold"] == pytest.approx(float(probability(0.5)))
    assert (points["eer"]["fpr"], points["eer"]["tpr"]) == (0, 1)


@pytest.mark.parametrize(
    ("logits", "labels"), [([1.0, 2.0], [1, 1]), ([1.0, 2.0], [0, 0]), ([np.nan, 0.0], [0, 1])]
)
def test_no_threshold_where_nothing_can_be_told(logits, labels):
    found = by_name(np.array(logits), np.array(labels))
    assert {point["threshold"] for point in found.values()} == {None}


def test_equal_scores_everywhere():
    points = by_name(np.zeros(6), np.array([0, 1] * 3))
    assert points["eer"]["threshold"] == 0.5
