import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from trainer_workbench import SIZE, face_like

from components.trainer.augmentation import STRENGTHS, Strength, augment
from components.trainer.config import AUGMENTATIONS
from components.trainer.degradation import compress_video
from components.trainer.seed_recipe import SeedRecipe, apply_seed_recipe


@pytest.fixture
def faces():
    rng = np.random.default_rng(0)
    faces = np.stack([face_like(rng, fake=False) for _ in range(16)])
    return (faces / 127.5 - 1).astype(np.float32)


def test_every_configurable_strength_is_there():
    assert tuple(STRENGTHS) == AUGMENTATIONS


@pytest.mark.parametrize("strength", [name for name in STRENGTHS if name != "seed_recipe"])
def test_a_pair_gets_the_same_draw(strength, faces):
    doubled = np.repeat(faces, 2, axis=0)
    for seed in range(3):
        found = augment(tf.constant(doubled), strength, tf.constant([7, seed])).numpy()
        assert found.shape == doubled.shape
        assert np.abs(found).max() <= 1.0
        np.testing.assert_allclose(found[0::2], found[1::2], atol=1e-5)


@pytest.mark.parametrize("strength", ["light", "standard", "strong", "seed_recipe"])
@pytest.mark.parametrize("paired", [True, False])
def test_draws_differ_by_crop_and_by_seed_and_agree_in_tf_data(strength, paired, faces):
    same = np.repeat(faces[:1], 31 + paired, axis=0)
    found = augment(tf.constant(same), strength, tf.constant([1, 2]), paired).numpy()
    shares = paired and strength != "seed_recipe"
    assert len(np.unique(found.mean(axis=(1, 2, 3)).round(6))) > (8 if shares else 16)
    other = augment(tf.constant(same), strength, tf.constant([1, 3]), paired).numpy()
    assert np.abs(found - other).max() > 0.01

    data = tf.data.Dataset.from_tensors(same).map(lambda x: augment(x, strength, [1, 2], paired))
    np.testing.assert_allclose(next(iter(data)), found, atol=1e-4)


def test_none_changes_nothing(faces):
    np.testing.assert_array_equal(augment(tf.constant(faces), "none", [1, 2]), faces)


def test_light_only_mirrors_and_changes_colours(faces):
    """What it leaves alone is the grid: no interpolation may take high frequencies away."""
    found = augment(tf.constant(faces), "light", tf.constant([1, 2])).numpy()
    mirrored = 0
    for before, after in zip(faces, found, strict=True):
        # Colours change by an affine map, so unclipped luminance keeps a correlation of 1.
        scores = [
            np.corrcoef(candidate.mean(axis=-1).ravel(), after.mean(axis=-1).ravel())[0, 1]
            for candidate in (before, before[:, ::-1])
        ]
        assert max(scores) > 0.995
        mirrored += scores[1] > scores[0]
    assert 0 < mirrored < 16


@pytest.mark.parametrize("share", [0.0001, 0.5, 1.0])
def test_crops_are_warped_as_often_as_said_and_the_others_left_alone(share, faces, monkeypatch):
    strength = Strength(warp=share, shift=0.1, scale=0.1, turn=10.0)
    monkeypatch.setitem(STRENGTHS, "light", strength)
    many = np.tile(faces, (8, 1, 1, 1))
    found = augment(tf.constant(many), "light", tf.constant([1, 2]), paired=False).numpy()
    kept = np.abs(found - many).max(axis=(1, 2, 3)) < 1e-5
    assert (1 - kept).mean() == pytest.approx(share, abs=0.12)


