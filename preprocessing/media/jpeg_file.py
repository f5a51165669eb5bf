"""JPEG files that are used as crops without encoding them again."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import ExifTags, Image

# Those that every decoder shows alike; CMYK it may not.
_MODES = ("RGB", "L")
_MAGIC = b"\xff\xd8\xff"


def jpeg_shown_as(path: Path, width: int, height: int) -> bytes | None:
    """The bytes of a JPEG file whose stored pixels are those that it shows.

    Only its header is looked at.

    Args:
      path: the file.
      width: of the picture as it is shown, in pixels.
      height: the same.

    Returns:
      The file's content; None for another format, a picture that is stored turned or in other
      colours than RGB and grey, or another size.
    """
    try:
        with path.open("rb") as file:
            data = file.read(len(_MAGIC))
            if data != _MAGIC:
                return None
            data += file.read()
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            if turned or image.mode not in _MODES or image.size != (width, height):
                return None
    except Exception:  # Pillow's parsers fail on damaged headers in every way.
        return None
    return data
