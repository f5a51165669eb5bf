"""Bearer tokens: from a file, and in requests (RFC 6750)."""

from __future__ import annotations

import hmac
from pathlib import Path

from preprocessing.support.errors import UsageError


def read_token(path: str | None) -> str:
    """The token in a file; empty without one.

    Raises:
      UsageError: the file cannot be read, or is empty.
    """
    if not path:
        return ""
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token file {path} cannot be read: {error}") from error
    if not token:
        raise UsageError(f"the token file {path} is empty")
    return token


def authorized(header: bytes, token: str) -> bool:
    """Whether a request may be answered; takes the same time for every wrong token.

    Args:
      header: value of its `Authorization` header; empty without one.
      token: token that is asked for; empty asks for none.
    """
    return not token or hmac.compare_digest(header, f"Bearer {token}".encode())
