"""Finding the faces of a clip's sampled frames: whole frames now and then, known places between.

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

    def faces(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Face]]]:
        """Yields each frame with its faces, best first.

        Args:
          frames: sampled frames of one clip, in order; at most `interval` of them are held.
        """
        before: _KeyFrame | None = None
        waiting: list[Frame] = []
        length = 1
        for frame in frames:
            if waiting and waiting[-1].pixels.shape != frame.pixels.shape:
                yield from self._stretch(before, waiting)
                before, waiting, length = None, [], 1
            waiting.append(frame)
            if len(waiting) == length:
                for done, found in self._stretch(before, waiting):
                    yield done, found
                before = _KeyFrame(found, Look.of(frame.pixels))
                waiting, length = [], self._interval
        yield from self._stretch(before, waiting)

    def _stretch(
        self, before: _KeyFrame | None, frames: list[Frame]
    ) -> Iterator[tuple[Frame, list[Face]]]:
        """Frames after the key frame `before`; the last of them is a key frame."""
        if not frames:
            return
        *between, last = frames
        (found,) = self._detector.detect(last.pixels[None])
        after = _KeyFrame(found, Look.of(last.pixels))
        for frame in between:
            look = Look.of(frame.pixels)
            near = [key for key in (before, after) if key and not look.differs(key.look)]
            hints = [face for key in near for face in key.faces]
            (found,) = self._detector.detect_near(frame.pixels[None], hints)
            if len(found) < max([1, *(len(key.faces) for key in near)]):
                (found,) = self._detector.detect(frame.pixels[None])
            yield frame, found
        yield last, after.faces


class _KeyFrame(NamedTuple):
    """What is known of a frame that was searched as a whole."""

    faces: list[Face]
    look: Look
