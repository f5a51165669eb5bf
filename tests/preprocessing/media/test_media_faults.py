"""Files of public bug reports about other programs: what comes out of the decoder."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocessing.media.decoder import Decoder

MADE = Path(__file__).parents[2] / "media"


@pytest.fixture(scope="module")
def decoder():
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(scope="module")
def faults(media):
    folder = media / "media_faults"
    if not folder.is_dir():
        pytest.skip("DEEPFAKE_TEST_MEDIA holds no media_faults")
    return folder


def pixels_of(decoder, path, count=100):
    return [frame.pixels for frame in decoder.frames(path, count)]


def difference(one, other):
    return float(np.abs(one.astype(int) - other).mean())


def test_a_cover_that_comes_first_is_not_the_film(decoder):
    film = pixels_of(decoder, MADE / "fake122.mp4")
    covered = pixels_of(decoder, MADE / "fake_with_real_cover.mp4")
    assert len(film) == len(covered) == 14
    for one, other in zip(film, covered, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("name", "frames"), [("anafake122.mp4", 14), ("anareal121.mp4", 13)])
def test_pixels_come_out_square(decoder, name, frames):
    found = pixels_of(decoder, MADE / name)
    assert [frame.shape for frame in found] == [(320, 320, 3)] * frames


def test_a_squeezed_clip_differs_from_its_control_by_resampling_only(decoder):
    squeezed = pixels_of(decoder, MADE / "anafake122.mp4")
    control = pixels_of(decoder, MADE / "ctlfake122.mp4")
    plain = pixels_of(decoder, MADE / "fake122.mp4")
    for one, other, source in zip(squeezed, control, plain, strict=True):
        assert difference(one, other) < max(1.5, 1.2 * difference(other, source))


@pytest.mark.parametrize(
    ("name", "kind", "frames", "shape"),
    [
        ("av1.mp4", "MP4 or QuickTime", 48, (360, 640, 3)),
        ("theora.ogv", "Ogg", 48, (360, 640, 3)),
        ("anim.gif", "GIF", 12, (180, 320, 3)),
        ("anim.webp", "WebP", 12, (270, 480, 3)),
        ("montage.mp4", "MP4 or QuickTime", 48, (360, 640, 3)),
        ("pic.gif", "GIF", 1, (360, 640, 3)),
        ("pic.heic", "HEIC", 1, (360, 640, 3)),
        ("pic.avif", "AVIF", 1, (360, 640, 3)),
        ("named.jfif", "JPEG", 1, (360, 640, 3)),
        ("noext", "JPEG", 1, (360, 640, 3)),
        ("exif6.jpg", "JPEG", 1, (360, 640, 3)),
        ("exif6.webp", "WebP", 1, (360, 640, 3)),
        ("tiff6.tif", "TIFF", 1, (320, 180, 3)),
    ],
)
def test_what_was_refused_or_judged_sideways_is_read(faults, decoder, name, kind, frames, shape):
    told = []
    found = list(decoder.frames(faults / name, 100, tell=told.append))
    assert (told[0].kind, told[0].frames, len(found)) == (kind, frames, frames)
    assert {frame.pixels.shape for frame in found} == {shape}


def test_one_picture_in_all_formats(faults, decoder):
    (expected,) = pixels_of(decoder, faults / "exif6.jpg")
    for name in ("exif6.webp", "named.jfif", "noext", "pic.heic", "pic.avif", "pic.gif"):
        (found,) = pixels_of(decoder, faults / name)
        assert difference(found, expected) < 8, name
    (turned,) = pixels_of(decoder, faults / "tiff6.tif")
    small = cv2.resize(expected, (320, 180), interpolation=cv2.INTER_AREA)
    # It is stored upright and tagged as lying: a viewer shows it turned clockwise.
    assert difference(np.rot90(turned), small) < 12
