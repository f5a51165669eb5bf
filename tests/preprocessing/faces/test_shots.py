"""Shots by the look of frames: boundaries on made looks, cuts and dissolves on made pictures."""

import cv2
import numpy as np
import pytest
from made_media import portrait

from preprocessing.faces import shots
from preprocessing.faces.shots import Look, ShotDetector


def scene(number: int, shift: float = 0.0, light: float = 1.0) -> np.ndarray:
    """A room: three walls and things of colours of its own; `shift` turns the camera."""
    rng = np.random.default_rng(number)
    frame = np.full((180, 320, 3), rng.integers(40, 200, 3), np.float32)
    for _ in range(9):
        x, y = rng.integers(-40, 300), rng.integers(-20, 160)
        width, height = rng.integers(30, 120, 2)
        colour = rng.integers(0, 255, 3).tolist()
        cv2.rectangle(
            frame, (int(x + shift), int(y)), (int(x + shift + width), int(y + height)), colour, -1
        )
    return (cv2.GaussianBlur(frame, (0, 0), 2) * light).clip(0, 255).astype(np.uint8)


def numbers(frames):
    detector = ShotDetector()
    return [detector.shot_of(Look.of(frame)) for frame in frames]


def test_one_shot_with_a_moving_camera_and_changing_light():
    frames = [scene(1, shift=4 * n, light=1 - 0.015 * n) for n in range(12)]
    assert numbers(frames) == [0] * 12


def test_a_hard_cut():
    assert numbers([scene(1)] * 4 + [scene(2)] * 3) == [0] * 4 + [1] * 3


def test_a_dissolve_has_one_cut():
    share = [0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1]
    mixed = [cv2.addWeighted(scene(1), 1 - part, scene(2), part, 0) for part in share]
    found = numbers(mixed)
    assert found[:3] == [0] * 3
    assert found[-3:] == [1] * 3
    assert found == sorted(found)
    # A cut soon after a dissolve is a cut all the same.
    assert numbers([*mixed[:6], scene(3), scene(3)])[-2:] == [2, 2]


def test_cameras_in_turn_are_two_shots():
    turns = [scene(1, 0), scene(2, 0), scene(1, 4), scene(2, 4), scene(1, 6), scene(3)]
    assert numbers(turns) == [0, 1, 0, 1, 0, 2]
    # Known again by any frame of it, not only by its last.
    turned = [scene(1, shift) for shift in range(0, 48, 8)]
    assert not Look.of(turned[0]).matches(Look.of(turned[-1]))
    assert numbers([*turned, scene(2), turned[0]]) == [0] * 6 + [1, 0]


def test_fade_through_black():
    black = np.zeros((180, 320, 3), np.uint8)
    assert numbers([scene(1)] * 2 + [black] * 2 + [scene(2)] * 2) == [0, 0, 1, 1, 2, 2]


def test_size_and_noise_are_no_cut():
    large = cv2.resize(scene(1), (640, 360), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(scene(1) + np.random.default_rng(0).normal(0, 12, (180, 320, 3)), 0, 255)
    assert numbers([scene(1), large, noisy.astype(np.uint8)]) == [0, 0, 0]


def test_colours_and_layout_of_a_picture():
    look = Look.of(portrait())
    assert look.colours.shape == (1440,)
    assert look.layout.shape == (1024,)
    assert look.colours.sum() == pytest.approx(1)
    assert np.linalg.norm(look.layout) == pytest.approx(1)
    assert look.similarities(look) == pytest.approx((1, 1))
    # Light changes the layout not at all, colours partly; mirroring is the other way round.
    darker, mirrored = Look.of((portrait() * 0.8).astype(np.uint8)), Look.of(portrait()[:, ::-1])
    assert look.similarities(darker)[1] > 0.99 > 0.9 > look.similarities(darker)[0]
    assert look.similarities(mirrored)[0] > 0.99 > 0.8 > look.similarities(mirrored)[1]


def test_plain_pictures_have_no_layout():
    plain = np.full((90, 160, 3), 90, np.uint8)
    plain[0, 0] = 95
    assert not Look.of(plain).layout.any()
    assert not Look.of(plain).matches(Look.of(plain))
    assert not Look.of(plain).differs(Look.of(plain))


def look(colours: float, layout: float) -> Look:
    """A look with these similarities to `look(1, 1)`."""
    return Look(
        np.array([colours, 1 - colours], np.float32),
        np.array([layout, np.sqrt(1 - layout**2)], np.float32),
    )


@pytest.mark.parametrize(
    ("colours", "layout", "differs", "matches"),
    [
        (0.69, 0.69, True, False),
        (0.71, 0.5, False, False),
        (0.5, 0.71, False, False),
        (0.91, 0.91, False, True),
        (0.89, 0.95, False, False),
        (0.95, 0.89, False, False),
    ],
)
def test_both_similarities_decide(colours, layout, differs, matches):
    found = look(colours, layout)
    assert found.similarities(look(1, 1)) == pytest.approx((colours, layout), abs=1e-6)
    assert (found.differs(look(1, 1)), found.matches(look(1, 1))) == (differs, matches)


def test_frames_further_back_than_the_reach_are_not_compared():
    # A slow turn of the camera: neighbours are alike, first and last are not.
    slow = [cv2.addWeighted(scene(1), 1 - n / 16, scene(2), n / 16, 0) for n in range(17)]
    assert Look.of(slow[0]).differs(Look.of(slow[-1]))
    assert shots.REACH == 3
    assert numbers(slow) == [0] * 17
