import dataclasses
import errno
import io
import os

import numpy as np
import pytest
from made_media import (
    number_of,
    numbered_frame,
    numbered_video,
    portrait,
    set_avi,
    set_durations,
    set_rotation,
    write_image,
    write_video,
)
from wrapped_media import encode

from preprocessing.media import film
from preprocessing.media.frame import FrameRequest, middles
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia
from preprocessing.media.video import sample_file, sample_frames


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [
        (0, 4, []),
        (1, 4, [0]),
        (4, 4, [0, 1, 2, 3]),
        (3, 4, [0, 1, 2]),
        (10, 1, [5]),
        (10, 2, [2, 7]),
        (100, 4, [12, 37, 62, 87]),
    ],
)
def test_middles(total, count, expected):
    assert middles(total, count) == expected


@pytest.mark.parametrize("total", [1, 7, 31, 32, 33, 390, 10_007])
def test_middles_are_spread_evenly(total):
    numbers = middles(total, 32)
    assert len(numbers) == min(total, 32)
    gaps = np.diff(numbers)
    assert (gaps >= 1).all()
    assert not len(gaps) or gaps.max() - gaps.min() <= 1
    assert abs(numbers[0] - (total - 1 - numbers[-1])) <= 1


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.webm", "VP80")]
)
def test_frames_carry_their_number_and_time(tmp_path, name, codec):
    path = numbered_video(tmp_path / name, 50, codec=codec)
    frames = list(sample_frames(path, 5))
    assert [frame.index for frame in frames] == [5, 15, 25, 35, 45]
    assert [number_of(frame.pixels) for frame in frames] == [5, 15, 25, 35, 45]
    assert [frame.timestamp_ms for frame in frames] == [200, 600, 1000, 1400, 1800]


def test_frames_are_rgb(tmp_path):
    red, green, blue = (numbered_frame(0)[-10, 10]).astype(int)
    (frame,) = sample_frames(numbered_video(tmp_path / "a.mp4", 1), 1)
    assert np.abs(frame.pixels[-10, 10].astype(int) - (red, green, blue)).max() < 12


