"""Finding the faces of a clip's sampled frames: whole frames now and then, known places between.

Faces hardly move between sampled frames, so every fourth frame is searched as a whole (a key
frame), and the frames between two key frames near the faces of both. A frame in which fewer faces
turn up than in its key frames is searched as a whole after all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from preprocessing.detector import Face, FaceDetector
from preprocessing.media.video import Frame

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
        before: list[Face] = []
        waiting: list[Frame] = []
        length = 1
        for frame in frames:
            if waiting and waiting[-1].pixels.shape != frame.pixels.shape:
                yield from self._stretch(before, waiting)
                before, waiting, length = [], [], 1
            waiting.append(frame)
            if len(waiting) == length:
                for done, found in self._stretch(before, waiting):
                    yield done, found
                    before = found
                waiting, length = [], self._interval
        yield from self._stretch(before, waiting)

    def _stretch(
        self, before: list[Face], frames: list[Frame]
    ) -> Iterator[tuple[Frame, list[Face]]]:
        """Frames after a key frame with the faces `before`; the last of them is a key frame."""
        if not frames:
            return
        *between, last = frames
        (after,) = self._detector.detect(last.pixels[None])
        for frame in between:
            (found,) = self._detector.detect_near(frame.pixels[None], [*before, *after])
            if len(found) < max(1, len(before), len(after)):
                (found,) = self._detector.detect(frame.pixels[None])
            yield frame, found
        yield last, after
