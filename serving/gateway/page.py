"""The page that people use; a file of its own, with nothing to fetch."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

_FILE = Path(__file__).parent / "page.html"


def load(max_bytes: int, token: bool) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Reads the page.

    Args:
      max_bytes: of a file, so that the page can refuse larger ones before it sends them.
      token: whether the page must ask for a token.

    Returns:
      The page, and headers that allow nothing but its own script and style.
    """
    text = _FILE.read_text(encoding="utf-8")
    text = text.replace("{{max_bytes}}", str(max_bytes)).replace("{{token}}", str(token).lower())
    policy = (
        f"default-src 'none'; script-src {_hash(text, 'script')}; style-src {_hash(text, 'style')};"
        " img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
    headers = (
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
    )
    return text.encode(), headers


def _hash(text: str, tag: str) -> str:
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"
