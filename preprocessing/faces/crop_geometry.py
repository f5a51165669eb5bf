"""How a face lies in its square crop.

The share of a crop that the face fills decides a detector's score more than anything else about
the crop: a model that learnt from tight crops knows little about wide ones. So a model's card says
where its training crops have the eyes, and crops of another geometry are cut again or refused.

    (face,) = CropMeter().faces([pixels])
    geometry = Geometry.of(face.landmarks, pixels.shape)

`crop_meter` finds the points in crops that were cut elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from preprocessing.faces.crop import roll
from preprocessing.faces.crop_settings import LANDMARKS, CropOptions, CropSettings

# Mean places of the five points in a crop of margin 1.3, in shares of the side: of 147 crops of
# FaceForensics++ (deviations of 0.02 to 0.08), made symmetric.
TYPICAL_MARGIN = 1.3
TYPICAL_LANDMARKS = np.array(
    [(0.37, 0.42), (0.63, 0.42), (0.50, 0.56), (0.395, 0.705), (0.605, 0.705)], np.float32
)
TYPICAL_EYE_DISTANCE, TYPICAL_EYE_HEIGHT = 0.26, 0.42


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Where a face's points lie in a square crop.

    Scale and place come from all five points, not from the eyes alone: seen from the side, eyes
    come together faster than a face gets small.

    Attributes:
      eye_distance: distance between the eyes of a frontal face of this size, in shares of the
        crop's side.
      eye_x: place of the middle between the eyes of such a face, in shares of the side.
      eye_height: the same from the upper border.
    """

    eye_distance: float
    eye_x: float
    eye_height: float

    @classmethod
    def of(cls, points: np.ndarray, shape: Sequence[int]) -> Geometry:
        """Measures points [5, 2], in pixels, of a crop of shape [height, width, ...].

        Where that is no square, its longer side is the unit.
        """
        side = float(max(shape[:2]))
        scale, centre = fit(points)
        eyes = centre + scale * (_EYES - _CENTRE)
        return cls(
            scale * TYPICAL_EYE_DISTANCE / side, float(eyes[0] / side), float(eyes[1] / side)
        )


def fit(points: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and centre of the typical face that lies as five points do.

    Args:
      points: [5, 2], x and y in any unit.

    Returns:
      What the typical landmarks, less their mean, are to be multiplied with for the same root mean
      square distance from the mean (which no turn of the picture changes), and the points' mean
      [2].
    """
    points = np.asarray(points, np.float64)
    centre = points.mean(axis=0)
    return float(np.sqrt(((points - centre) ** 2).sum(axis=1).mean()) / _SPREAD), centre


def square_of(
    points: np.ndarray, eye_distance: float, eye_height: float, angle: float = 0.0
) -> np.ndarray:
    """The square in which a face has the eyes where they are wanted.

    Args:
      points: [5, 2], x and y in pixels of the frame.
      eye_distance: see Geometry.
      eye_height: see Geometry.
      angle: degrees by which square and face lean clockwise, see `crop.square_crop`.

    Returns:
      float32 [4], x1, y1, x2, y2 of the square, not yet turned, in pixels of the frame.
    """
    scale, centre = fit(points)
    side = scale * TYPICAL_EYE_DISTANCE / eye_distance
    # From the points' mean to the eyes, and from there to the square's centre.
    x, y = scale * (_EYES - _CENTRE) + side * np.array([0.0, 0.5 - eye_height])
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    centre = centre + np.array([cos * x - sin * y, sin * x + cos * y])
    return np.concatenate([centre - side / 2, centre + side / 2]).astype(np.float32)


def crop_box(
    settings: CropSettings, box: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, float]:
    """The box and the margin whose square, see `crop.square_crop`, is a face's crop.

    Args:
      settings: say which square is wanted.
      box: [4], of the face; where the files are crops already, what is taken of the file.
      points: [5, 2], the face's landmarks, in pixels of the frame.
    """
    if settings.precropped:
        return box, 1.0
    if settings.crop_by == LANDMARKS:
        angle = roll(points) if settings.align else 0.0
        return square_of(points, settings.eye_distance, settings.eye_height, angle), 1.0
    return box, settings.margin


def wanted_geometry(settings: CropOptions) -> Geometry:
    """Where crops of these settings have the eyes; with `crop_by=box` on average."""
    if settings.crop_by == LANDMARKS:
        return Geometry(settings.eye_distance, 0.5, settings.eye_height)
    zoom = TYPICAL_MARGIN / settings.margin
    return Geometry(TYPICAL_EYE_DISTANCE * zoom, 0.5, 0.5 - (0.5 - TYPICAL_EYE_HEIGHT) * zoom)


_EYES = TYPICAL_LANDMARKS[:2].mean(axis=0).astype(np.float64)
_CENTRE = TYPICAL_LANDMARKS.mean(axis=0).astype(np.float64)
_SPREAD = float(np.sqrt(((TYPICAL_LANDMARKS - _CENTRE) ** 2).sum(axis=1).mean()))
