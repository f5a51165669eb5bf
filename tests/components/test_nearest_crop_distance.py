"""Image facts against numpy, and distances to training crops, by hand and within a graph."""

import numpy as np
import tensorflow as tf

from components.trainer.image_facts import FACTS, image_facts
from components.trainer.nearest_crop_distance import NearestCropDistance

SIZE = 64


def facts_of(levels):
    """Name -> fact of a picture, uint8 [SIZE, SIZE, 3]."""
    pixels = tf.constant(levels[None] / 127.5 - 1.0, tf.float32)
    (row,) = image_facts(pixels).numpy()
    return dict(zip(FACTS, row, strict=True))


def test_facts_of_a_plain_picture():
    plain = np.zeros((SIZE, SIZE, 3))
    plain[...] = 200.0, 100.0, 50.0
    found = facts_of(plain)
    expected = {"brightness": 124.2, "saturation": 150, "redness": 100, "blueness": -50}
    for name, value in expected.items():
        assert abs(found[name] - value) < 1e-3, name
    for name in FACTS[5:10]:
        assert found[name] < 1e-3, name
    assert found["contrast"] < 1e-3


def test_detail_is_lost_to_blur_from_the_finest_level_on():
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.normal(128, 20, (SIZE, SIZE, 1)), 3, axis=2)
    blurred = noise.copy()
    for axis in (0, 1):
        blurred = (blurred + np.roll(blurred, 1, axis) + np.roll(blurred, -1, axis)) / 3
    sharp, soft = facts_of(noise), facts_of(blurred)
    shares = [soft[name] / sharp[name] for name in FACTS[5:8]]
    assert shares[0] < 0.25
    assert shares[0] < shares[1] < shares[2]
    # Of a normal distribution, the mean of absolute values is the square root of 2 over pi.
    assert abs(sharp["evenness of detail"] - np.sqrt(2 / np.pi)) < 0.02
    # Grey has no colour.
    assert sharp["detail of colour"] < 1e-3
    assert abs(sharp["contrast"] - noise.std()) < 0.01


def made(crops=200):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(crops, 6)) * [5, 3, 2, 1, 0.5, 0.1]
    facts = rng.uniform(1, 9, (crops, len(FACTS)))
    return (
        NearestCropDistance(features, facts),
        features.astype(np.float32),
        facts.astype(np.float32),
    )


def test_training_crops_have_no_distance_and_others_that_of_the_nearest():
    familiarity, features, facts = made()
    assert familiarity.distances(features, facts).numpy().max() < 1e-5
    points = familiarity.points.numpy()
    # Features and facts weigh the same.
    assert np.isclose((points[:, :6] ** 2).sum(axis=1).mean(), 1, atol=1e-3)
    assert np.isclose((points[:, 6:] ** 2).sum(axis=1).mean(), 1, atol=1e-3)
    places = familiarity.coordinates(features[:9] + 1.0, facts[:9]).numpy()
    nearest = np.linalg.norm(places[:, None] - points, axis=2).min(axis=1)
    found = familiarity.distances(features[:9] + 1.0, facts[:9])
    np.testing.assert_allclose(found, nearest, rtol=1e-5)


def test_strange_features_and_strange_looks_are_both_far():
    familiarity, features, facts = made()
    usual = familiarity.distances(features[::2] + 0.1, facts[::2]).numpy()
    for strange in ((features[:9] + 30.0, facts[:9]), (features[:9], facts[:9] * 20.0)):
        assert familiarity.distances(*strange).numpy().min() > 3 * usual.max()


def test_what_never_varied_divides_nothing_by_zero():
    familiarity = NearestCropDistance(np.ones((3, 4)), np.ones((3, len(FACTS))))
    same = familiarity.distances(tf.ones((1, 4)), tf.ones((1, len(FACTS)))).numpy()
    assert same == 0
    assert np.isfinite(familiarity.distances(tf.zeros((1, 4)), tf.ones((1, len(FACTS))))).all()
