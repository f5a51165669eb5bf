"""Receives the body of a request into a temporary file, deleted with the request."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from serving.gateway.body import FORM_BYTES, Body, guess, too_large
from serving.gateway.refusals import Disconnected, Refused, unavailable

_LOG = logging.getLogger(__name__)

# Bytes gathered before a thread writes them: a full disk or a slow one must not hold the loop.
_WRITE_BYTES = 1 << 20
# Enough to tell what a body is that is no picture or video.
_HEAD_BYTES = 512


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file that was sent.

    Attributes:
      path: path of the file; its content says of what kind it is.
      name: name that a form gave it; empty without one.
    """

    path: Path
    name: str


@contextlib.asynccontextmanager
async def uploaded(
    receive: Callable[[], Awaitable[dict]],
    headers: Mapping[bytes, bytes],
    folder: Path,
    limit: int,
    seconds: float,
) -> AsyncIterator[Upload]:
    """Takes the body in.

    Args:
      receive: ASGI receive callable.
      headers: headers of the request.
      folder: folder in which the file is made.
      limit: bytes of the file; counted while they come, whatever the headers say.
      seconds: seconds for all of the body.

    Yields:
      The file.

    Raises:
      Refused: too large, empty, too slow, of a kind that holds no file, or there is no room.
      Disconnected: the client went away.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit + _slack(headers):
        raise too_large(limit)
    handle, name = tempfile.mkstemp(dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            body = Body(headers, file, limit)
            await _receive(receive, body, limit + FORM_BYTES, time.monotonic() + seconds)
        await asyncio.to_thread(_check_head, path)
        yield Upload(path, body.name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _LOG.warning("there is no room for an upload in %s (%s)", folder, error.strerror)
        raise unavailable("there is no room for the file", "busy") from error
    finally:
        path.unlink(missing_ok=True)


async def _receive(receive: Any, body: Body, most: int, end: float) -> None:
    """Feeds the body with at most `most` bytes, before `end`."""
    size = 0
    buffered = bytearray()
    more = True
    while more:
        try:
            message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
        except asyncio.TimeoutError:
            close_connection = ((b"connection", b"close"),)
            raise Refused(
                408, "the file did not arrive in time", "slow_upload", close_connection
            ) from None
        if message["type"] == "http.disconnect":
            raise Disconnected
        buffered += message.get("body", b"")
        more = message.get("more_body", False)
        size += len(message.get("body", b""))
        if size > most:
            raise too_large(most - FORM_BYTES)
        if buffered and (not more or len(buffered) >= _WRITE_BYTES):
            await asyncio.to_thread(body.feed, bytes(buffered))
            buffered.clear()
    body.finish()


def _slack(headers: Mapping[bytes, bytes]) -> int:
    """Bytes that a body may have beyond those of the file in it."""
    is_form = headers.get(b"content-type", b"").lower().startswith(b"multipart/")
    return FORM_BYTES if is_form else 0


def _check_head(path: Path) -> None:
    with path.open("rb") as file:
        reason = guess(file.read(_HEAD_BYTES))
    if reason:
        raise Refused(400, reason, "unreadable")
