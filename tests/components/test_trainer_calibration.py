import numpy as np
import pytest

from components.trainer.calibration import BOUNDS, Calibration, fit_calibration


def _sample(rng, temperature: float, offset: float, number: int = 40_000):
    """Raw logits that a known calibration makes right, and labels drawn accordingly."""
    true = rng.normal(0, 2, number)
    labels = (rng.uniform(size=number) < 1 / (1 + np.exp(-true))).astype(int)
    return temperature * true - offset, labels


@pytest.mark.parametrize(("temperature", "offset"), [(0.5, 0.0), (1.0, 2.0), (3.0, -1.5)])
def test_finds_temperature_and_offset_of_balanced_data(temperature, offset):
    logits, labels = _sample(np.random.default_rng(0), temperature, offset)
    found = fit_calibration(logits, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.offset == pytest.approx(offset, abs=0.1)


def test_calibrated_scores_are_right_as_often_as_they_say():
    logits, labels = _sample(np.random.default_rng(1), 4.0, 3.0)
    half = len(logits) // 2
    scores = 1 / (1 + np.exp(-fit_calibration(logits[:half], labels[:half])(logits[half:])))
    for low in np.arange(0.1, 0.9, 0.1):
        inside = (scores >= low) & (scores < low + 0.1)
        assert labels[half:][inside].mean() == pytest.approx(scores[inside].mean(), abs=0.05)


def test_separated_classes_keep_a_finite_temperature():
    logits, labels = np.array([-1.0] * 20 + [1.0] * 20), np.array([0] * 20 + [1] * 20)
    found = fit_calibration(logits, labels)
    # Platt's target for 20 crops is 21/22, the sigmoid of log(21).
    assert found.temperature == pytest.approx(1 / np.log(21), rel=0.01)
    assert BOUNDS[0] < found.temperature < BOUNDS[1]
    assert found.offset == pytest.approx(0.0, abs=1e-3)


def test_useless_logits_are_pulled_to_one_half():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 4, 400), rng.integers(0, 2, 400)
    found = fit_calibration(logits, labels)
    assert found.temperature > 5
    assert np.abs(found(logits)).max() < 2.5


def test_one_class_alone_calibrates_nothing():
    assert fit_calibration(np.array([-2.0, 1.0]), np.array([0, 0])) == Calibration()
