"""The data of the report's charts."""

import numpy as np
import pytest

from components.report.curves import curves


def test_reliability_is_of_equally_many_clips_of_both_classes():
    # Two real and eight fake clips, all with a score of one half: as many of each would be half.
    labels = np.repeat([0, 1], [2, 8])
    (bar,) = curves(labels, np.zeros(10))["reliability"]
    assert bar == {"score": 0.5, "fake": pytest.approx(0.5), "n": 10}
    # In one bin half of the real ones and a quarter of the fakes: one to a half.
    logits = np.array([2.0, -2.0, *[2.0] * 2, *[-2.0] * 6])
    low, high = curves(labels, logits)["reliability"]
    assert (low["n"], high["n"]) == (7, 3)
    assert high["fake"] == pytest.approx(0.25 / (0.25 + 0.5))
    assert low["fake"] == pytest.approx(0.75 / (0.75 + 0.5))


def test_of_one_class_the_share_is_that_of_the_clips():
    (bar,) = curves(np.ones(3, int), np.zeros(3))["reliability"]
    assert bar["fake"] == 1.0
