import numpy as np
import pytest

from components.trainer.calibration import BOUNDS, Calibration, fit_calibration
from serving.model.aggregation import aggregate, probability


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


def _clips_of_many_tracks(rng, number: int):
    """Crops of clips whose logit is their highest track's, and the labels of clips.

    A clip's tracks get logits of their own draw; the label follows from the highest of them, so
    that this clip logit is calibrated as it is.
    """
    tracks = rng.integers(1, 7, number)
    clip_of = np.repeat(np.arange(number), tracks)
    logits = rng.normal(-1.5, 2.0, len(clip_of))
    highest = np.maximum.reduceat(logits, np.cumsum(tracks) - tracks)
    labels = (rng.uniform(size=number) < probability(highest)).astype(int)
    track_of = np.concatenate([np.arange(count) for count in tracks])
    return logits, clip_of, track_of, labels


def test_one_map_may_be_applied_to_crops_or_to_clips():
    """It commutes with the mean over a track and the maximum over tracks: slopes are positive."""
    rng = np.random.default_rng(0)
    logits, clips, tracks = rng.normal(0, 3, 500), rng.integers(0, 40, 500), rng.integers(0, 4, 500)
    for temperature in (BOUNDS[0], 0.7, 1.0, BOUNDS[1]):
        for offset in (-2.5, 0.0, 4.0):
            calibration = Calibration(temperature, offset)
            before = aggregate(calibration(logits), clips, tracks)
            after = calibration(aggregate(logits, clips, tracks).logits)
            np.testing.assert_allclose(before.logits, after, rtol=1e-12, atol=1e-12)


def test_scores_of_clips_of_many_tracks_are_right_when_fitted_on_clips():
    logits, clips, tracks, labels = _clips_of_many_tracks(np.random.default_rng(2), 20_000)
    joined = aggregate(logits, clips, tracks)
    prior = labels.mean()
    # Scores mean probabilities at equal priors; the share of fakes here shifts the logit.
    shift = np.log(prior / (1 - prior))
    scores = probability(fit_calibration(joined.logits, labels)(joined.logits) + shift)
    assert scores.mean() == pytest.approx(prior, abs=0.01)
    for low in (0.2, 0.4, 0.6, 0.8):
        inside = (scores >= low) & (scores < low + 0.1)
        assert labels[inside].mean() == pytest.approx(scores[inside].mean(), abs=0.05)
    # Fitted on crops, with the label of their clip, it is wrong for clips.
    of_crops = fit_calibration(logits, labels[clips])
    wrong = probability(of_crops(joined.logits) + shift)
    assert abs(wrong.mean() - prior) > 0.05


def test_scores_are_probabilities_at_equal_priors():
    """Nine fakes to a real one: a logit of 0 still means as likely as not in an equal mixture."""
    rng = np.random.default_rng(3)
    labels = (rng.uniform(size=40_000) < 0.9).astype(int)
    logits = rng.normal(2.0 * labels - 1.0, 1.0)
    found = fit_calibration(logits, labels)
    # For two normal distributions of unit width, 2 apart, the log of their ratio is 2 x.
    assert 1 / found.temperature == pytest.approx(2.0, rel=0.05)
    assert found(0.0) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("clips", [1, 2, 3, 5])
def test_few_clips_give_no_confident_scores(clips):
    """Platt's targets for n separated clips of a class are (n + 1) / (n + 2) and 1 / (n + 2)."""
    logits, labels = np.repeat([-3.0, 3.0], clips), np.repeat([0, 1], clips)
    scores = probability(fit_calibration(logits, labels)(logits))
    np.testing.assert_allclose(scores[clips:], (clips + 1) / (clips + 2), atol=1e-4)
    np.testing.assert_allclose(scores[:clips], 1 / (clips + 2), atol=1e-4)


def test_temperatures_stay_within_their_bounds():
    assert BOUNDS == (0.05, 20.0)
    # Fakes below reals: the best slope is negative, the least allowed one is taken.
    reversed_ = fit_calibration(np.array([2.0, 1.0, -1.0, -2.0] * 50), np.array([0, 0, 1, 1] * 50))
    assert reversed_.temperature == pytest.approx(20.0)
    # Logits of a hair's breadth, separated: the steepest allowed slope.
    steep = fit_calibration(np.array([-0.01, 0.01] * 500), np.array([0, 1] * 500))
    assert steep.temperature == pytest.approx(0.05)
    assert steep(np.array([0.01])) == pytest.approx(0.2, abs=1e-3)


def test_calibration_is_offset_first_then_temperature():
    assert Calibration(4.0, 1.0)(np.array([3.0, -5.0])).tolist() == [1.0, -1.0]
    assert Calibration()(np.array([3.0])).tolist() == [3.0]
