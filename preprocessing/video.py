"""Frames out of media files: evenly sampled, upright, RGB, a bounded number in memory.

Containers lie about their frame count, frame rate and timing, so what `read` returns is what
counts: a clip that ends before its stated end is measured and sampled again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from preprocessing.datasets.clip import IMAGE_ENDINGS

# Larger frames are refused: decoding one would take gigabytes, and no camera makes them.
MAX_PIXELS = 64_000_000


class UnreadableMedia(ValueError):
    """A clip cannot be decoded; the message is the reason that the extraction report gives."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
      index: its number in the clip, from 0.
      timestamp_ms: its presentation time in milliseconds (0 for pictures).
      pixels: uint8 [height, width, 3], RGB, upright.
    """

    index: int
    timestamp_ms: int
    pixels: np.ndarray


def sample_frames(path: str | Path, count: int) -> Iterator[Frame]:
    """Yields up to `count` frames, evenly spread over the clip, in order.

    The clip is divided into `count` equal parts and the middle frame of each is taken, so that
    fades at the very beginning and end are avoided. Clips with fewer frames give all of them.
    Pictures give one.

    Args:
      path: a video or picture file.
      count: how many frames are wanted, at least 1.

    Yields:
      Frames with increasing index.

    Raises:
      UnreadableMedia: the file is empty, not decodable, or holds no frame.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise UnreadableMedia("the file is empty")
        with path.open("rb"):
            pass
    except OSError as error:
        raise UnreadableMedia(f"the file cannot be opened: {error.strerror}") from error
    if path.suffix.lower() in IMAGE_ENDINGS:
        yield _read_image(path)
        return
    with _Video(path) as video:
        total = video.stated_frames
        wanted = middles(total, count)
        if not wanted or not video.reaches(wanted[-1]):
            total = 0
    if total == 0:
        with _Video(path) as video:
            total = video.count_frames()
        if total == 0:
            raise UnreadableMedia("no frame can be decoded")
    with _Video(path) as video:
        yield from video.frames(middles(total, count))


def middles(total: int, count: int) -> list[int]:
    """Numbers of the frames in the middle of `count` equal parts of `total` frames."""
    count = min(total, count)
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]


class _Video:
    """An open video; a context manager, since captures hold threads and file handles."""

    def __init__(self, path: Path):
        # FFmpeg by name: other backends read a '%' in a name as a pattern of pictures.
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise UnreadableMedia("it holds no video that can be decoded")
        size = [
            self._capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        ]
        if size[0] * size[1] > MAX_PIXELS:
            self._capture.release()
            raise UnreadableMedia(f"its frames of {size[0]:.0f}x{size[1]:.0f} pixels are too large")

    def __enter__(self) -> _Video:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    @property
    def stated_frames(self) -> int:
        """The container's claim, 0 when it makes none."""
        stated = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return int(stated) if 0 < stated < 1e9 else 0

    def reaches(self, index: int) -> bool:
        """Whether frame `index` exists; costs one jump instead of decoding all before it."""
        return self._capture.set(cv2.CAP_PROP_POS_FRAMES, index) and self._capture.grab()

    def count_frames(self) -> int:
        total = 0
        while self._capture.grab():
            total += 1
        return total

    def frames(self, indices: list[int]) -> Iterator[Frame]:
        position = 0
        for index in indices:
            while position < index and self._capture.grab():
                position += 1
            timestamp = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            ok, pixels = self._capture.read()
            if not ok:
                return
            position += 1
            yield Frame(index, max(0, round(timestamp)), _to_rgb(pixels))


def _read_image(path: Path) -> Frame:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise UnreadableMedia("the picture cannot be decoded")
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise UnreadableMedia(f"its {pixels.shape[1]}x{pixels.shape[0]} pixels are too large")
    return Frame(0, 0, _to_rgb(pixels))


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
