"""Measures how the face lies in crops that were cut elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from preprocessing.faces.detector import Face, FaceDetector

# A tight crop is searched with a border around it: MTCNN finds no face that fills the picture.
_CANVAS, _INNER = 192, 112
_MIN_FACE, _MIN_SCORE = 48, 0.6
_BATCH = 32


class CropMeter:
    """Finds the face in crops, which may fill them, with MTCNN.

    Args:
      threads: as of `FaceDetector`.
    """

    def __init__(self, threads: int = 0) -> None:
        self._detector = FaceDetector(_MIN_FACE, _MIN_SCORE, threads)

    def faces(self, crops: Sequence[np.ndarray]) -> list[Face | None]:
        """The largest face of each crop, in pixels of the crop; None where no face is found.

        Args:
          crops: uint8 [height, width, 3] each, RGB.
        """
        faces: list[Face | None] = []
        for start in range(0, len(crops), _BATCH):
            placed = [_on_canvas(pixels) for pixels in crops[start : start + _BATCH]]
            detections = self._detector.detect(np.stack([canvas for canvas, *_ in placed]))
            for candidates, (_, scale, corner) in zip(detections, placed, strict=True):
                face = max(candidates, key=lambda face: face.size, default=None)
                faces.append(face and face.moved(scale, corner))
        return faces


def _on_canvas(pixels: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The crop in the middle of a black square, its scale there, and its corner [2]."""
    height, width = pixels.shape[:2]
    scale = _INNER / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    left, top = (_CANVAS - size[0]) // 2, (_CANVAS - size[1]) // 2
    canvas = np.zeros((_CANVAS, _CANVAS, 3), np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas, scale, np.array([left, top], np.float32)
