import numpy as np
import pytest

from components.trainer.calibration import BOUNDS, fit_temperature


def _sample(rng, temperature: float, share: float, number: int = 40_000):
    """Logits that are `temperature` times too large for labels drawn from them."""
    true = rng.normal(0, 2, number)
    labels = (rng.uniform(size=number) < 1 / (1 + np.exp(-true))).astype(int)
    keep = (labels == 0) | (rng.uniform(size=number) < share)
    return temperature * true[keep], labels[keep]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_finds_the_temperature_of_balanced_data(temperature):
    logits, labels = _sample(np.random.default_rng(0), temperature, share=1.0)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_separated_classes_keep_a_finite_temperature():
    logits, labels = np.array([-1.0] * 20 + [1.0] * 20), np.array([0] * 20 + [1] * 20)
    temperature = fit_temperature(logits, labels)
    # Platt's target for 20 crops is 21/22, the sigmoid of log(21).
    assert temperature == pytest.approx(1 / np.log(21), rel=0.01)
    assert BOUNDS[0] < temperature < BOUNDS[1]


def test_useless_logits_are_pulled_to_one_half():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 4, 400), rng.integers(0, 2, 400)
    assert fit_temperature(logits, labels) > 5


def test_classes_weigh_the_same():
    logits, labels = np.array([-2.0] * 3 + [1.0] + [2.0] * 3 + [-1.0]), np.array([0] * 4 + [1] * 4)
    many = np.tile(logits[4:], 50), np.tile(labels[4:], 50)
    plain = fit_temperature(logits, labels)
    uneven = fit_temperature(np.append(logits[:4], many[0]), np.append(labels[:4], many[1]))
    # Only Platt's targets differ, by the number of crops.
    assert uneven == pytest.approx(plain, rel=0.5)
    assert fit_temperature(logits[:4], labels[:4]) == 1.0
