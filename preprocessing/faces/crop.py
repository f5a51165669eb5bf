"""The crop function: the only way from a frame and a box to the pixels that are judged."""

from __future__ import annotations

import math

import cv2
import numpy as np

# Sides of a square over the longer side of its frame. A face that fills more is a false find, and
# building its square could take any amount of memory.
_MAX_SIDE = 4
# Published crops are a few pixels from square, and are to stay to the byte.
_SKEW = 0.05


def square_crop(
    pixels: np.ndarray, box: np.ndarray, margin: float, max_size: int, angle: float = 0.0
) -> np.ndarray:
    """Cuts a square around a face.

    The square is centred on the box and `margin` times its longer side. Where it reaches beyond
    the frame, the border pixels are repeated: black bars would be a cue of their own. Squares
    are only ever scaled down, because scaling up adds no detail and the model's own preprocessing
    does it.

    Args:
      pixels: uint8 [height, width, 3].
      box: [4], x1, y1, x2, y2 in pixels; may reach beyond the frame.
      margin: side of the square over the longer side of the box, at least 1.
      max_size: longest side of the result in pixels.
      angle: degrees by which the face leans clockwise; the square leans as much, so that the face
        stands upright in it. See `roll`.

    Returns:
      uint8 [side, side, 3].

    Raises:
      ValueError: the box does not touch the frame, has no area, is far larger than the frame,
        or holds something else than numbers.
    """
    height, width = pixels.shape[:2]
    if not np.isfinite(box).all():
        raise ValueError(f"the box {box} holds something else than numbers")
    left, top, side = _square(box, margin)
    inner = [max(0, left), max(0, top), min(width, left + side), min(height, top + side)]
    if side < 1 or inner[0] >= inner[2] or inner[1] >= inner[3]:
        raise ValueError(f"the box {box} holds no pixel of a {width}x{height} frame")
    if side > _MAX_SIDE * max(height, width):
        raise ValueError(f"the box {box} is far larger than a {width}x{height} frame")
    if angle:
        return limit_size(_rotated_crop(pixels, left, top, side, angle), max_size)
    crop = pixels[inner[1] : inner[3], inner[0] : inner[2]]
    crop = cv2.copyMakeBorder(
        crop,
        inner[1] - top,
        top + side - inner[3],
        inner[0] - left,
        left + side - inner[2],
        cv2.BORDER_REPLICATE,
    )
    return limit_size(crop, max_size)


def places_in_crop(
    points: np.ndarray, box: np.ndarray, margin: float, angle: float = 0.0
) -> np.ndarray:
    """Where points of the frame lie in the crop that `square_crop` cuts around a box.

    Args:
      points: [n, 2], x and y in pixels of the frame.
      box: as for `square_crop`.
      margin: as for `square_crop`.
      angle: as for `square_crop`.

    Returns:
      float32 [n, 2], x and y in shares of the crop's side, so that scaling the crop changes
      nothing; outside [0, 1] for points outside the crop. NaN where the box has no area.
    """
    left, top, side = _square(box, margin) if np.isfinite(box).all() else (0, 0, 0)
    if side < 1:
        return np.full(np.shape(points), np.nan, np.float32)
    # Pixel i covers [i, i + 1] of the frame; the square turns about its own centre.
    offset = np.asarray(points, np.float64) + 0.5 - (left, top) - side / 2
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turned = offset @ np.array([[cos, -sin], [sin, cos]])
    return (turned / side + 0.5).astype(np.float32)


def roll(landmarks: np.ndarray) -> float:
    """Degrees by which the line from the left to the right eye falls, clockwise positive.

    Args:
      landmarks: [5, 2], x and y of left eye, right eye, nose, left and right mouth corner.

    Returns:
      Degrees in (-180, 180]; 0 where both eyes are at one place.
    """
    x, y = (float(v) for v in landmarks[1] - landmarks[0])
    return math.degrees(math.atan2(y, x))


def limit_size(crop: np.ndarray, max_size: int) -> np.ndarray:
    """Scales a picture down until its longer side is at most `max_size` pixels."""
    longer = max(crop.shape[:2])
    if longer <= max_size:
        return crop
    size = (
        max(1, round(crop.shape[1] * max_size / longer)),
        max(1, round(crop.shape[0] * max_size / longer)),
    )
    return cv2.resize(crop, size, interpolation=cv2.INTER_AREA)


def nearly_square(height: int, width: int) -> bool:
    """Whether a picture may be a crop as it is: its sides differ by 5% of the longer at most."""
    return abs(height - width) <= _SKEW * max(height, width)


def padded_square(pixels: np.ndarray, max_size: int) -> np.ndarray:
    """The square crop that shows a whole picture, in its middle, with the border pixels repeated.

    Args:
      pixels: uint8 [height, width, 3].
      max_size: longest side of the result in pixels.

    Returns:
      uint8 [side, side, 3]; a square picture of at most `max_size` pixels unchanged.
    """
    # Scaled down first: the square of a narrow strip could take any amount of memory.
    pixels = limit_size(pixels, max_size)
    height, width = pixels.shape[:2]
    return square_crop(pixels, np.array([0, 0, width, height]), 1.0, max_size)


def _square(box: np.ndarray, margin: float) -> tuple[int, int, int]:
    """Left, top and side of a box's square, in pixels of the frame."""
    x1, y1, x2, y2 = (float(v) for v in box)
    side = round(max(x2 - x1, y2 - y1) * margin)
    return round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2), side


def _rotated_crop(pixels: np.ndarray, left: int, top: int, side: int, angle: float) -> np.ndarray:
    centre = (left + (side - 1) / 2, top + (side - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
    matrix[:, 2] -= (left, top)
    return cv2.warpAffine(
        pixels, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
