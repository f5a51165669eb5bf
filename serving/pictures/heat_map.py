"""Draws on a face which places speak for fake, and which for real."""

from __future__ import annotations

import cv2
import numpy as np

from serving.model.aggregation import probability
from serving.pictures.annotation import HIGH, LOW

# Of the colour, where a place is sure; a face must still be seen below it.
_MOST = 0.6


def heat_map(encoded: bytes, cells: np.ndarray) -> np.ndarray:
    """A crop with the logits of its places in colour.

    Places whose P(fake) is 0 are blue and those where it is 1 vermilion; the nearer it is to a
    half, the less colour there is.

    Args:
      encoded: the crop, JPEG or PNG.
      cells: float [rows, columns], the output `cells` of the signature `explain`.

    Returns:
      uint8 [height, width, 3], RGB, of the crop's size.
    """
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.float32)
    height, width = pixels.shape[:2]
    logits = cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    scores = probability(logits)[..., None].astype(np.float32)
    low, high = np.array(LOW, np.float32), np.array(HIGH, np.float32)
    strength = _MOST * np.abs(2.0 * scores - 1.0)
    colours = np.where(scores > 0.5, high, low)
    drawn: np.ndarray = np.rint((1.0 - strength) * pixels + strength * colours).astype(np.uint8)
    return drawn
