"""Suggests the known name that a mistyped one looks like; imports nothing heavy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known name that it may stand for.

    A known name that begins with the unknown one is taken first, then the most similar one.
    Leading dashes of options do not count.

    Args:
      name: the unknown name.
      known: the names that it may be.

    Returns:
      A clause that continues the message; empty where no known name is similar.

    >>> nearest("margni", ["margin", "size"])
    "; did you mean 'margin'?"
    >>> nearest("--out", ["--model", "--output"])
    "; did you mean '--output'?"
    >>> nearest("colour", ["margin", "size"])
    ''
    """
    by_plain = {other.lstrip("-"): other for other in known}
    plain = name.lstrip("-")
    similar = [other for other in by_plain if other.startswith(plain)] if len(plain) > 1 else []
    similar = similar or difflib.get_close_matches(plain, by_plain, n=1, cutoff=0.5)
    return f"; did you mean {by_plain[similar[0]]!r}?" if similar else ""
