import cv2
import numpy as np
import pytest
from trainer_workbench import encode, write_split

from components.trainer.crop_store import CropStore, missing_classes
from components.trainer.pseudo_fakes import (
    encoded_pair,
    face_ellipse,
    self_blend,
    self_blended_split,
)
from preprocessing.faces.crop_geometry import TYPICAL_LANDMARKS
from serving.model import card
from serving.model.verdict import DecisionRule

SIDE = 160
UNKNOWN = np.full((5, 2), np.nan, np.float32)


@pytest.fixture(scope="module")
def picture():
    """Smooth colours under grain, at which any change of a pixel shows."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.uniform(60, 190, (5, 5, 3)).astype(np.float32), (SIDE, SIDE))
    return np.clip(coarse + rng.normal(0, 10, coarse.shape), 0, 255).astype(np.uint8)


def _decode(encoded: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).astype(int)


@pytest.mark.parametrize("landmarks", [TYPICAL_LANDMARKS, UNKNOWN], ids=["points", "no points"])
def test_a_pseudo_fake_differs_inside_the_mask_and_nowhere_else(picture, landmarks):
    changed_reals = 0
    for seed in range(20):
        blend = self_blend(picture, landmarks, np.random.default_rng(seed))
        outside = blend.mask == 0.0
        assert blend.real.shape == blend.fake.shape == picture.shape
        assert 0.3 < outside.mean() < 0.95
        np.testing.assert_array_equal(blend.real[outside], blend.fake[outside])
        difference = np.abs(blend.real.astype(int) - blend.fake)[blend.mask > 0.2]
        assert (difference.max(axis=-1) > 0).mean() > 0.5
        changed_reals += (blend.real != picture).any()
    # As the paper has it, half of the pairs change the picture around the face.
    assert 4 <= changed_reals <= 16


def test_the_mask_is_soft_covers_the_face_and_leaves_the_border(picture):
    levels, sizes = set(), []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        mask = self_blend(picture, TYPICAL_LANDMARKS, rng).mask
        places = (TYPICAL_LANDMARKS * SIDE).astype(int)
        top = mask.max()
        levels.add(round(float(top), 2))
        assert (mask[places[:, 1], places[:, 0]] > 0.5 * top).all()
        assert mask[0].max() == 0
        assert mask[:, [0, -1]].max() == 0
        # No step of more than a third from pixel to pixel: nothing to be seen as an edge.
        assert np.abs(np.diff(mask, axis=1)).max() < 0.34 * top
        sizes.append((mask > 0.5 * top).mean())
    assert levels == {0.25, 0.5, 0.75, 1.0}
    assert max(sizes) > 1.2 * min(sizes)


def test_the_mask_follows_the_points(picture):
    points = TYPICAL_LANDMARKS * 0.6 + (0.3, 0.0)
    middles = []
    for seed in range(10):
        mask = self_blend(picture, points, np.random.default_rng(seed)).mask
        rows, columns = np.nonzero(mask > 0.5 * mask.max())
        middles.append((columns.mean() / SIDE, rows.mean() / SIDE))
    assert np.mean(middles, axis=0) == pytest.approx(face_ellipse(points)[0], abs=0.04)


@pytest.mark.parametrize("degrees", [0, 30, -50])
def test_the_ellipse_turns_with_the_face(degrees):
    turn = np.radians(degrees)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    upright = face_ellipse(TYPICAL_LANDMARKS)
    centre, axes, lean = face_ellipse(TYPICAL_LANDMARKS @ matrix.T)
    assert lean == pytest.approx(degrees, abs=1e-3)
    np.testing.assert_allclose(axes, upright[1], rtol=1e-5)
    np.testing.assert_allclose(centre, matrix @ upright[0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(20, 20), (64, 64), (90, 70), (384, 384)])
def test_pictures_of_any_size_and_nonsense_points_are_blended(shape):
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    for points in (UNKNOWN, TYPICAL_LANDMARKS * 0 + 0.5, TYPICAL_LANDMARKS * 9):
        blend = self_blend(pixels, points, np.random.default_rng(1))
        assert blend.fake.shape == pixels.shape
        assert blend.mask.max() > 0.2
        assert (blend.real != blend.fake).any()


def test_equal_seeds_make_equal_fakes_and_others_others(picture):
    def fake(seed):
        return self_blend(picture, TYPICAL_LANDMARKS, np.random.default_rng(seed)).fake

    np.testing.assert_array_equal(fake(1), fake(1))
    assert (fake(1) != fake(2)).any()


def test_both_of_a_pair_are_compressed_alike(picture):
    encoded = encode(picture)
    real, fake = encoded_pair(encoded, TYPICAL_LANDMARKS, np.random.default_rng(3), 95, False)
    # Tables of quantisation come before the pixels.
    start = encoded.index(b"\xff\xda")
    assert real[:start] == fake[:start] == encoded[:start]
    assert real != fake
    # Blocks that the mask does not reach are equal to the bit after decoding as well.
    assert (_decode(real)[:16] == _decode(fake)[:16]).all()
    # Compressing with the same tables once more changes far less than the first time.
    first = np.abs(_decode(encoded) - picture[..., ::-1]).mean()
    assert np.abs(_decode(real) - _decode(encoded)).mean() < 0.3 * first


def test_a_split_without_fakes_gets_one_for_each_real_crop(tmp_path):
    folder = write_split(tmp_path, "val", clips=3, seed=0, labels=(0,))
    with CropStore([f"{folder}/*"], "val") as reals:
        with self_blended_split(reals, seed=5) as split, self_blended_split(reals, 5) as again:
            table = split.table
            assert missing_classes(table) == []
            numbers = np.arange(len(table))
            assert len(table) == 12
            assert table.labels.sum() == 6
            assert split.read(numbers) == again.read(numbers)
            # A fake's clip, its original's and the frames are known, as for any data.
            clips = table.clip_names[table.clips]
            originals = table.clip_names[table.pairs]
            assert set(clips[table.labels == 0]) == set(reals.table.clip_names)
            assert all(
                clip == original + b"#self_blended" * label
                for clip, original, label in zip(clips, originals, table.labels, strict=True)
            )
            own = split.read(np.flatnonzero(table.labels == 0))
            for found, given in zip(own, reals.read(np.arange(6)), strict=True):
                assert np.abs(_decode(found) - _decode(given)).mean() < 1.0
        with self_blended_split(reals, seed=6) as other:
            assert split.table.labels.tolist() == other.table.labels.tolist()
            fakes = other.read(np.flatnonzero(other.table.labels == 1))
            assert set(fakes).isdisjoint(fakes_of(reals, 5))


def fakes_of(reals, seed):
    with self_blended_split(reals, seed) as split:
        return split.read(np.flatnonzero(split.table.labels == 1))


@pytest.mark.integration
def test_the_card_says_that_val_was_given_blended_fakes(workbench, trained, tmp_path):
    training = {"pseudo_fakes": "self_blended", "epochs": 1, "steps_per_epoch": 2}
    folder = workbench.train(tmp_path, training=training)
    blended, ordinary = card.read(folder), card.read(trained)
    assert blended.calibration["fake"] == blended.calibration["real"] > 0
    fakes = "fakes blended from val's real clips"
    few = "fakes blended from them in"
    # A rate that so few clips can show.
    texts = [DecisionRule.of(of_card, miss_rate=0.3).meaning() for of_card in (blended, ordinary)]
    assert f"where at most 30.0% of {fakes} are" in texts[0]
    assert few in texts[0]
    assert "where at most 30.0% of fakes are" in texts[1]
    assert few not in texts[1]
