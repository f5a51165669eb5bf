"""Writes H.264 films that browsers play."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np

# Sides are at most so long, in pixels; players of browsers need no more for looking at faces.
LONGEST_SIDE = 1280
# Presentation times are whole milliseconds.
_TIME_BASE = Fraction(1, 1000)


class FilmWriter:
    """Writes frames into an MP4 file with its index in front; a context manager.

    H.264 with 4:2:0 colour, which every browser plays. The file has its name from the beginning;
    where the work ends early, what was written is no film.

    Args:
      path: the file.
    """

    def __init__(self, path: Path):
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        self._stream: av.VideoStream | None = None
        self._last = -1

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None and kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def add(self, pixels: np.ndarray, milliseconds: int) -> None:
        """Adds a frame.

        Args:
          pixels: uint8 [height, width, 3], RGB; each of the first one's size.
          milliseconds: presentation time of the frame; one that is not after the frame before comes
            1 ms later.
        """
        pixels = _reduced(pixels)
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=25)
            self._stream.height, self._stream.width = pixels.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = _TIME_BASE
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        self._last = max(self._last + 1, milliseconds)
        frame.pts, frame.time_base = self._last, _TIME_BASE
        self._container.mux(self._stream.encode(frame))


def _reduced(pixels: np.ndarray) -> np.ndarray:
    """At most LONGEST_SIDE pixels a side, and even sides, as 4:2:0 wants them."""
    height, width = pixels.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = [max(2, int(side * scale) // 2 * 2) for side in (width, height)]
    if size == [width, height]:
        return pixels
    reduced: np.ndarray = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return reduced
