"""A change of person at one place, told by the faces: made faces, and the limits of the rule."""

import cv2
import numpy as np
import pytest
from made_media import portrait

from preprocessing.faces import persons
from preprocessing.faces.detector import Face
from preprocessing.faces.persons import difference, patch, persons_of, smoothed, split

BOX = np.array([180, 70, 265, 177], np.float32)


def head(kind: int, step: int = 0) -> np.ndarray:
    """The portrait's face as a patch; `kind` is a person, `step` moves and lights it a little."""
    pixels = portrait()[20:220, 120:320].astype(np.float32)
    if kind:
        # Another person: features elsewhere, by a smooth warp of their own.
        rng = np.random.default_rng(kind)
        flow = cv2.resize(rng.normal(0, 9, (6, 6, 2)).astype(np.float32), (200, 200))
        rows, columns = np.mgrid[:200, :200].astype(np.float32)
        pixels = cv2.remap(pixels, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    move = np.float32([[1, 0, 3 * np.sin(step)], [0, 1, 2 * np.cos(2 * step)]])
    pixels = cv2.warpAffine(pixels, move, (200, 200), borderMode=cv2.BORDER_REPLICATE)
    pixels = (pixels * (1 - 0.02 * (step % 5))).clip(0, 255).astype(np.uint8)
    return patch(pixels, Face(BOX - (120, 20, 120, 20), np.zeros((5, 2), np.float32), 0.99))


def row(kinds):
    return [head(kind, step) for step, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([0] * 8, [0] * 8),
        ([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]),
        ([0, 0, 1, 1, 1], [0, 0, 1, 1, 1]),
        ([0, 0, 0, 1, 1], [0, 0, 0, 1, 1]),
        # Who comes back has the former number again.
        ([0, 0, 0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0, 0, 0]),
        ([0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        # Too few to decide: a single face, and four in all.
        ([0, 0, 0, 0, 1], [0] * 5),
        ([1, 0, 0, 0, 0], [0] * 5),
        ([0, 0, 1, 1], [0] * 4),
        ([0, 0, 0, 1, 0, 0, 0], [0] * 7),
        ([], []),
    ],
)
def test_persons_of_a_track(kinds, expected):
    assert persons_of(row(kinds)) == expected


def test_a_forged_version_of_the_same_face_is_another():
    forged = [
        cv2.GaussianBlur(face, (0, 0), 3) + (12, -8, -6) * _inner() for face in row([0] * 10)[5:]
    ]
    faces = [*row([0] * 5), *(face.clip(0, 255).astype(np.uint8) for face in forged)]
    assert persons_of(faces) == [0] * 5 + [1] * 5


def _inner():
    rows, columns = np.mgrid[:64, :64] - 31.5
    return np.exp(-((rows / 14) ** 2 + (columns / 12) ** 2))[..., None]


def test_new_persons_get_new_numbers_beyond_all_tracks():
    faces = row([0, 0, 0, 1, 1, 1])
    tracks, patches = [], []
    for face in faces:
        tracks += [4, 7, 2]
        patches += [face, faces[0], face]
    found = split(tracks, patches)
    assert found[0::3] == [4, 4, 4, 9, 9, 9]
    assert found[1::3] == [7] * 6
    assert found[2::3] == [2, 2, 2, 8, 8, 8]
    assert split([], []) == []


def test_motion_and_light_are_no_difference():
    still, moved = smoothed(head(0)), smoothed(head(0, 3))
    assert np.abs(still - moved).mean() > 4
    assert difference(still, moved) < 3
    assert difference(still, still) == pytest.approx(0, abs=0.1)
    assert difference(still, smoothed(head(1))) > 10


def test_plain_and_unlike_pictures_can_be_compared():
    plain = np.full((64, 64, 3), 90, np.float32)
    assert difference(plain, plain) == 0
    noise = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    assert difference(*noise) > 50


@pytest.mark.parametrize(
    ("across", "within", "found"), [(8.0, 4.0, True), (7.9, 4.0, False), (4.0, 1.0, True),
                                    (3.9, 1.0, False)],
)  # fmt: skip
def test_boundaries_of_a_change(across, within, found):
    sides = range(0, 3), range(3, 6)

    def distance(first, second):
        return within if (first < 3) == (second < 3) else across

    assert persons._differ(*sides, distance) is found
    assert persons._changes(6, distance) == ([3] if found else [])


def test_every_pair_across_must_differ():
    def distance(first, second):
        return 1.0 if (first < 3) == (second < 3) or (first, second) == (0, 5) else 9.0

    assert persons._changes(6, distance) == []


def test_only_the_nearest_three_of_a_side_are_compared():
    def distance(first, second):
        return 9.0 if (first < 4) != (second < 4) or 0 in (first, second) else 1.0

    # Face 0 lies farther back than three faces from the change at 4.
    assert persons._changes(8, distance) == [4]


def test_patches_at_and_beyond_the_border():
    pixels = np.arange(60 * 80, dtype=np.uint8).reshape(60, 80, 1).repeat(3, axis=2)
    points = np.zeros((5, 2), np.float32)
    for box in ([-30, -30, 20, 20], [70, 50, 120, 100], [10, 10, 10, 10], [-900, -900, 900, 900]):
        found = patch(pixels, Face(np.array(box, np.float32), points, 0.9))
        assert found.shape == (64, 64, 3)
        assert np.isfinite(smoothed(found)).all()
    whole = patch(pixels, Face(np.array([10, 5, 42, 37], np.float32), points, 0.9))
    expected = cv2.resize(pixels[5:37, 10:42], (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(whole, expected)
    blurred = cv2.GaussianBlur(expected.astype(np.float32), (0, 0), 1.0)
    np.testing.assert_array_equal(smoothed(whole), blurred)


def test_a_held_patch_takes_a_byte_for_each_value():
    pixels = np.full((300, 300, 3), 90, np.uint8)
    for side in (64, 100, 5000):
        box = np.array([0, 0, side, side], np.float32)
        found = patch(pixels, Face(box, np.zeros((5, 2), np.float32), 0.9))
        # Of its own: a view would hold the frame.
        assert (found.base is None, found.nbytes) == (True, 64 * 64 * 3)
