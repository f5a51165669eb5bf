"""The body of a request in a temporary file, which is gone when the request is."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from serving.gateway.errors import Disconnected, Refused, unavailable

# Bytes gathered before a thread writes them: a full disk or a slow one must not hold the loop.
_WRITE_BYTES = 1 << 20
# How pictures begin. Names lie, and a browser may send none.
_PICTURES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"BM", ".bmp"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
)
_VIDEO = ".video"


@contextlib.asynccontextmanager
async def uploaded(
    receive: Callable[[], Awaitable[dict]],
    headers: Mapping[bytes, bytes],
    folder: Path,
    limit: int,
    seconds: float,
) -> AsyncIterator[Path]:
    """Takes the body in.

    Args:
      receive: of ASGI.
      headers: of the request.
      folder: where the file is made.
      limit: bytes that are taken; counted while they come, whatever the headers say.
      seconds: for all of the body.

    Yields:
      The file; its ending says whether it begins like a picture.

    Raises:
      Refused: too large, empty, too slow, or there is no room.
      Disconnected: the client went away.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    handle, name = tempfile.mkstemp(dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            await _receive(receive, file, limit, time.monotonic() + seconds)
        typed = path.with_suffix(_ending(path))
        path = path.rename(typed)
        yield path
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise unavailable("there is no room for the file", "busy") from error
    finally:
        path.unlink(missing_ok=True)


async def _receive(receive, file, limit: int, end: float) -> None:
    size = 0
    waiting = bytearray()
    more = True
    while more:
        try:
            message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
        except asyncio.TimeoutError:
            close = ((b"connection", b"close"),)
            raise Refused(408, "the file did not arrive in time", "timeout", close) from None
        if message["type"] == "http.disconnect":
            raise Disconnected
        waiting += message.get("body", b"")
        more = message.get("more_body", False)
        size += len(message.get("body", b""))
        if size > limit:
            raise _too_large(limit)
        if waiting and (not more or len(waiting) >= _WRITE_BYTES):
            await asyncio.to_thread(file.write, bytes(waiting))
            waiting.clear()
    if not size:
        raise Refused(400, "the body is empty; send the picture or video as the body", "unreadable")


def _ending(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    return next((ending for mark, ending in _PICTURES if head.startswith(mark)), _VIDEO)


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the file is larger than {limit} bytes", "too_large")
