"""Thresholds in cards of earlier versions."""

import pytest

from serving.model.aggregation import probability
from serving.model.operating_points import OperatingPoint


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