def test_a_turn_a_scale_and_a_shift_stay_within_their_bounds(monkeypatch):
    strength = Strength(warp=1.0, shift=0.1, scale=0.2, turn=15.0)
    monkeypatch.setitem(STRENGTHS, "light", strength)
    side, dots = 128, np.array([(-30, 0), (30, 0)])
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    # Two spots, in channels of their own.
    spots = np.stack([np.exp(-((x - a) ** 2 + (y - b) ** 2) / 18) for a, b in dots], axis=-1)
    image = np.concatenate([spots, spots[..., :1]], axis=-1) * 2 - 1
    images = np.repeat(image[None], 64, axis=0).astype(np.float32)
    found = augment(tf.constant(images), "light", tf.constant([1, 2]), paired=False).numpy()
    weights = (found + 1)[..., :2] / (found + 1)[..., :2].sum(axis=(1, 2), keepdims=True)
    places = np.stack([(weights * axis[..., None]).sum(axis=(1, 2)) for axis in (x, y)], axis=-1)
    across = places[:, 1] - places[:, 0]
    turns = np.degrees(np.arctan2(across[:, 1], across[:, 0]))
    sizes = np.linalg.norm(across, axis=1) / 60
    shifts = places.mean(axis=1) / side
    # The least that 64 draws reach, and the most that is allowed (a shift is scaled as well).
    assert 10 < np.abs(turns).max() < 15.1
    assert 1.1 < sizes.max() < 1.21
    assert 1 / 1.21 < sizes.min() < 1 / 1.1
    assert 0.08 < np.abs(shifts).max() < 0.15


@pytest.mark.parametrize("paired", [True, False])
def test_noise_is_normal_and_each_group_has_its_own(paired, monkeypatch):
    monkeypatch.setitem(STRENGTHS, "light", Strength(noise=12.0))
    grey = np.zeros((16, 64, 64, 3), np.float32)
    found = augment(tf.constant(grey), "light", tf.constant([1, 2]), paired).numpy() * 127.5
    if paired:
        np.testing.assert_array_equal(found[0::2], found[1::2])
        found = found[0::2]
    deviations = found.std(axis=(1, 2, 3))
    assert len(np.unique(deviations)) == len(found)
    assert 4 < deviations.max() < 12.1
    standard = found / deviations[:, None, None, None]
    assert np.abs(standard.mean(axis=(1, 2, 3))).max() < 0.05
    # 12,288 normal numbers: a kurtosis of 3, give or take five times its standard error.
    assert np.abs((standard**4).mean(axis=(1, 2, 3)) - 3).max() < 5 * np.sqrt(24 / 12288)
    likeness = np.corrcoef(standard.reshape(len(standard), -1)) - np.eye(len(standard))
    assert np.abs(likeness).max() < 0.1


def test_parts_of_the_face_are_cut_out_where_the_face_is(faces, monkeypatch):
    monkeypatch.setitem(STRENGTHS, "light", Strength(cut_out=1.0))
    # A face of a third of the side, in the upper left quarter.
    points = np.array([(0.2, 0.2), (0.3, 0.2), (0.25, 0.25), (0.21, 0.3), (0.29, 0.3)], np.float32)
    landmarks = np.stack([points] * 16)
    landmarks[8:] = np.nan
    found = augment(tf.constant(faces), "light", [1, 2], False, tf.constant(landmarks)).numpy()
    covered = (np.abs(found) < 1e-6).all(axis=-1)
    np.testing.assert_allclose(found[~covered], faces[~covered], atol=1e-6)
    assert covered.any(axis=(1, 2)).all()
    rows, columns = (np.arange(SIZE) * covered.any(axis=axis) for axis in (2, 1))
    assert max(rows[:8].max(), columns[:8].max()) < 0.45 * SIZE
    # Unknown points: a typical face in the centre, never in a corner.
    middles = [np.argwhere(one).mean(axis=0) / SIZE for one in covered]
    assert (np.abs(np.array(middles[8:]) - 0.5) < 0.27).all()
    # Both eyes, one, the other, nose (and what is above it), mouth; not always the same.
    parts = np.array([(0.2, 0.25), (0.2, 0.2), (0.2, 0.3), (0.235, 0.25), (0.3, 0.25)])
    distance = np.linalg.norm(np.array(middles[:8])[:, None] - parts, axis=-1)
    assert distance.min(axis=1).max() < 1.0 / SIZE
    assert len(set(distance.argmin(axis=1))) > 2


