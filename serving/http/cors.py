"""Cross-origin requests (CORS): lets pages of named origins ask, as the Fetch standard has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

# What pages may send; everything else that they need is allowed without asking.
_HEADERS = b"Authorization, Content-Type, Content-Encoding"
_METHODS = b"GET, HEAD, POST, DELETE"
# Seconds for which a browser need not ask again; Chrome takes no more.
_MAX_AGE = b"7200"


class Cors:
    """An ASGI application that adds the headers to the answers of another.

    Preflight requests are answered here, without a token: browsers send none with them.

    Args:
      app: the application.
      origins: such as `https://example.org`; `*` allows all.
    """

    def __init__(self, app: Callable[..., Any], origins: Sequence[str]):
        self._app = app
        self._origins = {origin.encode("latin-1") for origin in origins}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers a request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"")
        extra = self._headers(origin)
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await self._preflight(extra, send)
            return

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _headers(self, origin: bytes) -> list[tuple[bytes, bytes]]:
        exposed = (b"access-control-expose-headers", b"Retry-After, Location")
        if b"*" in self._origins:
            return [(b"access-control-allow-origin", b"*"), exposed]
        # The answer depends on who asks, which caches must know of every answer.
        vary = (b"vary", b"Origin")
        if origin not in self._origins:
            return [vary]
        return [(b"access-control-allow-origin", origin), exposed, vary]

    @staticmethod
    async def _preflight(extra: list[tuple[bytes, bytes]], send: Any) -> None:
        headers = list(extra)
        if any(name == b"access-control-allow-origin" for name, _ in extra):
            headers += [
                (b"access-control-allow-methods", _METHODS),
                (b"access-control-allow-headers", _HEADERS),
                (b"access-control-max-age", _MAX_AGE),
            ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
