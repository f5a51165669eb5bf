"""Small media files that tests make and then damage."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

_BIT = 16
_BITS = 10


@functools.lru_cache(maxsize=1)
def portrait() -> np.ndarray:
    """uint8 [512, 512, 3], RGB: one frontal face of about 83x107 pixels."""
    from skimage import data

    return data.astronaut()


def face_frame(
    places: Sequence[tuple[int, int, float]], width: int = 320, height: int = 240
) -> np.ndarray:
    """A grey picture with the portrait's head (180 pixels times scale) at each (x, y, scale)."""
    frame = np.full((height, width, 3), 120, np.uint8)
    head = portrait()[20:200, 130:310]
    for x, y, scale in places:
        side = round(180 * scale)
        small = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
        frame[y : y + side, x : x + side] = small[: height - y, : width - x]
    return frame


def numbered_frame(number: int, width: int = 192, height: int = 96) -> np.ndarray:
    """A picture that carries its number in black and white squares along the upper border."""
    frame = np.full((height, width, 3), 90, np.uint8)
    frame[height // 2 :, : width // 2] = (200, 40, 40)
    for bit in range(_BITS):
        value = 235 if number >> bit & 1 else 20
        frame[:_BIT, bit * _BIT : (bit + 1) * _BIT] = value
    return frame


def number_of(frame: np.ndarray) -> int:
    """What `numbered_frame` wrote into a frame, after any compression."""
    middle = frame[_BIT // 2, _BIT // 2 : _BITS * _BIT : _BIT].mean(axis=-1)
    return sum(int(value > 127) << bit for bit, value in enumerate(middle))


def write_video(
    path: Path, frames: Sequence[np.ndarray], fps: float = 25, codec: str = "mp4v"
) -> Path:
    """Writes RGB frames; mp4v and XVID get a key frame each 12 frames, MJPG has only those."""
    size = frames[0].shape[1::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened(), path
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def video_of_sizes(path: Path, frames: Sequence[np.ndarray]) -> Path:
    """Writes RGB frames, each in its own size, as Motion JPEG at 25 frames a second."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mjpeg", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        for number, frame in enumerate(frames):
            ok, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            assert ok
            packet = av.Packet(data.tobytes())
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            film.mux(packet)
    return path


def numbered_video(path: Path, count: int, fps: float = 25, codec: str = "mp4v") -> Path:
    return write_video(path, [numbered_frame(n) for n in range(count)], fps, codec)


def face_video(path: Path, count: int = 8, step: int = 4, **options) -> Path:
    """A head of about 80 pixels that moves to the right by `step` pixels a frame."""
    return write_video(
        path, [face_frame([(20 + step * n, 40, 0.9)]) for n in range(count)], **options
    )


def write_image(path: Path, pixels: np.ndarray) -> Path:
    ok, data = cv2.imencode(path.suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert ok
    path.write_bytes(data.tobytes())
    return path


def set_avi(path: Path, *, frames: int | None = None, rate: int | None = None) -> Path:
    """Changes what an AVI says about its number of frames and its frames a second."""
    data = bytearray(path.read_bytes())
    stream = data.index(b"strh") + 8
    if frames is not None:
        struct.pack_into("<I", data, stream + 32, frames)
        struct.pack_into("<I", data, data.index(b"avih") + 8 + 16, frames)
    if rate is not None:
        struct.pack_into("<I", data, stream + 24, rate)
    path.write_bytes(data)
    return path


def set_rotation(path: Path) -> Path:
    """Tells players of an MP4 to turn the picture by 90 degrees clockwise, as phones do."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    struct.pack_into(">9i", data, matrix, 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def set_durations(path: Path, runs: Sequence[tuple[int, int]]) -> Path:
    """Gives an MP4 a variable frame rate: (frames, duration in time units) for each run."""
    # The edit list would cut the clip off at its old duration.
    data = path.read_bytes().replace(b"edts", b"free")
    assert data.index(b"moov") > data.index(b"mdat"), "offsets into the media would move"
    at = data.index(b"stts") - 4
    (old,) = struct.unpack_from(">I", data, at)
    table = struct.pack(">4sII", b"stts", 0, len(runs))
    table += b"".join(struct.pack(">II", *run) for run in runs)
    table = struct.pack(">I", len(table) + 4) + table
    grown = bytearray(data[:at] + table + data[at + old :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        box = grown.rindex(name, 0, at) - 4
        (size,) = struct.unpack_from(">I", grown, box)
        struct.pack_into(">I", grown, box, size + len(table) - old)
    path.write_bytes(grown)
    return path


def write_clips(root: Path, number: int, name: str) -> None:
    """Writes clips of both classes with a face each, below `real` and `fake`, and one without.

    Args:
      root: of the dataset.
      number: of clips of a class.
      name: of their files, with {label} and {number}.
    """
    for label in ("real", "fake"):
        (root / label).mkdir()
        for clip in range(number):
            frames = [face_frame([(10 * clip + 4 * n, 40, 0.9)]) for n in range(3)]
            write_video(root / label / name.format(label=label, number=clip), frames)
    numbered_video(root / "real" / "faceless.mp4", 3)
