"""Finds the faces of sampled frames: key frames as a whole, the others near known faces.

Faces hardly move between sampled frames, so every fourth frame is searched as a whole (a key
frame), and the frames between two key frames near the faces of both. A frame in which fewer faces
turn up than in its key frames is searched as a whole after all, and so is one that differs from
both (`preprocessing.faces.shots`): their faces tell nothing about another shot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from preprocessing.faces.detector import Face, FaceDetector
from preprocessing.faces.shots import Look
from preprocessing.media.frame import Frame

# Frames from one key frame to the next. They are held in memory, so it also bounds that.
INTERVAL = 4


class SearchedFrame(NamedTuple):
    """A frame and its faces.

    Attributes:
      frame: the frame.
      look: of the frame.
      faces: best first.
    """

    frame: Frame
    look: Look
    faces: list[Face]


class FaceSearch:
    """Searches the sampled frames of clips.

    Args:
      detector: finds the faces.
      interval: frames from one key frame to the next; 1 searches every frame as a whole.
    """

    def __init__(self, detector: FaceDetector, interval: int = INTERVAL):
        if interval < 1:
            raise ValueError(f"interval is {interval}; it must be at least 1")
        self._detector = detector
        self._interval = interval

    def faces(self, frames: Iterable[Frame]) -> Iterator[SearchedFrame]:
        """Yields each frame with its look and its faces.

        Args:
          frames: sampled frames of one clip, in order; at most `interval` of them are held.
        """
        before: _KeyFrame | None = None
        stretch: list[tuple[Frame, Look]] = []
        length = 1
        for frame in frames:
            if stretch and stretch[-1][0].pixels.shape != frame.pixels.shape:
                yield from self._stretch(before, stretch)
                before, stretch, length = None, [], 1
            stretch.append((frame, Look.of(frame.pixels)))
            if len(stretch) == length:
                for searched in self._stretch(before, stretch):
                    before = _KeyFrame(searched.look, searched.faces)
                    yield searched
                stretch, length = [], self._interval
        yield from self._stretch(before, stretch)

    def _stretch(
        self, before: _KeyFrame | None, frames: list[tuple[Frame, Look]]
    ) -> Iterator[SearchedFrame]:
        """Frames after the key frame `before`; the last of them is a key frame."""
        if not frames:
            return
        *between, (last, last_look) = frames
        after = _KeyFrame(last_look, self._detect(last))
        for frame, look in between:
            similar = [key for key in (before, after) if key and not look.differs(key.look)]
            hints = [face for key in similar for face in key.faces]
            (faces,) = self._detector.detect_near(frame.pixels[None], hints)
            if len(faces) < max([1, *(len(key.faces) for key in similar)]):
                faces = self._detect(frame)
            yield SearchedFrame(frame, look, faces)
        yield SearchedFrame(last, last_look, after.faces)

    def _detect(self, frame: Frame) -> list[Face]:
        (faces,) = self._detector.detect(frame.pixels[None])
        return faces


class _KeyFrame(NamedTuple):
    """What is kept of a frame that was searched as a whole."""

    look: Look
    faces: list[Face]
