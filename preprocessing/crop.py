"""The crop function: the only way from a frame and a box to the pixels that are judged."""

from __future__ import annotations

import cv2
import numpy as np


def square_crop(pixels: np.ndarray, box: np.ndarray, margin: float, max_size: int) -> np.ndarray:
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

    Returns:
      uint8 [side, side, 3].

    Raises:
      ValueError: the box does not touch the frame or has no area.
    """
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = (float(v) for v in box)
    side = round(max(x2 - x1, y2 - y1) * margin)
    left = round((x1 + x2 - side) / 2)
    top = round((y1 + y2 - side) / 2)
    inner = [max(0, left), max(0, top), min(width, left + side), min(height, top + side)]
    if side < 1 or inner[0] >= inner[2] or inner[1] >= inner[3]:
        raise ValueError(f"the box {box} holds no pixel of a {width}x{height} frame")
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
