"""Links faces of sampled frames to tracks: one face at one place of one shot.

Sampled frames may be seconds apart, so within a shot the place is the evidence, and it is none
across a cut: a cut ends every track, also that of a person who is seen on both sides of it. So a
forged shot is never averaged with others; what it costs is that clips of many shots have more
tracks, and the highest of more scores is higher by chance. Where a shot goes on after a cut away
(`preprocessing.faces.shots`), its tracks go on with it. Another person at the place of a track is
told by the faces, afterwards (`preprocessing.faces.persons`).
"""

from __future__ import annotations

import collections

import numpy as np
from scipy.optimize import linear_sum_assignment

from preprocessing.faces.detector import Face

# Sampled frames are up to seconds apart, so a face may have moved by most of its own size.
MAX_SHIFT = 1.0
MAX_SIZE_RATIO = 1.8
# A pair that cannot be one face has a finite price, far above any sum of allowed ones.
_FORBIDDEN = 1e6


class Tracker:
    """Links the faces of successive frames.

    Faces are matched to the last known place of each track of the shot so that the summed distance
    is smallest (Hungarian method). A match needs a centre that moved by at most the larger face's
    size and a size that changed at most 1.8 times; what matches nothing starts a new track.

    >>> Tracker().assign([])
    []
    """

    def __init__(self) -> None:
        self._tracks = 0
        self._last: dict[int, dict[int, Face]] = collections.defaultdict(dict)

    def assign(self, faces: list[Face], shot: int = 0) -> list[int]:
        """Takes the faces of the next frame and returns the number of each one's track.

        Args:
          faces: of the frame.
          shot: number of the frame's shot, see `preprocessing.faces.shots`.
        """
        last_faces = self._last[shot]
        numbers = list(last_faces)
        costs = np.array([[_cost(last, face) for face in faces] for last in last_faces.values()])
        tracks = [-1] * len(faces)
        if costs.size:
            rows, columns = linear_sum_assignment(np.where(np.isinf(costs), _FORBIDDEN, costs))
            for row, column in zip(rows, columns, strict=True):
                if np.isfinite(costs[row, column]):
                    tracks[column] = numbers[row]
        for column, face in enumerate(faces):
            if tracks[column] < 0:
                tracks[column] = self._tracks
                self._tracks += 1
            last_faces[tracks[column]] = face
        return tracks


def _cost(last: Face, face: Face) -> float:
    """Distance of the centres in face sizes, infinite where the two cannot be one face."""
    larger, smaller = max(last.size, face.size), min(last.size, face.size)
    ratio = larger / max(smaller, 1e-6)
    centres = [(f.box[:2] + f.box[2:]) / 2 for f in (last, face)]
    shift = float(np.linalg.norm(centres[0] - centres[1])) / max(larger, 1e-6)
    return shift if shift <= MAX_SHIFT and ratio <= MAX_SIZE_RATIO else float("inf")
