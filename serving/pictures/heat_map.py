"""Draws the class activation map of a face over it."""

from __future__ import annotations

import cv2
import numpy as np

from serving.model.aggregation import probability
from serving.pictures.annotation import HIGH, LOW

# Opacity of the colour where P(fake) is 0 or 1; a face must still be seen below it.
_MOST = 0.6


def heat_layer(cells: np.ndarray, width: int, height: int) -> np.ndarray:
    """The class activation map of a crop in colour, to be laid over the crop.

    Positions whose P(fake) is 0 are blue and those where it is 1 vermilion; the nearer it is to a
    half, the less colour there is.

    Args:
      cells: float [rows, columns], the output `cells` of the signature `explain`.
      width: pixels of the crop as it is shown.
      height: pixels, likewise.

    Returns:
      uint8 [height, width, 4], RGB and opacity.
    """
    logits = cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    scores = probability(logits)[..., None]
    colours = np.where(scores > 0.5, np.array(HIGH), np.array(LOW))
    opacity = np.rint(255.0 * _MOST * np.abs(2.0 * scores - 1.0))
    layer: np.ndarray = np.concatenate([colours, opacity], axis=2).astype(np.uint8)
    return layer


def heat_map(encoded: bytes, cells: np.ndarray) -> np.ndarray:
    """A crop with its `heat_layer` over it.

    Args:
      encoded: JPEG or PNG file of the crop.
      cells: class activation map, see `heat_layer`.

    Returns:
      uint8 [height, width, 3], RGB, of the crop's size.
    """
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.float32)
    height, width = pixels.shape[:2]
    layer = heat_layer(cells, width, height).astype(np.float32)
    opacity = layer[..., 3:] / 255.0
    drawn: np.ndarray = np.rint((1.0 - opacity) * pixels + opacity * layer[..., :3])
    return drawn.astype(np.uint8)
