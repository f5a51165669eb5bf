"""JPEG files that are used as crops without encoding, and where possible decoding, them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image

from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia
from preprocessing.media.source import open_media

# Those that every decoder shows alike; CMYK it may not.
_MODES = ("RGB", "L")
_START, _END = b"\xff\xd8\xff", b"\xff\xd9"


class StoredJpeg(NamedTuple):
    """A JPEG file whose stored pixels are those that it shows.

    Attributes:
      data: its content.
      width: in pixels.
      height: the same.
      complete: whether it ends with the marker of a complete picture.
    """

    data: bytes
    width: int
    height: int
    complete: bool


def stored_jpeg(path: Path, limits: Limits) -> StoredJpeg | None:
    """A JPEG file that can be used as it is.

    Nothing of it is decoded: its header is read by Pillow's parser, which is Python and hence safe
    with files of strangers.

    Args:
      path: the file.
      limits: beyond which files are refused.

    Returns:
      None for a file that has to be decoded to tell what it shows, or what is wrong with it:
      another format, a picture that is stored turned or in other colours than RGB and grey, one
      with a damaged header, one that cannot be opened.
    """
    try:
        with os.fdopen(open_media(path, limits), "rb") as file:
            data = file.read(len(_START))
            if data != _START:
                return None
            data += file.read()
    except (UnreadableMedia, DecodingFailed, OSError):
        return None
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            # Reading the tags of a file that has none would take as long as the rest.
            tagged = not image.info.keys().isdisjoint(("exif", "xmp"))
            turned = tagged and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            if turned or image.mode not in _MODES:
                return None
            return StoredJpeg(data, *image.size, complete=data.endswith(_END))
    except Exception:  # Pillow's parsers fail on damaged headers in every way.
        return None
