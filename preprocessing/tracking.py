"""Faces of sampled frames linked to tracks: one track is one person's face through the clip."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from preprocessing.detector import Face

# Sampled frames are up to seconds apart, so a face may have moved by most of its own size.
_MAX_SHIFT = 1.0
_MAX_SIZE_RATIO = 1.8


class Tracker:
    """Links the faces of successive frames.

    Faces are matched to the last known place of each track so that the summed distance is
    smallest (Hungarian method). A match needs a centre that moved by at most one face size and a
    size that changed at most 1.8 times; what matches nothing starts a new track.

    >>> Tracker().assign([])
    []
    """

    def __init__(self) -> None:
        self._last: list[Face] = []

    def assign(self, faces: list[Face]) -> list[int]:
        """Takes the faces of the next frame and returns the number of each one's track."""
        costs = np.array([[_cost(last, face) for face in faces] for last in self._last])
        tracks = [-1] * len(faces)
        if costs.size:
            # A forbidden pair gets a finite price far above any sum of allowed ones.
            rows, columns = linear_sum_assignment(np.where(np.isinf(costs), 1e6, costs))
            for row, column in zip(rows, columns, strict=True):
                if np.isfinite(costs[row, column]):
                    tracks[column] = int(row)
        for column, face in enumerate(faces):
            if tracks[column] < 0:
                tracks[column] = len(self._last)
                self._last.append(face)
            else:
                self._last[tracks[column]] = face
        return tracks


def _cost(last: Face, face: Face) -> float:
    """Distance of the centres in face sizes, infinite where the two cannot be one face."""
    ratio = max(last.size, face.size) / max(min(last.size, face.size), 1e-6)
    centres = [(f.box[:2] + f.box[2:]) / 2 for f in (last, face)]
    shift = float(np.linalg.norm(centres[0] - centres[1])) / max(last.size, face.size, 1e-6)
    return shift if shift <= _MAX_SHIFT and ratio <= _MAX_SIZE_RATIO else float("inf")
