"""The web page of the gateway, one file that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable
from pathlib import Path

_FILE = Path(__file__).parent / "page.html"


class Page:
    """The page.

    Args:
      max_bytes: of a file, so that the page can refuse larger ones before it sends them.
      token: whether the page must ask for a token.

    Attributes:
      headers: that allow nothing but its own script and style, and the file that was chosen.
    """

    def __init__(self, max_bytes: int, token: bool):
        text = _FILE.read_text(encoding="utf-8")
        text = text.replace("{{max_bytes}}", str(max_bytes))
        self._text = text.replace("{{token}}", str(token).lower())
        policy = (
            f"default-src 'none'; script-src {_hash(text, 'script')};"
            f" style-src {_hash(text, 'style')}; img-src data:; media-src blob:;"
            " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.headers = (
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"no-referrer"),
        )

    def html(self, notes: Iterable[str]) -> bytes:
        """The page with notes on the model, which are text and not markup."""
        lines = [f'<p class="note">{html.escape(note)}</p>' for note in notes if note]
        return self._text.replace("{{notes}}", "\n  ".join(lines)).encode()


def _hash(text: str, tag: str) -> str:
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"
