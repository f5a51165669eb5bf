"""Pictures that are face crops already, with the real networks."""

import io

import cv2
import numpy as np
import pytest
from made_media import portrait, write_image
from PIL import Image

from preprocessing.faces.crop import places_in_crop, square_crop
from preprocessing.faces.crop_geometry import Geometry, square_of
from preprocessing.faces.crop_meter import CropMeter
from preprocessing.faces.crop_settings import ANSWER, LANDMARKS, CropSettings
from preprocessing.faces.face_cropper import FaceCropper
from preprocessing.faces.given_crops import TOO_TIGHT

TIGHT = CropSettings(crop_by=LANDMARKS, eye_distance=0.4, eye_height=0.3, policy=ANSWER)


@pytest.fixture(scope="module")
def points():
    """Of the portrait's face."""
    (face,) = CropMeter().faces([portrait()[:360, 60:420]])
    return face.landmarks + np.array([60, 0])


@pytest.fixture(scope="module")
def given():
    cropper = FaceCropper(TIGHT.replace(precropped=True))
    yield cropper
    cropper.close()


@pytest.fixture(scope="module")
def searching():
    cropper = FaceCropper(TIGHT)
    yield cropper
    cropper.close()


def crop_of(points, eye_distance, eye_height=0.3):
    return square_crop(portrait(), square_of(points, eye_distance, eye_height), 1.0, 384)


def write_jpeg(path, pixels, **options):
    Image.fromarray(pixels).save(path, quality=90, **options)
    return path


def decoded(crop):
    pixels = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def geometry_of(jpeg):
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    pixels = np.ascontiguousarray(pixels)
    (face,) = CropMeter().faces([pixels])
    return Geometry.of(face.landmarks, pixels.shape)


@pytest.mark.parametrize("eye_distance", [0.34, 0.4, 0.46])
def test_a_jpeg_of_about_the_geometry_stays_to_the_byte(given, points, tmp_path, eye_distance):
    path = write_jpeg(tmp_path / "crop.jpg", crop_of(points, eye_distance))
    ((crop,), counts) = given.crops(path)
    assert crop.jpeg == path.read_bytes()
    assert (counts.notes, counts.crops) == ([], 1)
    assert crop.landmarks.any()


