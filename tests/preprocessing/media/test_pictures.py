"""Pictures of every format: upright, RGB, 8 bits, or refused for what they are."""

import io
import os

import numpy as np
import pillow_heif
import pytest
from made_media import portrait
from PIL import Image

from preprocessing.media.frame import FrameRequest
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import UnreadableMedia
from preprocessing.media.source import open_media
from preprocessing.media.video import sample_file, sample_frames

PIXELS = portrait()[20:148, 130:226]  # 128 rows, 96 columns.
ORIENTATION = 0x0112
# What is stored so that a viewer that honours the orientation shows the picture (TIFF 6.0).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
# Format -> how it is saved without visible loss.
FORMATS = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {"quality": 98, "subsampling": "4:4:4"},
    "HEIF": {"quality": 98, "chroma": 444},
}


@pytest.fixture(autouse=True)
def heif():
    pillow_heif.register_heif_opener()


def read(path):
    """The one frame of a picture, and what is noted."""
    told = []
    with os.fdopen(open_media(path, Limits()), "rb", buffering=0) as file:
        (frame,) = sample_file(file, FrameRequest(4), Limits(), tell=told.append)
    return frame.pixels, told[0]


def close_to(pixels, expected, most=4.0):
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() < most


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", FORMATS)
def test_the_orientation_is_honoured_in_every_format(tmp_path, name, orientation):
    image = Image.fromarray(PIXELS)
    turn = STORED[orientation]
    image = image if turn is None else image.transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / "picture"
    image.save(path, name, exif=exif.tobytes(), **FORMATS[name])
    pixels, info = read(path)
    assert info.kind == {"HEIF": "HEIC", "WEBP": "WebP"}.get(name, name)
    close_to(pixels, PIXELS)


@pytest.mark.parametrize("mode", ["CMYK", "L", "progressive"])
def test_jpeg_in_all_its_forms(tmp_path, mode):
    image = Image.fromarray(PIXELS)
    path = tmp_path / "named.jfif"
    image.convert(mode if mode != "progressive" else "RGB").save(
        path, "JPEG", quality=98, progressive=mode == "progressive"
    )
    expected = np.asarray(image.convert("L").convert("RGB")) if mode == "L" else PIXELS
    close_to(read(path)[0], expected)


def test_16_bits_are_made_8(tmp_path):
    ramp = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    expected = np.repeat(((ramp.astype(int) + 128) // 257)[..., None], 3, axis=-1)
    for ending in ("png", "tif"):
        Image.fromarray(ramp).save(tmp_path / f"a.{ending}")
        np.testing.assert_array_equal(read(tmp_path / f"a.{ending}")[0], expected)


def test_floating_point_counts_from_0_to_1(tmp_path):
    values = np.linspace(-0.5, 1.5, 256, dtype=np.float32).reshape(16, 16)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    pixels = read(tmp_path / "a.tif")[0]
    assert (pixels[0, 0], pixels[-1, -1])[0].tolist() == [0, 0, 0]
    assert pixels[-1, -1].tolist() == [255] * 3
    assert abs(int(pixels[8, 0, 0]) - 128) <= 1


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_transparent_pixels_show_white(tmp_path, ending):
    """Whatever colour is stored below them."""
    noise = np.random.default_rng(1).integers(0, 255, (*PIXELS.shape[:2], 4), np.uint8)
    noise[..., 3] = 0
    noise[:64, :, :3], noise[:64, :, 3] = PIXELS[:64], 255
    options = {"lossless": True, "exact": True} if ending == "webp" else {}
    Image.fromarray(noise).save(tmp_path / f"a.{ending}", **options)
    pixels = read(tmp_path / f"a.{ending}")[0]
    close_to(pixels[:64], PIXELS[:64], 1)
    assert (pixels[64:] == 255).all()


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(PIXELS).quantize(16)
    image.save(tmp_path / "a.png")
    close_to(read(tmp_path / "a.png")[0], np.asarray(image.convert("RGB")), 0.1)
    image.save(tmp_path / "b.png", transparency=3)
    shown = read(tmp_path / "b.png")[0]
    assert (shown[np.asarray(image) == 3] == 255).all()


def test_bmp(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read(tmp_path / "a.bmp")[0], PIXELS)


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "avif"])
def test_one_frame_is_a_picture_and_several_are_a_clip(tmp_path, ending):
    shades = [np.full((64, 96, 3), 20 * number, np.uint8) for number in range(12)]
    first, *others = (Image.fromarray(shade) for shade in shades)
    first.save(tmp_path / f"one.{ending}")
    assert read(tmp_path / f"one.{ending}")[1].frames == 1
    path = tmp_path / f"many.{ending}"
    first.save(path, save_all=True, append_images=others, duration=50)
    frames = list(sample_frames(path, 4))
    assert [frame.index for frame in frames] == [1, 4, 7, 10]
    assert [frame.timestamp_ms for frame in frames] == [50, 200, 350, 500]
    for frame in frames:
        close_to(frame.pixels, shades[frame.index], 3)
    assert len(list(sample_frames(path, 100, per_second=10))) == 6
    assert [f.index for f in sample_frames(path, 1, indices=[2, 3, 11, 40])] == [2, 3, 11]


