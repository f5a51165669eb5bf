"""The synthetic faces: what gives the easy fakes away, and does not the hard ones."""

import cv2
import numpy as np
import pytest

from benchmarks._sharpness import two_energy_auc
from preprocessing.datasets import demo, demo_pictures

# Draws some hundred pictures.
pytestmark = pytest.mark.integration

PERSONS = 60


def drawn(difficulty):
    """Crops of PERSONS persons, real and fake in turn, and their labels."""
    portrait = demo_pictures.portrait()
    crops = []
    for number in range(PERSONS):
        rng = np.random.default_rng([7, number])
        still, axes = demo_pictures.make_still(rng, portrait)
        fake = demo.BLENDS[difficulty](rng, still, axes)
        for picture in (still, fake):
            if difficulty == "hard":
                picture = demo_pictures.degrade(rng)(picture)
            side = round(1.3 * axes[1])
            middle = demo_pictures.STILL // 2
            crops.append(picture[middle - side : middle + side, middle - side : middle + side])
    return crops, [0, 1] * PERSONS


@pytest.fixture(scope="module")
def aucs():
    found = {}
    for difficulty in demo.BLENDS:
        crops, labels = drawn(difficulty)
        found[difficulty] = two_energy_auc(
            crops[:PERSONS], labels[:PERSONS], crops[PERSONS:], labels[PERSONS:]
        )
    print(found)
    return found


def test_two_energies_tell_an_easy_fake(aucs):
    assert aucs["easy"] > 0.9


def test_two_energies_do_not_tell_a_hard_fake(aucs):
    assert aucs["hard"] < 0.75


def test_a_hard_fake_is_the_real_picture_outside_the_face_and_none_within():
    portrait = demo_pictures.portrait()
    for number in range(6):
        rng = np.random.default_rng(number)
        still, axes = demo_pictures.make_still(rng, portrait)
        fake = demo_pictures.blend_hard(rng, still, axes)
        y, x = np.mgrid[: demo_pictures.STILL, : demo_pictures.STILL] - demo_pictures.STILL / 2
        radius = np.hypot(x / axes[0], y / axes[1])
        change = np.abs(np.float32(fake) - still).mean(axis=2)
        assert change[radius < 0.7].mean() > 1.0
        # One grey level of rounding.
        assert change[radius > 1.6].max() <= 1.0


def test_degraded_frames_of_a_clip_are_alike_and_clips_are_not():
    frame = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8), (0, 0), 1
    )
    changes = []
    for seed in range(8):
        one = demo_pictures.degrade(np.random.default_rng(seed))
        first, second = one(frame), one(frame)
        assert first.shape == frame.shape
        assert first.dtype == np.uint8
        assert not np.array_equal(first, second), "grain must differ from frame to frame"
        changes.append([np.abs(np.float32(out) - frame).mean() for out in (first, second)])
    within = np.abs(np.subtract(*np.transpose(changes))).mean()
    assert within < 0.3 * np.std(np.mean(changes, axis=1))