def test_a_grey_jpeg_stays_and_a_turned_one_is_set_upright(given, points, tmp_path):
    pixels = crop_of(points, 0.4)
    grey = write_jpeg(tmp_path / "grey.jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    assert given.crops(grey)[0][0].jpeg == grey.read_bytes()
    exif = Image.Exif()
    exif[0x0112] = 3  # Stored upside down.
    turned = write_jpeg(tmp_path / "turned.jpg", np.rot90(pixels, 2), exif=exif)
    ((crop,), _) = given.crops(turned)
    assert crop.jpeg != turned.read_bytes()
    assert geometry_of(crop.jpeg).eye_height == pytest.approx(0.3, abs=0.05)


def test_other_formats_and_large_crops_are_encoded(given, points, tmp_path):
    pixels = crop_of(points, 0.4)
    png = write_image(tmp_path / "crop.png", pixels)
    assert given.crops(png)[0][0].jpeg[:2] == b"\xff\xd8"
    large = write_jpeg(tmp_path / "large.jpg", cv2.resize(pixels, (700, 700)))
    ((crop,), _) = given.crops(large)
    assert Image.open(io.BytesIO(crop.jpeg)).size == (384, 384)


@pytest.mark.parametrize(("eye_distance", "eye_height"), [(0.26, 0.42), (0.18, 0.48)])
def test_a_wider_crop_is_cut_again(given, points, tmp_path, eye_distance, eye_height):
    path = write_jpeg(tmp_path / "wide.jpg", crop_of(points, eye_distance, eye_height))
    ((crop,), counts) = given.crops(path)
    assert counts.notes == ["1 of 1 crops were cut again to the model's geometry"]
    geometry = geometry_of(crop.jpeg)
    assert geometry.eye_distance == pytest.approx(0.4, rel=0.07)
    assert geometry.eye_height == pytest.approx(0.3, abs=0.04)


def test_a_tighter_crop_is_left_out_and_counted(given, points, tmp_path):
    path = write_jpeg(tmp_path / "tight.jpg", crop_of(points, 0.6, 0.35))
    crops, counts = given.crops(path)
    assert (crops, counts.dropped, counts.faces) == ([], {TOO_TIGHT: 1}, 1)
    assert TOO_TIGHT in counts.why_none()


@pytest.mark.parametrize("part", [np.s_[:, 12:-12], np.s_[12:-12]], ids=["narrow", "low"])
@pytest.mark.parametrize("settings", [TIGHT, CropSettings()], ids=["measured", "unmeasured"])
def test_a_crop_that_is_not_square_keeps_the_shape_of_its_face(points, tmp_path, settings, part):
    pixels = np.ascontiguousarray(crop_of(points, 0.34, 0.35)[part])
    path = write_jpeg(tmp_path / "box.jpg", pixels)
    cropper = FaceCropper(settings.replace(precropped=True))
    ((crop,), counts) = cropper.crops(path)
    cropper.close()
    height, width = decoded(crop).shape[:2]
    assert height == width
    ((in_picture,), (in_crop,)) = (CropMeter().faces([each]) for each in (pixels, decoded(crop)))
    places = places_in_crop(in_picture.landmarks, crop.box, 1.0)
    np.testing.assert_allclose((in_crop.landmarks + 0.5) / width, places, atol=0.03)
    recut = ["1 of 1 crops were cut again to the model's geometry"]
    assert counts.notes == (recut if settings is TIGHT else [])


def test_a_crop_without_a_face_is_taken_as_it_is_and_noted(given, tmp_path):
    path = write_jpeg(tmp_path / "flat.jpg", np.full((96, 96, 3), 90, np.uint8))
    ((crop,), counts) = given.crops(path)
    assert crop.jpeg == path.read_bytes()
    assert not crop.landmarks.any()
    assert counts.notes == ["no face was found in 1 of 1 crops, which were taken as they are"]


def test_without_a_geometry_crops_are_taken_as_they_come(points, tmp_path):
    cropper = FaceCropper(CropSettings(precropped=True))
    path = write_jpeg(tmp_path / "tight.jpg", crop_of(points, 0.6, 0.35))
    ((crop,), counts) = cropper.crops(path)
    cropper.close()
    assert (crop.jpeg, counts.notes) == (path.read_bytes(), [])


@pytest.mark.parametrize("around", ["nothing", "a black border", "a scene"])
def test_a_picture_gives_the_same_crop_whatever_is_around(searching, points, tmp_path, around):
    if around == "a scene":
        pixels = portrait()[:400]
    else:
        pixels = crop_of(points, 0.4)
        if around == "a black border":
            side = len(pixels) // 2
            pixels = cv2.copyMakeBorder(pixels, *(side,) * 4, cv2.BORDER_CONSTANT)
    ((crop,), _) = searching.crops(write_image(tmp_path / "picture.png", pixels))
    geometry = geometry_of(crop.jpeg)
    assert geometry.eye_distance == pytest.approx(0.4, rel=0.08)
    assert geometry.eye_height == pytest.approx(0.3, abs=0.04)


def test_pictures_of_a_clip_that_faces_fill_are_taken_for_face_crops(searching, points, tmp_path):
    files = [
        write_image(tmp_path / f"id0_id16_0001_frame_{number}_face_0.png", crop_of(points, 0.52))
        for number in (10, 14)
    ]
    alone, counts = zip(*map(searching.crops, files), strict=True)
    note = "the face fills the picture, which was taken for a face crop"
    assert [count.notes for count in counts] == [[note]] * 2
    crops, together = searching.crops(files)
    assert [crop.frame.index for crop in crops] == [10, 14]
    assert [[crop.jpeg] for crop in crops] == [[crop.jpeg for crop in each] for each in alone]
    assert together.notes == ["a face fills 2 of 2 pictures, taken for face crops"]
    assert (together.frames, together.frames_with_face) == (2, 2)


@pytest.mark.parametrize(("walls", "kept"), [(4, 1), (5, 0)])
def test_a_face_that_fills_one_of_many_pictures_is_noise(searching, points, tmp_path, walls, kept):
    pictures = [crop_of(points, 0.52), *[np.full((96, 96, 3), 127, np.uint8)] * walls]
    files = [write_image(tmp_path / f"{number}.png", each) for number, each in enumerate(pictures)]
    crops, counts = searching.crops(files)
    assert (len(crops), counts.faces, counts.frames) == (kept, kept, 1 + walls)
