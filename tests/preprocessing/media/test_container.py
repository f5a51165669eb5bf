"""What a file is, is known by all of its magic or not at all."""

import os

import pytest

from preprocessing.datasets.clip import IMAGE_ENDINGS, VIDEO_ENDINGS, media
from preprocessing.media.container import KINDS, identify, is_picture, misnamed, sniff
from preprocessing.media.media_errors import UnreadableMedia


def ts(length, first, packets):
    data = bytearray(first + length * packets)
    for number in range(packets):
        data[first + number * length] = 0x47
    return bytes(data)


@pytest.mark.parametrize(
    ("head", "demuxer"),
    [
        (ts(188, 0, 5), "mpegts"),
        (ts(188, 0, 3), "mpegts"),
        (ts(192, 4, 5), "mpegts"),
        (ts(204, 0, 5), "mpegts"),
        (b"\0\0\0\x14ftypqt  \0\0\2\0qt  ", "mov"),
        (b"\0\0\0\x1cftypmp42\0\0\0\0isomheic", "mov"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "mov"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x01\x67\x42\x00\x1e", "h264"),
        (b"\0\0\0\x01\x40\x01\x0c\x01", "hevc"),
        (b"\0\0\x01\xba\x44", "mpeg"),
        (b"\0\0\x01\xb3\x14", "mpegvideo"),
    ],
)
def test_what_is_known(head, demuxer):
    assert identify(head).demuxer == demuxer


@pytest.mark.parametrize(
    "head",
    [
        ts(188, 0, 2),
        ts(188, 0, 5)[1:],
        b"\0" + ts(188, 0, 5)[1:],
        ts(188, 0, 5)[:376] + b"\0" + ts(188, 0, 5)[377:],
        b"\0\0\0\x04ftyp" + bytes(90),
        b"\xff\xff\xff\xffftyp" + bytes(90),
        b"\0\0\0\x05moov" + bytes(90),
        b"text free of magic",
        b"\x1aE\xdf\xa3 something else",
        b"RIFF....CDXA",
        b"BM is how this text begins",
        b"\xff\xd8",
        b"",
    ],
)
def test_what_is_not(head):
    with pytest.raises(UnreadableMedia, match="begins like none"):
        identify(head)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\xff\x0a", "a JPEG XL picture, which is not read; save it as PNG or JPEG"),
        (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "an MXF film, which is not read; convert it: ffmpeg"),
        (b"%PDF-1.7", "a PDF document"),
        (b"ID3\x04", "a sound file"),
        (b"RIFF\0\0\0\0WAVE", "a sound file"),
        (b"\xff\xfe#\0E\0X\0T\0M\0003\0U\0", "an HLS or M3U playlist"),
        (b"\n\n  <MPD xmlns='a'>", "a DASH manifest"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
    ],
)
def test_what_is_not_read_is_named(head, words):
    with pytest.raises(UnreadableMedia, match="it is ") as refusal:
        identify(head)
    assert words in str(refusal.value)


def test_endings_are_of_one_kind_of_reader():
    assert not VIDEO_ENDINGS & IMAGE_ENDINGS
    for kind in KINDS:
        assert misnamed(f"a{kind.endings[0].upper()}", kind.name) == ""
    assert misnamed("a.jpg", "PNG") == "its ending is .jpg, but it holds PNG; the content was read"
    assert misnamed("a.data", "PNG") == misnamed("noext", "PNG") == ""


def test_a_pipe_does_not_hold_up_the_sniffer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableMedia, match="no regular file"):
        sniff(tmp_path / "pipe")
    assert not is_picture(tmp_path / "pipe")
    assert not is_picture(tmp_path / "absent")


def test_files_are_listed_by_content_where_the_ending_says_nothing(tmp_path):
    for name, head in {
        "noext": b"\xff\xd8\xff\xe0 a picture",
        "photo.jfif": b"\xff\xd8\xff",
        "IMG_1.HEIC": b"any",
        "anim.gif": b"any",
        "film.ogv": b"any",
        "camera.m2ts": b"any",
        "download.part": ts(188, 0, 5),
        "notes.txt": b"some text",
        "empty": b"",
        "list.m3u8": b"#EXTM3U\n",
    }.items():
        (tmp_path / name).write_bytes(head)
    found, problems = media(tmp_path, "", VIDEO_ENDINGS | IMAGE_ENDINGS)
    assert found == sorted(
        [
            "noext",
            "photo.jfif",
            "IMG_1.HEIC",
            "anim.gif",
            "film.ogv",
            "camera.m2ts",
            "download.part",
        ]
    )
    why = {problem.path: problem.reason for problem in problems}
    assert set(why) == {"notes.txt", "empty", "list.m3u8"}
    assert why["notes.txt"] == "not a video or picture by its ending, nor by its content"
    videos, problems = media(tmp_path, "", VIDEO_ENDINGS)
    assert videos == ["camera.m2ts", "download.part", "film.ogv"]
    why = {problem.path: problem.reason for problem in problems}
    assert why["noext"] == "not a video by its content"
    assert why["photo.jfif"] == "not a video by its ending"
