"""Crops of clients may be photos that lie on their side; a served model takes them as stored."""

from __future__ import annotations

import io

# Beginning of an EXIF block in JPEG, and name of the chunk that holds it in PNG.
_MARKS = (b"Exif\0\0", b"eXIf", b"Raw profile type exif")


def upright(crop: bytes) -> bytes:
    """Turns an encoded picture as its EXIF orientation says.

    The model's signatures decode with TensorFlow, which ignores that orientation.

    Args:
      crop: a JPEG or PNG file.

    Returns:
      The same bytes where nothing is to be turned, or the picture cannot be read; else a PNG,
      which loses nothing more.
    """
    if not any(mark in crop for mark in _MARKS):
        return crop
    from PIL import ExifTags, Image, ImageOps

    try:
        with Image.open(io.BytesIO(crop), formats=("JPEG", "PNG")) as image:
            if image.getexif().get(ExifTags.Base.Orientation, 1) in (0, 1):
                return crop
            turned = ImageOps.exif_transpose(image)
            output = io.BytesIO()
            turned.convert("L" if turned.mode == "L" else "RGB").save(output, "PNG")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return crop  # The server says what is wrong with it.
    return output.getvalue()
