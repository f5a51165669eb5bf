"""Calibrations that have a closed form, or nothing to be fitted to."""

import numpy as np
import pytest

from components.trainer.calibration import Calibration, fit_calibration


def exact_fit(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """The best fit where there are two different logits only.

    Two parameters meet two values exactly: the score at each logit is the mean target of the crops
    there, each crop weighted by one over the number of its class.
    """
    numbers = {label: int((labels == label).sum()) for label in (0, 1)}
    targets = {1: (numbers[1] + 1) / (numbers[1] + 2), 0: 1 / (numbers[0] + 2)}
    values = []
    low, high = sorted(set(logits.tolist()))
    for logit in (low, high):
        members = labels[logits == logit]
        weights = np.array([1 / numbers[label] for label in members])
        share = np.average([targets[label] for label in members], weights=weights)
        values.append(np.log(share / (1 - share)))
    slope = (values[1] - values[0]) / (high - low)
    return Calibration(1 / slope, (values[0] - slope * low) / slope)


@pytest.mark.parametrize("copies", [1, 2, 50])
def test_classes_weigh_the_same_whatever_their_numbers(copies):
    # Of four real crops three are low, of four fakes (and their copies) one is.
    logits = np.array([-2.0] * 3 + [1.0] + ([1.0] * 3 + [-2.0]) * copies)
    labels = np.array([0] * 4 + [1] * 4 * copies)
    found, expected = fit_calibration(logits, labels), exact_fit(logits, labels)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert found.offset == pytest.approx(expected.offset, abs=1e-3)


@pytest.mark.parametrize("logits", [[-50.0, 50.0, -50.0, 50.0], [5.0, 3.0, -3.0, -5.0]])
def test_logits_that_tell_nothing_get_the_highest_temperature(logits):
    # The best slope is 0, or negative where the higher a logit the more real the crop.
    found = fit_calibration(np.array(logits), np.array([0, 0, 1, 1]))
    assert found.temperature == pytest.approx(20.0)


def test_small_separated_logits_get_the_lowest_temperature():
    found = fit_calibration(np.array([-0.01, -0.01, 0.01, 0.01]), np.array([0, 0, 1, 1]))
    assert found.temperature == pytest.approx(0.05)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_calibrates_nothing(label):
    assert fit_calibration(np.array([-2.0, 1.0]), np.full(2, label)) == Calibration(1.0, 0.0)


def test_one_crop_of_each_class_is_enough():
    found = fit_calibration(np.array([-1.0, 1.0]), np.array([0, 1]))
    # Platt's target for a single crop is 2/3, the sigmoid of log(2).
    assert found.temperature == pytest.approx(1 / np.log(2), rel=1e-3)
