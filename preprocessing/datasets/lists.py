"""Reads the lists that come with datasets: text files that any editor may have saved."""

from __future__ import annotations

import codecs
from pathlib import Path

# The longer marks come first: UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_list(path: Path, errors: str = "strict") -> str:
    """Reads a text file, with or without a byte order mark, which is left out.

    Args:
      path: the file. Without a mark it is taken for UTF-8; with one, for UTF-8, UTF-16 or UTF-32
        as the mark says (Windows PowerShell writes UTF-16).
      errors: what happens to bytes that the encoding does not allow, as in `bytes.decode`.

    Raises:
      OSError: it cannot be read.
      ValueError: it is not text of that encoding.
    """
    data = path.read_bytes()
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors)
    return data.decode("utf-8-sig", errors)
