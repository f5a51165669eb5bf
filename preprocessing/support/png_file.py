"""Writing pictures that a command makes for people."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from preprocessing.support.files import place, replacing


def write_png(path: str | Path, pixels: np.ndarray) -> None:
    """Writes a picture; a file of that name is replaced by a whole one.

    Args:
      path: the file.
      pixels: uint8 [height, width, 3], RGB.

    Raises:
      RuntimeError: it could not be encoded.
    """
    ok, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not ok:
        raise RuntimeError(f"the picture {path} could not be encoded")
    with replacing(place(path), binary=True) as file:
        file.write(data.tobytes())
