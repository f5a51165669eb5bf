"""The quality filter: refuses faces that are too poor to judge, each with its reason.

What it drops is counted in the extraction report under these reasons. It is meant for what nobody
could judge, not for what is hard: faces that a detector meets in the field must be in training.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from preprocessing.faces.crop import roll
from preprocessing.faces.detector import Face

TOO_SMALL = "smaller than the smallest size"
TOO_UNSURE = "detector score too low"
TURNED_AWAY = "turned away too far"
BLURRED = "too little detail"

# Sharpness is measured at this size, so that a threshold means the same for near and far faces.
_SHARPNESS_SIZE = 128
# How far the tip of the nose stands before the line of the eyes, in distances between the eyes
# (adult means: about 38 mm and 63 mm).
_NOSE_DEPTH = 0.6


@dataclasses.dataclass(frozen=True)
class QualityFilter:
    """Judges faces and their crops.

    Args:
      min_size: longer side of the box in pixels of the frame.
      min_score: the detector's probability of a face.
      max_yaw: degrees a face may be turned to its side; see `yaw`. 90 keeps all.
      min_sharpness: see `sharpness`. 0 keeps all.

    >>> QualityFilter(40, 0.8, 90.0, 0.0).why_not(
    ...     Face(np.array([0, 0, 30, 36]), np.zeros((5, 2)), 0.99))
    'smaller than the smallest size'
    """

    min_size: float
    min_score: float
    max_yaw: float
    min_sharpness: float

    def why_not(self, face: Face, crop: np.ndarray | None = None) -> str:
        """The first reason to leave a face out; empty to keep it.

        Args:
          face: the found face.
          crop: uint8 [side, side, 3], RGB, its crop; None leaves sharpness out.
        """
        if face.size < self.min_size:
            return TOO_SMALL
        if face.score < self.min_score:
            return TOO_UNSURE
        if self.max_yaw < 90 and yaw(face.landmarks) > self.max_yaw:
            return TURNED_AWAY
        if crop is not None and self.min_sharpness and sharpness(crop) < self.min_sharpness:
            return BLURRED
        return ""


def sharpness(crop: np.ndarray) -> float:
    """Standard deviation of the Laplacian of the luma, at 128 pixels (smaller crops as they are).

    The usual measure of focus: Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy" (2000). Forgeries are often blurrier than the real faces around them: a high
    threshold would drop them first.

    Args:
      crop: uint8 [height, width, 3], RGB.

    Returns:
      In grey levels; 0 for a plain area.
    """
    height, width = crop.shape[:2]
    scale = _SHARPNESS_SIZE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(luma, cv2.CV_32F).std())


def yaw(landmarks: np.ndarray) -> float:
    """Degrees a face is turned to its left or right, estimated from five points.

    A turn moves the nose from the middle of the eyes by its depth times the sine of the angle, and
    brings the eyes together by the cosine; their ratio gives the tangent. Good to about 10 degrees.

    Args:
      landmarks: [5, 2], x and y of left eye, right eye, nose, left and right mouth corner.

    Returns:
      0 (frontal) to 90; 90 where both eyes are at one place.
    """
    angle = math.radians(roll(landmarks))
    along = np.array([math.cos(angle), math.sin(angle)])
    left, right, nose = (float(along @ point) for point in landmarks[:3])
    if right - left <= 1e-6:
        return 90.0
    offset = abs(nose - (left + right) / 2)
    return math.degrees(math.atan2(offset, _NOSE_DEPTH * (right - left)))
