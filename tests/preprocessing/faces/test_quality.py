import math

import cv2
import numpy as np
import pytest
from made_media import portrait

from preprocessing.faces import quality
from preprocessing.faces.detector import Face
from preprocessing.faces.quality import QualityFilter, sharpness, yaw

KEEP_ALL = QualityFilter(min_size=1, min_score=0, max_yaw=90, min_sharpness=0)


def turned(degrees, roll=0.0, scale=50.0):
    """Five points of a head model seen after a turn to its side, then a lean of the head."""
    model = np.array([(-0.5, 0, 0), (0.5, 0, 0), (0, 0.55, 0.6), (-0.4, 1.0, 0.1), (0.4, 1.0, 0.1)])
    angle, lean = math.radians(degrees), math.radians(roll)
    x = model[:, 0] * math.cos(angle) + model[:, 2] * math.sin(angle)
    points = np.stack([x, model[:, 1]], axis=1) * scale
    turn = np.array([[math.cos(lean), math.sin(lean)], [-math.sin(lean), math.cos(lean)]])
    return (points @ turn + 200).astype(np.float32)


def face(size=100.0, score=0.99, degrees=0.0):
    return Face(np.array([0, 0, size * 0.8, size], np.float32), turned(degrees), score)


@pytest.mark.parametrize("roll", [0, 25, -40])
@pytest.mark.parametrize("degrees", [0, 20, -20, 45, 70])
def test_yaw(degrees, roll):
    assert yaw(turned(degrees, roll)) == pytest.approx(abs(degrees), abs=1)


def test_yaw_of_eyes_at_one_place():
    assert yaw(np.zeros((5, 2))) == 90


def test_sharpness_falls_with_blur_and_is_zero_without_detail():
    crop = portrait()[60:188, 160:288]
    values = [sharpness(cv2.GaussianBlur(crop, (0, 0), s)) for s in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert sharpness(crop) > values[0]
    assert sharpness(np.full((64, 64, 3), 77, np.uint8)) == 0


def test_sharpness_means_the_same_for_near_and_far_faces():
    crop = portrait()[40:196, 140:296]
    twice = cv2.resize(crop, (312, 312), interpolation=cv2.INTER_CUBIC)
    assert sharpness(twice) == pytest.approx(sharpness(crop), rel=0.25)


def test_reasons():
    plain = np.full((64, 64, 3), 77, np.uint8)
    strict = QualityFilter(min_size=50, min_score=0.9, max_yaw=45, min_sharpness=2)
    assert strict.why_not(face(), portrait()) == ""
    assert strict.why_not(face(size=49)) == quality.TOO_SMALL
    assert strict.why_not(face(score=0.89)) == quality.TOO_UNSURE
    assert strict.why_not(face(degrees=60)) == quality.TURNED_AWAY
    assert strict.why_not(face(), plain) == quality.BLURRED
    assert strict.why_not(face()) == ""


def test_what_is_switched_off_drops_nothing():
    assert (
        KEEP_ALL.why_not(face(size=5, score=0.1, degrees=89), np.zeros((8, 8, 3), np.uint8)) == ""
    )
