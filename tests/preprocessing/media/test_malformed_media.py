"""Broken files of all kinds: none stops the extraction, and each ends with a named reason."""

import collections
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import cv2
import numpy as np
import pytest
from made_media import (
    numbered_frame,
    numbered_video,
    set_avi,
    set_durations,
    set_rotation,
    write_image,
    write_video,
)

from preprocessing.datasets.clip import Clip
from preprocessing.extraction.face_extraction import ExtractFaces
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.media import decoder

pytestmark = pytest.mark.integration

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
# Decoding is what is tested: each frame counts as one face, and no detector is needed.
SETTINGS = CropSettings(frames_per_clip=4, precropped=True)
GOOD = ("good.mp4", "good.avi", "good.webm", "good.png", "good.jpg")
ODD_NAMES = (
    "with spaces.mp4",
    'quote\'s "double".mp4',
    "emoji 🎬🙂.mp4",
    "new\nline.mp4",
    "percent%03d.mp4",
    "semi;colon|pipe&.mp4",
    "-dash.mp4",
    "UPPER.MP4",
)


def make_good(folder: Path) -> None:
    numbered_video(folder / "good.mp4", 30)
    numbered_video(folder / "good.avi", 30, codec="MJPG")
    numbered_video(folder / "good.webm", 30, codec="VP80")
    write_image(folder / "good.png", numbered_frame(7))
    write_image(folder / "good.jpg", numbered_frame(7))
    for name in ODD_NAMES:
        shutil.copyfile(folder / "good.mp4", folder / name)


def make_bad(folder: Path) -> set[str]:
    """Writes damaged files; returns the names of those that nothing can be read from."""
    hopeless: set[str] = set()

    def write(name: str, data: bytes, readable: bool = False) -> None:
        (folder / name).write_bytes(data)
        if not readable:
            hopeless.add(name)

    random = np.random.default_rng(5)
    whole = {name: (folder / name).read_bytes() for name in GOOD}
    write("zero bytes.mp4", b"")
    write("zero bytes.png", b"")
    write("one byte.mp4", b"\0")
    write("zeros.mp4", bytes(5000))
    write("noise.mp4", random.bytes(5000))
    write("noise.png", random.bytes(5000))
    write("text.mp4", b"This is not a video.\n" * 40)
    write("page.mp4", b"<!DOCTYPE html><html><body>404 Not Found</body></html>")
    write("playlist.mp4", b"#EXTM3U\n#EXTINF:2,\n" + str(folder / "good.mp4").encode())
    write("picture named as video.mp4", whole["good.png"], readable=True)
    write("photo named as video.avi", whole["good.jpg"], readable=True)
    write("video named as picture.png", whole["good.mp4"], readable=True)
    write("archive.mp4", b"PK\x03\x04" + random.bytes(500))
    write("video named as other video.avi", whole["good.mp4"], readable=True)
    write("signature only.png", whole["good.png"][:8])
    for name in GOOD:
        _stem, _, ending = name.partition(".")
        data = whole[name]
        for share in (0.01, 0.1, 0.3, 0.6, 0.9, 0.99):
            write(f"cut at {share}.{ending}", data[: int(len(data) * share)], readable=True)
        for part, (low, high) in {"head": (0, 64), "middle": (0.3, 0.7), "tail": (0.9, 1)}.items():
            flipped = bytearray(data)
            start, end = (int(v * len(data)) if v <= 1 else v for v in (low, high))
            for at in random.integers(start, end, 40 if part != "head" else 6):
                flipped[at] ^= 1 << int(random.integers(8))
            write(f"bits flipped in {part}.{ending}", bytes(flipped), readable=True)
    _write_odd_boxes(whole["good.mp4"], write)
    write("audio only.avi", _silence())
    for name, options in {
        "0 fps.avi": {"rate": 0},
        "million frames.avi": {"frames": 10**6},
    }.items():
        write(name, whole["good.avi"], readable=True)
        set_avi(folder / name, **options)
    _write_odd_pictures(folder)
    hopeless.add("9000x8000.png")
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    (folder / "dangling.mp4").symlink_to(folder / "nowhere")
    hopeless |= {"folder.mp4", "pipe.mp4", "dangling.mp4", "missing.mp4"}
    shutil.copyfile(folder / "good.mp4", folder / "unreadable.mp4")
    (folder / "unreadable.mp4").chmod(0)
    if os.geteuid():
        hopeless.add("unreadable.mp4")
    return hopeless


