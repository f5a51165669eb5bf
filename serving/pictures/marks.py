"""Which faces a frame shows and how suspicious they are, between the frames that were judged."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from preprocessing.faces.face_cropper import Crop
    from serving.model.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class JudgedFace:
    """A face that was judged.

    Attributes:
      frame: number of its frame.
      track: number of its track.
      box: float [4], x1, y1, x2, y2 in pixels of the frame.
      score: P(fake).
      jpeg: crop that the model was shown.
    """

    frame: int
    track: int
    box: np.ndarray
    score: float
    jpeg: bytes


@dataclasses.dataclass(frozen=True)
class Mark:
    """A face to be marked in a frame.

    Attributes:
      track: number of its track.
      box: float [4], see `JudgedFace`; between judged frames in a straight line.
      score: P(fake) of the judged face that is nearest in time.
    """

    track: int
    box: np.ndarray
    score: float


def judged_faces(verdict: Verdict, crops: Sequence[Crop]) -> list[JudgedFace]:
    """The crops of a file with their scores, in order of frame and track.

    Args:
      verdict: verdict on the file.
      crops: crops that it was judged by.
    """
    scores = {
        (track.track, moment.frame): moment.score
        for track in verdict.tracks
        for moment in track.timeline
    }
    return [
        JudgedFace(crop.frame.index, crop.track, np.asarray(crop.box, np.float64), score, crop.jpeg)
        for crop in crops
        if (score := scores.get((crop.track, crop.frame.index))) is not None
    ]


def heading_of(verdict: Verdict) -> str:
    """The line above annotated frames, ASCII."""
    return f"{verdict.verdict or 'no verdict'}, P(fake) {verdict.score:.3f}"


class Marks:
    """The marks of each frame of a film.

    A judged frame stands for those up to halfway to the next ones that were looked at. Where a
    track has no face in one of these, it has no mark around it.

    Args:
      faces: judged faces, see `judged_faces`.
      spacing: frames of the film for each one that was sampled, at least 1.
    """

    def __init__(self, faces: Sequence[JudgedFace], spacing: float):
        self._tracks: dict[int, list[JudgedFace]] = {}
        for face in sorted(faces, key=lambda face: face.frame):
            self._tracks.setdefault(face.track, []).append(face)
        self._spacing = spacing

    def at(self, frame: int) -> list[Mark]:
        """The marks of the frame with this number, by track."""
        marks = []
        for track, faces in sorted(self._tracks.items()):
            if (mark := self._mark(track, faces, frame)) is not None:
                marks.append(mark)
        return marks

    def _mark(self, track: int, faces: list[JudgedFace], frame: int) -> Mark | None:
        after = bisect.bisect_left(faces, frame, key=lambda face: face.frame)
        earlier = faces[max(0, after - 1)]
        later = faces[min(after, len(faces) - 1)]
        nearest = min(earlier, later, key=lambda face: abs(face.frame - frame))
        gap = later.frame - earlier.frame
        # Evenly spread frames are the spacing apart, rounded up or down.
        within = earlier.frame <= frame <= later.frame and gap < self._spacing + 1
        if not within and abs(nearest.frame - frame) > self._spacing / 2:
            return None
        box = nearest.box
        if within and gap:
            share = (frame - earlier.frame) / gap
            box = (1.0 - share) * earlier.box + share * later.box
        return Mark(track, box, nearest.score)
