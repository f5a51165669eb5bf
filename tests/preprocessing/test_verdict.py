import numpy as np
import pytest

from preprocessing.aggregation import probability
from preprocessing.errors import UsageError
from preprocessing.operating_points import operating_points
from preprocessing.verdict import thresholds_of


def band(logits, labels, **arguments):
    metadata = {"operating_points": operating_points(np.array(logits), np.array(labels))}
    return thresholds_of(metadata, **arguments)


def test_rare_false_alarms_lie_above_equal_errors_in_a_model_that_errs():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 1000)
    logits = rng.normal(size=2000) + labels
    found = band(logits, labels)
    scores = probability(logits)
    real = scores[labels == 0]
    assert np.mean(real > found.fake_above) <= 0.01
    assert found.real_up_to < found.fake_above
    words = [found.verdict(score) for score in (0.0, found.real_up_to, found.fake_above, 1.0)]
    assert words == ["real", "real", "uncertain", "fake"]
    # With more false alarms allowed, more is fake.
    assert band(logits, labels, false_alarms=0.1).fake_above < found.fake_above


def test_what_lies_between_separated_classes_is_uncertain_up_to_the_middle():
    found = band([-3.0, -1.0, 2.0, 3.0], [0, 0, 1, 1])
    assert found.real_up_to == pytest.approx(float(probability(-1.0)))
    assert found.fake_above == pytest.approx(float(probability(0.5)))
    assert found.verdict(float(probability(0.0))) == "uncertain"
    assert "val's 2 real clips are too few to show 1.0%" in found.text()


def test_enough_real_clips_need_no_excuse():
    found = band([*np.linspace(-3, 0, 100), *np.linspace(1, 3, 100)], np.repeat([0, 1], 100))
    assert "too few" not in found.text()
    assert found.text().startswith("fake: above 0.622; real: up to 0.49")


@pytest.mark.parametrize(
    "metadata",
    [{}, {"operating_points": operating_points(np.array([1.0]), np.array([1]))}],
    ids=["an older model", "one class in val"],
)
def test_models_without_points_have_no_band(metadata):
    assert thresholds_of(metadata) is None


def test_a_share_that_the_model_has_not_is_refused():
    with pytest.raises(UsageError, match="share of 0.02 .* for 0.1, 0.05, 0.01, 0.001"):
        band([-1.0, 1.0], [0, 1], false_alarms=0.02)