def _write_odd_pictures(folder: Path) -> None:
    """Media of odd sizes, rates and pixels."""
    for name, size in {"1x1.png": (1, 1), "1x1.jpg": (1, 1), "8000x6000.jpg": (8000, 6000)}.items():
        write_image(folder / name, np.zeros((size[1], size[0], 3), np.uint8))
    write_image(folder / "9000x8000.png", np.zeros((8000, 9000, 3), np.uint8))
    numbered_video(folder / "one frame.mp4", 1)
    write_video(folder / "2x2.avi", [np.zeros((2, 2, 3), np.uint8)], codec="MJPG")
    large = [np.zeros((6000, 8000, 3), np.uint8)]
    write_video(folder / "8000x6000.avi", large, codec="MJPG")
    _claim_size(folder / "8000x6000.avi", folder / "claims 60000x60000.avi", 60000)
    set_rotation(numbered_video(folder / "rotated.mp4", 8))
    set_durations(numbered_video(folder / "variable rate.mp4", 8), [(4, 1), (4, 90000)])
    set_durations(numbered_video(folder / "no durations.mp4", 8), [(8, 0)])
    for name, pixels in {
        "grey16.png": np.full((20, 20), 40_000, np.uint16),
        "alpha.png": np.full((20, 20, 4), 100, np.uint8),
        "float.tiff": np.full((20, 20), 0.5, np.float32),
    }.items():
        assert cv2.imwrite(str(folder / name), pixels)


def _write_odd_boxes(mp4: bytes, write: Callable[..., None]) -> None:
    """MP4 files whose boxes lack something, or say what cannot be."""
    write("no moov.mp4", mp4[: mp4.index(b"moov") - 4])
    write("moov only.mp4", mp4[mp4.index(b"moov") - 4 :], readable=True)
    write(
        "box of endless size.mp4",
        mp4.replace(b"mdat", b"mdat", 1)[:40] + b"\xff" * 8 + mp4[48:],
        True,
    )
    write("data wiped.mp4", _wiped(mp4), readable=True)
    write("no frames in index.mp4", _patched(mp4, b"stsz", 12, b"\0\0\0\0"), readable=True)
    write(
        "sizes that overflow.mp4",
        _patched(mp4, b"stsz", 16, b"\x7f\xff\xff\xff" * 4),
        readable=True,
    )
    write("offsets outside.mp4", _patched(mp4, b"stco", 12, b"\xff\xff\xff\xf0"), readable=True)
    write("unknown codec.mp4", mp4.replace(b"mp4v", b"zzzz"), readable=True)


def _patched(data: bytes, box: bytes, offset: int, value: bytes) -> bytes:
    at = data.index(box) + offset
    return data[:at] + value + data[at + len(value) :]


def _wiped(data: bytes) -> bytes:
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    return data[:start] + bytes(end - start) + data[end:]


