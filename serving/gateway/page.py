"""The web page of the gateway, one file that loads nothing else, and the films that it offers."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import re
from pathlib import Path

from serving.model.provenance import Provenance

_FILE = Path(__file__).parent / "page.html"
_EXAMPLES = Path(__file__).parent / "examples"


@functools.cache
def examples() -> dict[str, bytes]:
    """The films to try, by name; `.ci/make_examples.py` makes them."""
    return {path.name: path.read_bytes() for path in _EXAMPLES.glob("*.mp4")}


class Page:
    """The page.

    Args:
      max_bytes: bytes of a file at most, so that the page can refuse larger ones before it sends
        them.
      token: whether the page must ask for a token.

    Attributes:
      headers: HTTP headers that allow nothing but its own script and style, and the file that was
        chosen.
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

    def html(self, warning: str = "", provenance: Provenance | None = None) -> bytes:
        """The page; what it says of the model is text and not markup.

        Args:
          warning: sentence that has to be known before a file is chosen.
          provenance: provenance of the model; None where its card has none.
        """
        parts = [f'<p class="note">{html.escape(warning)}</p>'] if warning else []
        if provenance is not None:
            facts = {title: html.escape(text) for title, text in provenance.facts().items()}
            summary = f"<summary>Model: {facts.pop('Model')}</summary>"
            entries = "".join(f"<dt>{title}</dt><dd>{text}</dd>" for title, text in facts.items())
            parts.append(f'<details class="note">{summary}<dl>{entries}</dl></details>')
        return self._text.replace("{{notes}}", "\n  ".join(parts)).encode()


def _hash(text: str, tag: str) -> str:
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"
