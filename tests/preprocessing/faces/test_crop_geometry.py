"""Where a face lies in its crop, with the real networks."""

import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_media import face_frame, portrait, write_image

from preprocessing.faces.crop import places_in_crop, square_crop
from preprocessing.faces.crop_geometry import (
    TYPICAL_LANDMARKS,
    Geometry,
    crop_box,
    square_of,
    wanted_geometry,
)
from preprocessing.faces.crop_meter import CropMeter
from preprocessing.faces.crop_settings import LANDMARKS, CropSettings
from preprocessing.faces.face_cropper import FaceCropper

TIGHT = CropSettings(frames_per_clip=4, crop_by=LANDMARKS, eye_distance=0.4, eye_height=0.3)
MEDIA = Path(os.environ.get("DEEPFAKE_TEST_MEDIA", ""))


@pytest.fixture(scope="module")
def meter():
    return CropMeter()


@pytest.fixture(scope="module")
def cropper():
    cropper = FaceCropper(TIGHT)
    yield cropper
    cropper.close()


def turned(points, degrees, centre):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (points - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre


def decode(jpeg):
    return cv2.cvtColor(
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
    )


def test_the_typical_face_has_the_geometry_of_a_margin_of_1_3():
    geometry = Geometry.of(200 * TYPICAL_LANDMARKS, (200, 200, 3))
    wanted = wanted_geometry(CropSettings(margin=1.3))
    for measured in (geometry, wanted):
        assert dataclasses.astuple(measured) == pytest.approx((0.26, 0.5, 0.42), abs=1e-6)


def test_half_the_margin_is_twice_the_face():
    wide, tight = (wanted_geometry(CropSettings(margin=margin)) for margin in (1.6, 0.8))
    assert tight.eye_distance == pytest.approx(2 * wide.eye_distance)
    assert 0.5 - tight.eye_height == pytest.approx(2 * (0.5 - wide.eye_height))


@pytest.mark.parametrize("degrees", [-40, 0, 25])
def test_a_turn_of_the_picture_changes_no_scale(degrees):
    points = 300 * TYPICAL_LANDMARKS + (40, 70)
    square = square_of(turned(points, degrees, points.mean(axis=0)), 0.4, 0.3, degrees)
    upright = square_of(points, 0.4, 0.3)
    assert square[2] - square[0] == pytest.approx(upright[2] - upright[0], rel=1e-5)


@pytest.mark.parametrize("degrees", [0, 20, -15])
def test_the_square_has_the_eyes_where_they_are_wanted(degrees):
    points = turned(300 * TYPICAL_LANDMARKS + (40, 70), degrees, np.array([190, 220]))
    settings = TIGHT.replace(align=bool(degrees))
    box, margin = crop_box(settings, np.zeros(4), points)
    places = places_in_crop(points, box, margin, degrees)
    eyes = places[:2].mean(axis=0)
    assert eyes == pytest.approx((0.5, 0.3), abs=0.01)
    assert np.hypot(*(places[1] - places[0])) == pytest.approx(0.4, abs=0.005)


@pytest.mark.parametrize("margin", [0.8, 1.0, 1.3, 1.7])
def test_crops_of_any_width_are_measured(meter, margin):
    picture = portrait()
    (face,) = meter.faces([picture[:360, 60:420]])
    box = face.box + np.tile([60, 0], 2)
    crop = square_crop(picture, box, margin, 384)
    (seen,) = meter.faces([crop])
    expected = Geometry.of(face.landmarks, (margin * face.size,) * 2).eye_distance
    assert Geometry.of(seen.landmarks, crop.shape).eye_distance == pytest.approx(expected, rel=0.06)


def test_no_face_is_measured_where_there_is_none(meter):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (90, 90, 3), dtype=np.uint8)
    assert meter.faces([noise, np.full((40, 60, 3), 99, np.uint8)]) == [None, None]


def test_the_product_cuts_what_the_settings_want(cropper, meter, tmp_path):
    crops, _ = cropper.crops(write_image(tmp_path / "head.png", face_frame([(60, 30, 1.1)])))
    (seen,) = meter.faces([decode(crop.jpeg) for crop in crops])
    geometry = Geometry.of(seen.landmarks, decode(crops[0].jpeg).shape)
    assert geometry.eye_distance == pytest.approx(0.4, rel=0.06)
    assert geometry.eye_height == pytest.approx(0.3, abs=0.03)


@pytest.mark.skipif(
    not (MEDIA / "celeb_df_v2_faces").is_dir() or not str(MEDIA),
    reason="set DEEPFAKE_TEST_MEDIA to the folder of real excerpts",
)
def test_faces_cut_out_of_clips_have_the_geometry_of_published_crops(cropper, meter):
    clips = sorted((MEDIA / "faceforensics_mini").rglob("*.mp4"))[::6]
    cut = [decode(crop.jpeg) for clip in clips for crop in cropper.crops(clip)[0]]
    published = sorted((MEDIA / "celeb_df_v2_faces" / "val").rglob("*.jpg"))[::12]
    given = [decode(path.read_bytes()) for path in published]
    assert min(len(cut), len(given)) > 25

    def median(crops):
        faces = zip(crops, meter.faces(crops), strict=True)
        measured = [
            Geometry.of(face.landmarks, crop.shape).eye_distance for crop, face in faces if face
        ]
        assert len(measured) >= 0.9 * len(crops)
        return np.median(measured)

    assert median(cut) == pytest.approx(median(given), rel=0.05)