def test_a_short_clip_gives_all_its_frames(tmp_path):
    frames = list(sample_frames(numbered_video(tmp_path / "a.mp4", 3), 32))
    assert [number_of(frame.pixels) for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize("stated", [0, 7, 4000])
def test_a_wrong_frame_count_is_not_believed(tmp_path, stated):
    path = set_avi(numbered_video(tmp_path / "a.avi", 40, codec="MJPG"), frames=stated)
    assert [number_of(frame.pixels) for frame in sample_frames(path, 4)] == [5, 15, 25, 35]


def test_sparse_sampling_jumps_to_key_frames(tmp_path, monkeypatch):
    path = numbered_video(tmp_path / "a.mp4", 600)
    steps = []
    jumped = list(sample_frames(path, 4, tick=lambda: steps.append(1)))
    # Each frame is passed once when they are counted; then decoders read some frames ahead.
    assert len(steps) - 600 < 100
    monkeypatch.setattr(film, "_SHORTEST_JUMP", 10**9)
    walked = list(sample_frames(path, 4))
    for one, other in zip(jumped, walked, strict=True):
        assert number_of(one.pixels) == one.index == other.index
        assert one.timestamp_ms == other.timestamp_ms
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_a_jump_that_lands_elsewhere_is_noticed(tmp_path, monkeypatch):
    path = numbered_video(tmp_path / "a.mp4", 600)
    real = film.Packets.key_before

    def shifted(self, index):
        key = real(self, index)
        return key and dataclasses.replace(key, pts=key.pts + 1)

    monkeypatch.setattr(film.Packets, "key_before", shifted)
    frames = list(sample_frames(path, 4))
    assert [number_of(frame.pixels) for frame in frames] == [75, 225, 375, 525]


def test_rotation_is_honoured(tmp_path):
    path = set_rotation(numbered_video(tmp_path / "a.mp4", 4))
    (frame,) = sample_frames(path, 1)
    assert frame.pixels.shape == (192, 96, 3)
    assert number_of(np.rot90(frame.pixels)) == 2


def test_variable_frame_rate(tmp_path):
    path = numbered_video(tmp_path / "a.mp4", 40)
    # 512 units are one frame at 25 frames a second: the second half plays four times as slow.
    set_durations(path, [(20, 512), (20, 2048)])
    frames = list(sample_frames(path, 4))
    assert [number_of(frame.pixels) for frame in frames] == [5, 15, 25, 35]
    assert [frame.timestamp_ms for frame in frames] == [200, 600, 1600, 3200]


def test_frames_by_rate(tmp_path):
    path = numbered_video(tmp_path / "a.mp4", 100)  # 4 seconds
    assert len(list(sample_frames(path, 1000, per_second=2))) == 8
    assert len(list(sample_frames(path, 5, per_second=2))) == 5
    assert len(list(sample_frames(path, 1000, per_second=0.01))) == 1


def test_frames_by_number(tmp_path):
    path = numbered_video(tmp_path / "a.mp4", 50)
    frames = list(sample_frames(path, 1, indices=[3, 4, 30, 80]))
    assert [number_of(frame.pixels) for frame in frames] == [3, 4, 30]


@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("name", ["a.avi", "a.wmv"])
@pytest.mark.parametrize("total", [25, 90])
def test_frames_that_are_stored_in_another_order(tmp_path, total, name, b_frames):
    """AVI holds no presentation times, and FFmpeg numbers H.264's packets as they are stored."""
    path = encode(
        tmp_path / name,
        [numbered_frame(number) for number in range(total)],
        options={"crf": "12", "preset": "veryfast", "bf": str(b_frames)},
    )
    expected = middles(total, 32)
    told = []
    with path.open("rb", buffering=0) as file:
        frames = list(sample_file(file, FrameRequest(32), Limits(), tell=told.append))
    assert [frame.index for frame in frames] == expected
    assert [number_of(frame.pixels) for frame in frames] == expected
    assert [frame.timestamp_ms for frame in frames] == [40 * number for number in expected]
    assert told[0].notes == ()
    frames = list(sample_frames(path, 1, indices=[3, 4, 20]))
    assert [number_of(frame.pixels) for frame in frames] == [3, 4, 20]


def test_an_unknown_frame_rate_falls_back_to_the_count(tmp_path):
    path = set_avi(numbered_video(tmp_path / "a.avi", 40, codec="MJPG"), rate=0)
    try:
        frames = list(sample_frames(path, 4, per_second=1))
    except UnreadableMedia:
        return  # FFmpeg may refuse such a file; that is a named reason, too.
    assert 1 <= len(frames) <= 4


def test_a_picture_is_one_frame(tmp_path):
    pixels = portrait()[:64, :96]
    (frame,) = sample_frames(write_image(tmp_path / "a.png", pixels), 32)
    assert (frame.index, frame.timestamp_ms) == (0, 0)
    np.testing.assert_array_equal(frame.pixels, pixels)


def test_a_picture_from_a_phone_stands_upright(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees clockwise.
    Image.fromarray(portrait()[:64, :96]).save(tmp_path / "a.jpg", exif=exif)
    (frame,) = sample_frames(tmp_path / "a.jpg", 1)
    assert frame.pixels.shape == (96, 64, 3)


@pytest.mark.parametrize("name", ["a%03d.mp4", "a 'b\" c.mp4", "a\nb.mp4", "🎬.mp4", "-i.mp4"])
def test_odd_names(tmp_path, monkeypatch, name):
    path = numbered_video(tmp_path / "plain.mp4", 2)
    path.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(list(sample_frames(name, 4))) == 2


def test_what_cannot_be_read_says_why(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "text.png").write_text("not a picture")
    write_image(tmp_path / "huge.png", np.zeros((8001, 8000, 3), np.uint8))
    broken = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")
    for name, reason in {
        "empty.mp4": "empty",
        "folder.mp4": "a folder",
        "pipe.mp4": "no regular file",
        "text.mp4": "no video or picture",
        "text.png": "no video or picture",
        "huge.png": "8000x8001 pixels are too large",
        broken: "not UTF-8",
    }.items():
        with pytest.raises(UnreadableMedia, match=reason):
            list(sample_frames(tmp_path / name, 4))


def test_an_absent_file_is_a_passing_fault(tmp_path):
    with pytest.raises(DecodingFailed, match="cannot be opened: No such file"):
        list(sample_frames(tmp_path / "missing.mp4", 4))


def test_a_file_that_cannot_be_read_is_a_passing_fault(tmp_path):
    """A network drive that fails must not look like a damaged file."""

    class Failing(io.FileIO):
        def read(self, size=-1):
            if self.tell() > 20_000:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(min(size, 10_000))

    noise = np.random.default_rng(1).integers(0, 255, (200, 200, 3), np.uint8)
    for path in (
        write_video(tmp_path / "a.mp4", [noise] * 20),
        write_image(tmp_path / "a.png", noise),
    ):
        assert path.stat().st_size > 50_000
        with pytest.raises(DecodingFailed, match="cannot be read: Input/output error"):
            list(sample_file(Failing(path), FrameRequest(4), Limits()))


def test_frames_that_cannot_be_converted_are_no_empty_clip(tmp_path, monkeypatch):
    """Else the answer would be that no face was found."""
    path = numbered_video(tmp_path / "a.mp4", 12)
    monkeypatch.setattr(film.Display, "pixels", lambda *_: int("no number"))
    with pytest.raises(UnreadableMedia, match="none of its frames can be converted"):
        list(sample_frames(path, 4))


@pytest.mark.parametrize("tag", [b"zzzz", b"drmi"])
def test_an_unknown_codec_is_named_with_a_remedy(tmp_path, tag):
    path = encode(tmp_path / "a.mp4", [numbered_frame(number) for number in range(4)])
    path.write_bytes(path.read_bytes().replace(b"avc1", tag))
    with pytest.raises(UnreadableMedia, match=f"{tag.decode()}.*ffmpeg -i IN -c:v libx264 OUT.mp4"):
        list(sample_frames(path, 4))


def test_frames_that_are_too_large_are_not_decoded(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.avi", [np.zeros((600, 800, 3), np.uint8)], codec="MJPG")
    monkeypatch.setattr(film, "FilmReader", None)
    with pytest.raises(UnreadableMedia, match="800x600 pixels are too large"):
        list(sample_frames(path, 1, limits=Limits(pixels=100_000)))
