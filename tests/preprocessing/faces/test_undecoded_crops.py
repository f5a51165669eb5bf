"""Face crops that nobody measures: JPEG files become records by their headers alone."""

import io
import os

import cv2
import numpy as np
import pytest
from made_media import portrait
from PIL import Image

from preprocessing.faces.crop_settings import CropSettings
from preprocessing.faces.face_cropper import FaceCropper
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

UNMEASURED = CropSettings(precropped=True, max_crop_size=200)
CROP = np.ascontiguousarray(portrait()[:140, 60:200])


@pytest.fixture
def cropper():
    cropper = FaceCropper(UNMEASURED)
    yield cropper
    cropper.close()


@pytest.fixture
def without_decoder(cropper, monkeypatch):
    """A cropper that fails where it asks for a decoder."""

    def refuse(*_, **__):
        raise AssertionError("a file is decoded")

    monkeypatch.setattr("preprocessing.media.decoder.Decoder.frames", refuse)
    return cropper


def _jpeg(path, pixels=CROP, **options):
    Image.fromarray(pixels).save(path, format="JPEG", quality=90, **options)
    return path


@pytest.mark.parametrize("height", [140, 135])
def test_a_jpeg_is_kept_to_the_byte_and_not_decoded(without_decoder, tmp_path, height):
    path = _jpeg(tmp_path / "crop.jpg", CROP[:height])
    ((crop,), counts) = without_decoder.crops(path)
    assert crop.jpeg == path.read_bytes()
    assert crop.box.tolist() == [0, 0, 140, height]
    assert (counts.frames, counts.crops, counts.notes) == (1, 1, [])


def test_pictures_of_a_clip_keep_their_numbers(without_decoder, tmp_path):
    files = [_jpeg(tmp_path / f"id0_0001_frame_{n}_face_0.jpg") for n in (4, 12, 30)]
    crops, counts = without_decoder.crops(files)
    assert [crop.frame.index for crop in crops] == [4, 12, 30]
    assert [crop.jpeg for crop in crops] == [file.read_bytes() for file in files]
    assert counts.frames == 3


def _turned(path):
    tags = Image.Exif()
    tags[0x0112] = 6
    return _jpeg(path, exif=tags)


def _cmyk(path):
    Image.fromarray(CROP).convert("CMYK").save(path, format="JPEG")
    return path


def _oblong(path):
    return _jpeg(path, CROP[:120])


def _large(path):
    return _jpeg(path, cv2.resize(CROP, (300, 300)))


def _png(path):
    Image.fromarray(CROP).save(path, format="PNG")
    return path


@pytest.mark.parametrize(
    ("name", "write", "size"),
    [
        ("turned.jpg", _turned, (140, 140)),
        ("cmyk.jpg", _cmyk, (140, 140)),
        ("oblong.jpg", _oblong, (140, 140)),
        ("large.jpg", _large, (200, 200)),
        ("crop.png", _png, (140, 140)),
    ],
)
def test_what_a_decoder_has_to_show_is_decoded_and_encoded(cropper, tmp_path, name, write, size):
    path = write(tmp_path / name)
    ((crop,), _) = cropper.crops(path)
    assert crop.jpeg != path.read_bytes()
    with Image.open(io.BytesIO(crop.jpeg)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", size)


def test_a_jpeg_under_another_ending_is_read_and_noted(cropper, tmp_path):
    path = _jpeg(tmp_path / "crop.png")
    ((crop,), counts) = cropper.crops(path)
    assert crop.jpeg == path.read_bytes()
    assert counts.notes == ["its ending is .png, but it holds JPEG; the content was read"]


def _cut_off(path):
    data = _jpeg(path).read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def _without_header(path):
    data = bytearray(_jpeg(path).read_bytes())
    start = data.index(b"\xff\xc0")
    data[start : start + 10] = bytes(10)
    path.write_bytes(data)


def _empty(path):
    path.write_bytes(b"")


def _pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [_cut_off, _without_header, _empty, _pipe])
def test_a_damaged_crop_is_named_and_the_others_are_kept(cropper, tmp_path, damage):
    files = [_jpeg(tmp_path / f"clip_frame_{n}_face_0.jpg") for n in range(2)]
    damaged = tmp_path / "clip_frame_2_face_0.jpg"
    damage(damaged)
    crops, counts = cropper.crops([*files, damaged])
    assert [crop.frame.index for crop in crops] == [0, 1]
    (note,) = counts.notes
    assert note.startswith("1 of 3 pictures were left out: frame clip_frame_2_face_0.jpg: ")
    with pytest.raises(UnreadableMedia):
        cropper.crops(damaged)


def test_a_crop_that_is_away_is_a_passing_fault(cropper, tmp_path):
    with pytest.raises(DecodingFailed, match="cannot be opened"):
        cropper.crops(tmp_path / "away.jpg")
