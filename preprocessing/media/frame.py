"""A decoded frame, and the choice of a clip's frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
      index: its number in the clip, from 0.
      timestamp_ms: its presentation time in milliseconds (0 for pictures).
      pixels: uint8 [height, width, 3], RGB, in display geometry: upright, with square pixels. All
        black where it was not decoded.
      file: that it was read from; None where that is not known.
      track: of a picture that is one face of a frame already, the number of its track in the clip.
      jpeg: the file's content where it was not decoded; else empty.
    """

    index: int
    timestamp_ms: int
    pixels: np.ndarray
    file: Path | None = None
    track: int = 0
    jpeg: bytes = b""


def undecoded(jpeg: bytes, width: int, height: int, file: Path) -> Frame:
    """The frame of a JPEG file whose pixels nobody asks for; they take no memory."""
    pixels = np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))
    return Frame(0, 0, pixels, file, jpeg=jpeg)


@dataclasses.dataclass(frozen=True)
class MediaInfo:
    """What a file turned out to be.

    Attributes:
      kind: name of its container or picture format, such as `MP4` or `JPEG`.
      codec: of the film, as FFmpeg names it; empty for pictures and animations.
      frames: how many frames it has.
      notes: what a reader of the answer should know, one sentence each: that two streams were
        there, that frames were deinterlaced, that the ending names another format.
    """

    kind: str
    codec: str = ""
    frames: int = 1
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FrameRequest:
    """Which frames are wanted.

    Attributes:
      count: how many, at least 1.
      per_second: when above 0, this many for each second, and at most `count`.
      indices: the numbers of the frames, rising, instead of evenly spread ones.
    """

    count: int
    per_second: float = 0.0
    indices: Sequence[int] | None = None


def middles(total: int, count: int) -> list[int]:
    """Numbers of the frames in the middle of `count` equal parts of `total` frames.

    >>> middles(100, 4)
    [12, 37, 62, 87]
    >>> middles(2, 4)
    [0, 1]
    """
    count = min(total, count)
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]
