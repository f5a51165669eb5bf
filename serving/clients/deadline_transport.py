"""A transport of httpx that ends each request at a deadline.

The timeouts of httpx, as those of a socket, start anew with every byte that comes, so that a server
which sends one now and then would never be late.
"""

from __future__ import annotations

import contextvars
import dataclasses
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, cast

import httpcore
import httpx

# Of one send: a socket that takes a body in small pieces gets its timeout anew with each of them.
_PIECE = 1 << 16


@dataclasses.dataclass
class Exchange:
    """One request and its answer, as the socket sees them.

    Attributes:
      end: `time.monotonic` after which every operation of the socket times out.
      connected: whether a connection was opened for it; else it went over a kept one.
      answered: whether a byte of the answer came.
    """

    end: float
    connected: bool = False
    answered: bool = False

    def seconds_left(self, late: type[httpcore.TimeoutException]) -> float:
        """Seconds until the end.

        Args:
          late: raised when there are none.
        """
        remaining = self.end - time.monotonic()
        if remaining <= 0:
            raise late("the deadline passed")
        return remaining


_EXCHANGE: contextvars.ContextVar[Exchange] = contextvars.ContextVar("exchange")


class DeadlineTransport(httpx.HTTPTransport):
    """Keeps connections, as many as threads ask at once.

    A request names its `Exchange` in `extensions["exchange"]`. Threads may share a transport.

    Args:
      tls: TLS context; needed for https only.
    """

    def __init__(self, tls: ssl.SSLContext | None):
        super().__init__(verify=tls or False, trust_env=False)
        # HTTPTransport has no parameter for the backend of its pool.
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls, max_connections=None, network_backend=_Backend()
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request.

        Raises:
          httpx.TransportError: there was no answer; a `httpx.TimeoutException` when it was late.
        """
        _EXCHANGE.set(request.extensions["exchange"])
        return super().handle_request(request)


class _Backend(httpcore.SyncBackend):
    """Opens connections whose operations end with the exchange of their thread."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first of the host's addresses that answers; `timeout` is not used.

        Each address has its share of the time that is left, and the last one all of it.
        """
        exchange = _EXCHANGE.get()
        exchange.connected = True
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for number, (*_, address) in enumerate(addresses):
            left = len(addresses) - number
            seconds = exchange.seconds_left(httpcore.ConnectTimeout) / left
            try:
                return _Stream(
                    super().connect_tcp(
                        cast("str", address[0]), port, seconds, local_address, socket_options or ()
                    )
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _Stream(httpcore.NetworkStream):
    """A connection with the end of an exchange instead of the timeouts that it is given."""

    def __init__(self, stream: httpcore.NetworkStream):
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        exchange = _EXCHANGE.get()
        data = self._stream.read(max_bytes, exchange.seconds_left(httpcore.ReadTimeout))
        exchange.answered = exchange.answered or bool(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        exchange, view = _EXCHANGE.get(), memoryview(buffer)
        for start in range(0, len(view), _PIECE):
            seconds = exchange.seconds_left(httpcore.WriteTimeout)
            self._stream.write(view[start : start + _PIECE], seconds)  # type: ignore[arg-type]

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        seconds = _EXCHANGE.get().seconds_left(httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, seconds))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