@pytest.mark.parametrize("ending", ["gif", "png"])
@pytest.mark.parametrize("seconds", [None, 60])
def test_an_animation_that_is_cut_off_gives_its_frames_up_to_there(tmp_path, ending, seconds):
    noise = np.random.default_rng(1).integers(0, 255, (20, 64, 96, 3), np.uint8)
    first, *others = map(Image.fromarray, noise)
    path = tmp_path / f"a.{ending}"
    first.save(path, save_all=True, append_images=others, duration=50)
    whole = list(sample_frames(path, 20))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 8])

    def cut(request):
        told = []
        with path.open("rb", buffering=0) as file:
            limits = Limits(seconds=seconds)
            return list(sample_file(file, request, limits, tell=told.append)), told[0]

    frames, info = cut(FrameRequest(20))
    assert len(frames) == 17
    for frame, expected in zip(frames, whole, strict=False):
        assert (frame.index, frame.timestamp_ms) == (expected.index, expected.timestamp_ms)
        np.testing.assert_array_equal(frame.pixels, expected.pixels)
    assert info.frames == len(frames)
    note = f"it is damaged or cut off after {len(frames)} frames; what comes after that is not read"
    assert info.notes == (note,)
    assert [frame.index for frame in cut(FrameRequest(1, indices=[2, 19]))[0]] == [2]
    # Where the wanted frame is lost, another one is taken.
    path.write_bytes(data[: len(data) // 4])
    (frame,), info = cut(FrameRequest(1))
    assert frame.index < info.frames < 6


def test_of_several_pictures_the_first_is_read_and_it_is_said(tmp_path):
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    pixels, info = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels, PIXELS)
    assert info.notes == ("it holds several pictures; the first was read",)


def test_a_damaged_png_is_refused(tmp_path):
    """Pillow alone would show other pixels than were saved."""
    data = io.BytesIO()
    Image.fromarray(PIXELS).save(data, "PNG")
    broken = bytearray(data.getvalue())
    at = broken.index(b"IDAT") + 4
    length = int.from_bytes(broken[at - 8 : at - 4], "big")
    broken[at + length] ^= 1  # The checksum.
    (tmp_path / "a.png").write_bytes(broken)
    with pytest.raises(UnreadableMedia, match="wrong checksum"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("name", [*FORMATS, "GIF", "BMP"])
def test_what_is_cut_off_is_refused(tmp_path, name):
    Image.fromarray(PIXELS).save(tmp_path / "whole", name, **FORMATS.get(name, {}))
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableMedia, match="cannot be decoded"):
        read(tmp_path / "cut")