def _silence() -> bytes:
    """An AVI with one stream of PCM sound."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)

    header = np.array([0, 8000, 0, 0x10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0], "<u4").tobytes()
    stream = b"auds" + np.array([0, 0, 0, 0, 1, 8000, 0, 8000, 8000, 0, 1, 0, 0], "<u4").tobytes()
    wave = np.array([1, 1], "<u2").tobytes() + np.array([8000, 8000], "<u4").tobytes()
    wave += np.array([1, 8], "<u2").tobytes()
    streams = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", wave))
    body = chunk(b"LIST", b"hdrl" + chunk(b"avih", header) + streams)
    body += chunk(b"LIST", b"movi" + chunk(b"00wb", bytes([128]) * 8000))
    return chunk(b"RIFF", b"AVI " + body)


def _claim_size(source: Path, target: Path, side: int) -> None:
    data = bytearray(source.read_bytes())
    at = data.index(b"strf") + 8
    data[at + 4 : at + 12] = np.array([side, side], "<u4").tobytes()
    target.write_bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    make_good(folder)
    yield folder, make_bad(folder)
    (folder / "unreadable.mp4").chmod(0o600)


def extract(folder, names, output):
    found = output / "rows.json"
    with beam.Pipeline(RUNNER) as pipeline:
        _ = (
            pipeline
            | beam.Create(
                [Clip(name, 0, dataset="test", method="real", split="train") for name in names]
            )
            | ExtractFaces(
                root=str(folder),
                store=str(output / "store"),
                outputs={"train": str(output / "train")},
                clips_per_split={"train": len(names)},
                settings=SETTINGS,
            )
            | beam.combiners.ToList()
            | beam.Map(lambda rows: found.write_text(json.dumps([row.to_dict() for row in rows])))
        )
    return {row["path"]: row for row in json.loads(found.read_text())}


@pytest.fixture(scope="module")
def rows(folder, tmp_path_factory):
    folder, _ = folder
    names = [*sorted(path.name for path in folder.iterdir()), "missing.mp4"]
    return extract(folder, names, tmp_path_factory.mktemp("output"))


def test_every_file_is_accounted_for(folder, rows):
    folder, _ = folder
    assert set(rows) == {path.name for path in folder.iterdir()} | {"missing.mp4"}
    assert len(rows) - len(GOOD) - len(ODD_NAMES) >= 60
    for row in rows.values():
        assert bool(row["crops"]) != bool(row["reason"]), row


def test_good_files_beside_them_come_out_whole(rows):
    for name in (*GOOD, *ODD_NAMES):
        expected = 1 if name.endswith((".png", ".jpg")) else 4
        assert rows[name]["crops"] == expected, name


def test_what_is_beyond_reading_says_why(folder, rows):
    _, hopeless = folder
    came_out = [name for name in hopeless if rows[name]["crops"]]
    assert not came_out
    reasons = collections.Counter(rows[name]["reason"] for name in hopeless)
    assert len(reasons) >= 8, reasons
    for name, reason in {
        "zero bytes.mp4": "the file is empty",
        "folder.mp4": "the folder of frames is empty",
        "pipe.mp4": "it is no regular file",
        "missing.mp4": "the file cannot be opened: No such file or directory",
        "text.mp4": "it is no video or picture: it begins like none",
        "page.mp4": "it is a web page or XML, no video or picture: it begins like none",
        "playlist.mp4": "it is an HLS or M3U playlist, which only names other files",
        "archive.mp4": "it is an archive or office document, which is not read; unpack it",
        "no moov.mp4": "it begins like MP4 or QuickTime, but holds no video",
        "audio only.avi": "its AVI container holds no video stream",
    }.items():
        assert rows[name]["reason"].startswith(reason), rows[name]["reason"]


def test_what_is_merely_odd_comes_out(rows):
    for name, crops in {
        "1x1.png": 1,
        "8000x6000.jpg": 1,
        "8000x6000.avi": 1,
        "2x2.avi": 1,
        "grey16.png": 1,
        "alpha.png": 1,
        "one frame.mp4": 1,
        "rotated.mp4": 4,
        "variable rate.mp4": 4,
        "million frames.avi": 4,
        "video named as other video.avi": 4,
        "video named as picture.png": 4,
        "picture named as video.mp4": 1,
        "photo named as video.avi": 1,
    }.items():
        assert rows[name]["crops"] == crops, rows[name]


def test_an_ending_of_another_format_is_noted(folder, rows):
    assert rows["good.mp4"]["notes"] == []
    for name, kind in {
        "picture named as video.mp4": "PNG",
        "video named as picture.png": "MP4 or QuickTime",
        "video named as other video.avi": "MP4 or QuickTime",
    }.items():
        (note,) = rows[name]["notes"]
        assert (
            note == f"its ending is {Path(name).suffix}, but it holds {kind}; the content was read"
        )


def test_nothing_is_a_crash_in_disguise(rows):
    """None of these files crashes the decoder at hand; the next test is about those that do."""
    assert not [row for row in rows.values() if "the decoder" in row["reason"]]


def test_a_decoder_that_crashes_or_hangs_takes_no_worker_down(folder, tmp_path, monkeypatch):
    names = ["a good.mp4", "crash.mp4", "b good.mp4", "hang.mp4", "greedy.mp4", "c good.mp4"]
    for name in names:
        fault = name.removesuffix(".mp4").encode()  # What `broken_decoder` looks for.
        (tmp_path / name).write_bytes((folder[0] / "good.mp4").read_bytes() + fault)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    command = (decoder.sys.executable, "-c", "from broken_decoder import serve; serve()")
    monkeypatch.setattr(decoder, "_COMMAND", command)
    monkeypatch.setattr(decoder, "TIMEOUT_SECONDS", 8.0)
    rows = extract(tmp_path, names, tmp_path)
    for name, reason in {
        "crash.mp4": "the decoder crashed (SIGSEGV)",
        "hang.mp4": "the decoder hung: no progress in 8 s",
        "greedy.mp4": "the decoder ran out of memory",
    }.items():
        assert rows[name]["reason"].startswith(reason)
    assert [rows[name]["crops"] for name in names] == [4, 0, 4, 0, 0, 4]