def test_video_compression_takes_more_away_the_coarser_it_is(faces):
    crops = tf.constant(faces[:2, :61, :61])

    def error(qp, move=(3.3, -5.2)):
        coded = compress_video(crops, tf.constant(qp), tf.constant(move))
        assert coded.shape == crops.shape
        return float(tf.sqrt(tf.reduce_mean(tf.square(coded - crops))) * 127.5)

    errors = [error(qp) for qp in (4.0, 23.0, 32.0, 40.0)]
    # At qp 4 the step is one grey level, and what is left is chroma's resolution.
    assert errors[0] < 2.0
    assert all(a < b for a, b in itertools.pairwise(errors))
    assert error(32.0, (3.3, -5.2)) != error(32.0, (0.0, 0.0))
    # Grain goes before shapes do: blocks of 8x8 keep their mean.
    coded = compress_video(crops, tf.constant(32.0), tf.constant((3.3, -5.2)))
    change = tf.nn.avg_pool2d(coded - crops, 16, 16, "VALID")
    assert float(tf.reduce_max(tf.abs(change))) * 127.5 < 8.0


def test_strong_compresses_as_video(faces, monkeypatch):
    assert STRENGTHS["strong"].video > 0.0
    monkeypatch.setitem(STRENGTHS, "light", Strength(video=1.0, video_qp=(40.0, 40.1)))
    found = augment(tf.constant(faces), "light", [1, 2]).numpy()
    # Blocks without a coefficient but the mean: the grain of 12 grey levels is gone.
    assert np.std(np.diff(found, axis=2)) < 0.5 * np.std(np.diff(faces, axis=2))


def test_the_seed_recipe_has_the_seven_operations_of_the_seed():
    recipe = STRENGTHS["seed_recipe"]
    assert dataclasses.asdict(recipe) == {
        "rotation": 45.0,
        "width_shift": 0.3,
        "height_shift": 0.3,
        "shear": 0.3,
        "zoom": 0.3,
        "horizontal_flip": 0.5,
        "vertical_flip": 0.5,
    }
    draws = {key: value.numpy() for key, value in recipe.draw(4000, tf.constant([1, 2])).items()}
    bounds = {"theta": 45.0, "tx": 0.3, "ty": 0.3, "shear": 0.3, "zx": 0.3, "zy": 0.3}
    for name, bound in bounds.items():
        values = draws[name] - (1.0 if name.startswith("z") else 0.0)
        assert 0.99 * bound < values.max() <= bound
        assert -bound <= values.min() < -0.99 * bound
        # Uniform: the spread is the bound over the root of three.
        assert values.std() == pytest.approx(bound / 3**0.5, rel=0.05)
    for flip in ("horizontal", "vertical"):
        assert set(draws[flip]) == {0.0, 1.0}
        assert 0.45 < draws[flip].mean() < 0.55
    # Each operation on its own, zoom of x and of y included.
    between = np.corrcoef(list(draws.values())) - np.eye(len(draws))
    assert np.abs(between).max() < 0.1


def test_the_seed_recipe_moves_pixels_as_image_data_generator_does(faces):
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    draws = SeedRecipe().draw(16, tf.constant([5, 6]))
    found = apply_seed_recipe(tf.constant(faces), draws).numpy()
    for number, face in enumerate(faces):
        one = {name: float(values[number]) for name, values in draws.items()}
        expected = apply_affine_transform(
            face,
            theta=one["theta"],
            tx=one["tx"] * SIZE,
            ty=one["ty"] * SIZE,
            shear=one["shear"],
            zx=one["zx"],
            zy=one["zy"],
            row_axis=0,
            col_axis=1,
            channel_axis=2,
            fill_mode="nearest",
            order=1,
        )
        expected = expected[:: -1 if one["vertical"] else 1, :: -1 if one["horizontal"] else 1]
        # Single against double precision at up to 100 pixels.
        np.testing.assert_allclose(found[number], expected, atol=2e-3)
