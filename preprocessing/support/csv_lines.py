"""Lines of CSV that every version of Python quotes alike."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def csv_line(values: Iterable[object]) -> str:
    r"""The values as a line of CSV (RFC 4180), without the line's end.

    Before Python 3.13 `csv.writer` quotes a carriage return or a line feed within a value only
    where its line terminator holds that character.

    >>> csv_line(["Icon\r", "a,b", 1])
    '"Icon\r","a,b",1'
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n")
