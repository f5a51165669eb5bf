"""One clip in many wrappings comes out alike: the same frames, upright, with square pixels."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_media import numbered_frame
from wrapped_media import WRAPPINGS, encode, squeezed

from preprocessing.media.decoder import Decoder

CLIP = Path(__file__).parents[2] / "media" / "fake122.mp4"
# Decibels that a wrapping may lose. Most are coded nearly without loss.
LEAST = 34.0
LEAST_OF = {
    "animation.gif": 24.0,
    "combed.ts": 32.0,
    **dict.fromkeys(("squeezed.mp4", "squeezed.mkv", "squeezed.webm"), 30.0),
}
CUT_OFF = {"odd size.webm": (317, 319), "codec crop.mp4": (310, 314)}


@pytest.fixture(scope="module")
def decoder():
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(scope="module")
def plain(decoder):
    return [frame.pixels for frame in decoder.frames(CLIP, 100)]


def psnr(one, other):
    error = np.square(one.astype(np.float64) - other).mean()
    return 10 * np.log10(255**2 / max(error, 1e-9))


def test_there_are_many():
    assert len(WRAPPINGS) >= 16


@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_wrapping_changes_nothing(decoder, plain, tmp_path, name):
    path = WRAPPINGS[name](tmp_path / name, plain)
    told = []
    frames = list(decoder.frames(path, 100, tell=told.append))
    assert [frame.index for frame in frames] == list(range(len(plain)))
    height, width = CUT_OFF.get(name, plain[0].shape[:2])
    assert frames[0].pixels.shape == (height, width, 3)
    losses = [
        psnr(frame.pixels, expected[:height, :width])
        for frame, expected in zip(frames, plain, strict=True)
    ]
    assert min(losses) > LEAST_OF.get(name, LEAST), losses
    assert not any("its header says" in note for note in told[0].notes)
    assert frames[0].timestamp_ms == 0
    stamps = [frame.timestamp_ms for frame in frames]
    assert stamps == sorted(stamps)
    if name not in ("raw.h264", "variable rate.mp4"):
        assert abs(stamps[-1] - 40 * (len(plain) - 1)) <= 2
    # A few of the frames are the same ones, found by jumps.
    for frame in decoder.frames(path, 3):
        np.testing.assert_array_equal(frame.pixels, frames[frame.index].pixels)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("two streams.mp4", "2 video streams"),
        ("interlaced flag.ts", "no combing"),
        ("combed.ts", "deinterlaced"),
        ("named as picture.jpg", "its ending is .jpg"),
    ],
)
def test_what_a_reader_should_know_is_noted(decoder, plain, tmp_path, name, words):
    told = []
    path = WRAPPINGS[name](tmp_path / name, plain)
    list(decoder.frames(path, 4, tell=told.append))
    assert any(words in note for note in told[0].notes), told


def test_combed_frames_are_deinterlaced(decoder, tmp_path):
    """Two moments in one frame: a bar that moves by 8 pixels from field to field."""
    frames, moments = [], []
    texture = np.random.default_rng(3).integers(60, 200, (240, 80, 3), np.uint8)
    texture = cv2.GaussianBlur(texture, (0, 0), 4)
    for number in range(12):
        fields = []
        for half in range(2):
            frame = np.full((240, 320, 3), 90, np.uint8)
            left = 20 + 16 * number + 8 * half
            frame[:, left : left + 80] = texture
            fields.append(frame)
        moments.append(fields)
        woven = fields[0].copy()
        woven[1::2] = fields[1][1::2]
        frames.append(woven)
    options = {"crf": "8", "x264-params": "tff=1"}
    path = encode(tmp_path / "a.ts", frames, options=options)
    told = []
    found = list(decoder.frames(path, 12, tell=told.append))
    assert any("deinterlaced" in note for note in told[0].notes)
    for frame, either, combed in zip(found, moments, frames, strict=True):
        gain = max(psnr(frame.pixels, one) for one in either) - psnr(combed, either[0])
        assert gain > 6


def test_pixels_of_mpeg_2_come_out_square(decoder, tmp_path):
    """Its sequence header names the shape of the picture, here 4:3."""
    frames = [numbered_frame(number, 240, 240) for number in range(12)]
    ratio = Fraction(4, 3)
    path = encode(tmp_path / "a.mpg", frames, "mpeg2video", sample_aspect_ratio=ratio)
    shown = list(decoder.frames(path, 4))
    assert {frame.pixels.shape for frame in shown} == {(240, 320, 3)}
    for frame in shown:
        expected = cv2.resize(frames[frame.index], (320, 240))
        assert psnr(frame.pixels, expected) > 25


@pytest.mark.parametrize("ending", ["mkv", "webm", "flv", "avi", "mp4"])
def test_films_that_end_before_their_header_says_are_noted(decoder, tmp_path, ending):
    """FFmpeg reports no error for these: they look like shorter films."""
    codecs = {"webm": "libvpx-vp9", "flv": "flv", "avi": "mpeg4"}
    settings = {"container": {"movflags": "faststart"}} if ending == "mp4" else {}
    frames = [numbered_frame(number) for number in range(150)]
    path = encode(tmp_path / f"a.{ending}", frames, codecs.get(ending, "libx264"), **settings)
    notes = {}
    for share in (0.5, 1):
        cut = tmp_path / f"cut.{ending}"
        cut.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        told = []
        list(decoder.frames(cut, 4, tell=told.append))
        notes[share] = [note for note in told[0].notes if "its header says" in note]
    assert len(notes[0.5]) == 1
    assert "it is cut off, or its sound goes on without it" in notes[0.5][0]
    assert notes[1] == []


def test_the_control_of_squeezed_clips_is_squeezed_itself(plain):
    """The loss of the two wrappings is that of width, which no decoder gives back."""
    wide = [cv2.resize(frame, plain[0].shape[1::-1]) for frame in squeezed(plain)]
    assert psnr(wide[0], plain[0]) < 45
