"""What goes wrong with an object store."""

from __future__ import annotations

import errno


class PassingFault(OSError):
    """The store was busy, away, or cut a transfer: the same request may succeed later."""

    def __init__(self, reason: str, uri: str):
        super().__init__(errno.EIO, reason, uri)


class Unreachable(PassingFault):
    """Nothing answers at the store's address."""


class CredentialsMissing(PermissionError):
    """No credentials were found to ask the store with."""

    def __init__(self, reason: str, uri: str):
        super().__init__(errno.EACCES, reason, uri)


def absent(uri: str) -> FileNotFoundError:
    """The error for an object or a bucket that does not exist."""
    return FileNotFoundError(errno.ENOENT, "there is no such object", uri)


def refused(reason: str, uri: str) -> PermissionError:
    """The error for what the credentials do not allow."""
    return PermissionError(errno.EACCES, f"the store refuses it: {reason}", uri)


def of_status(status: int, reason: str, uri: str) -> OSError:
    """The error for an HTTP status that is no success.

    Args:
      status: of the answer.
      reason: that the store gives.
      uri: of the object or bucket.
    """
    if status == 404:
        return absent(uri)
    if status in (401, 403):
        return refused(reason, uri)
    # 408: the request came too slowly; 429: too many of them.
    if status >= 500 or status in (408, 429):
        return PassingFault(f"the store answers with status {status} ({reason})", uri)
    return OSError(errno.EIO, f"the store answers with status {status} ({reason})", uri)
