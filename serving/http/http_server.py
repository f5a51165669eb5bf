"""Runs uvicorn in a thread, with timeouts and bounds that uvicorn itself lacks.

uvicorn closes idle connections between requests, and nothing else: a client that sends its
request head, its body, or reads its answer one byte a minute keeps a connection for ever. The
protocol class of this module bounds each of the three.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from preprocessing.support.errors import UsageError
from serving.http.options import HttpOptions

_LOG = logging.getLogger(__name__)

# Seconds between the time limit of a body or an answer, at which the application answers, and the
# end of the connection.
_GRACE_SECONDS = 2.0


class TimedProtocol(H11Protocol):
    """HTTP/1.1, and 1.0, with a time limit for request heads, bodies and the reading of answers.

    The rest of a body whose request was answered already is read and thrown away until the time
    limit: closing at once would reset the connection, and the client might never see the answer.

    Args:
      *args: arguments of uvicorn's protocol.
      head_seconds: seconds from the start of a connection, or from the first byte of a later
        request, to the end of the request's head; the connection is closed after them.
      body_seconds: seconds from there to the end of the body, and for the reading of an answer; the
        connection is closed 2 s after them.
      **kwargs: keyword arguments of uvicorn's protocol.
    """

    def __init__(self, *args: Any, head_seconds: float, body_seconds: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.conn = _Connection(h11.SERVER)
        self._seconds = {
            "head": head_seconds,
            "body": body_seconds + _GRACE_SECONDS,
            "answer": body_seconds + _GRACE_SECONDS,
        }
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._lingers = False

    def connection_made(
        self,
        transport: asyncio.Transport,  # type: ignore[override]  # As in uvicorn: TCP has no other.
    ) -> None:
        """Begins to wait for the first request's head."""
        lingering = _LingeringTransport(transport, self._linger)
        super().connection_made(cast("asyncio.Transport", lingering))
        self._begin("head")

    def data_received(self, data: bytes) -> None:
        """Takes bytes of a request; throws them away once its answer is out."""
        if self._lingers:
            return
        super().data_received(data)
        self._note_progress()

    def on_response_complete(self) -> None:
        """Goes on to the next request's head, or to what is left of a body."""
        super().on_response_complete()
        self._note_progress(after_answer=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends all waiting."""
        for part in list(self._timers):
            self._end(part)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begins to wait for a client that reads too slowly."""
        super().pause_writing()
        self._begin("answer")

    def resume_writing(self) -> None:
        """Ends the waiting for the client."""
        super().resume_writing()
        self._end("answer")

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection."""
        super().timeout_keep_alive_handler()
        # Closing waits for the client to read what was written to it.
        self._begin("answer")

    def _linger(self) -> bool:
        """Whether the connection must stay open for the rest of a body that nobody wants."""
        if self._lingers or self.conn.their_state is not h11.SEND_BODY:
            return False
        self._lingers = True
        self.flow.resume_reading()
        return True

    def _note_progress(self, after_answer: bool = False) -> None:
        state = self.conn.their_state
        if state is h11.IDLE:
            self._end("body")
            # Between requests uvicorn's own timer runs, until the next head begins.
            if not after_answer:
                self._begin("head")
            return
        self._end("head")
        if state is h11.SEND_BODY:
            self._begin("body")
        else:
            self._end("body")

    def _begin(self, part: str) -> None:
        if part not in self._timers and not (self.transport.is_closing() and part != "answer"):
            self._timers[part] = self.loop.call_later(self._seconds[part], self._abort, part)

    def _end(self, part: str) -> None:
        if part in self._timers:
            self._timers.pop(part).cancel()

    def _abort(self, part: str) -> None:
        _LOG.info("a connection is closed: the %s took longer than allowed", part)
        self.transport.abort()


class _Connection(h11.Connection):
    """h11's connection, which also keeps connections of HTTP/1.0 whose client asks for it.

    h11 closes them all. Those whose answer has no length are closed as before, since HTTP/1.0 has
    no other way to tell its end.
    """

    _persistent = False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """h11's next event."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._persistent = event.http_version < b"1.1" and _asks_to_be_kept(event)
            if self._persistent:
                # h11 has no public switch for what it turned off in this very call.
                self._cstate.keep_alive = True
        return event

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        """Bytes of an event; answers on a kept connection say that it is kept."""
        if isinstance(event, h11.Response) and self._persistent:
            headers = list(event.headers)
            if not any(name == b"connection" for name, _ in headers):
                event = h11.Response(
                    status_code=event.status_code,
                    headers=[*headers, (b"connection", b"keep-alive")],
                    reason=event.reason,
                )
        return super().send_with_data_passthrough(event)


def _asks_to_be_kept(request: h11.Request) -> bool:
    values = [value.lower() for name, value in request.headers if name == b"connection"]
    options = {option.strip() for value in values for option in value.split(b",")}
    return b"keep-alive" in options and b"close" not in options


class _LingeringTransport:
    """A transport that first lets the other side finish its request when it is closed.

    Args:
      transport: asyncio transport.
      linger: function that is asked when the transport is to be closed; with True only the sending
        side is.
    """

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool]):
        self._transport = transport
        self._linger = linger
        self._lingers = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def close(self) -> None:
        if self._transport.is_closing() or not self._linger():
            self._transport.close()
            return
        self._lingers = True
        if self._transport.can_write_eof():
            self._transport.write_eof()


class HttpServer:
    """uvicorn with an ASGI application, in a thread of its own.

    Args:
      options: address, time limits, TLS.
      app: the application.
      on_failure: function that is called when the thread ended without having been asked to.

    Attributes:
      port: port that it listens on.
      failure: error that the thread died of; None while all is well.

    Raises:
      UsageError: the port is taken, or the TLS files cannot be used.
    """

    def __init__(
        self,
        options: HttpOptions,
        app: Callable[..., Any],
        on_failure: Callable[[], None] = lambda: None,
    ):
        self._socket = _listen(options)
        self.port = self._socket.getsockname()[1]
        self.failure: BaseException | None = None
        self._on_failure = on_failure
        protocol = functools.partial(
            TimedProtocol, head_seconds=options.head_timeout, body_seconds=options.timeout
        )
        config = uvicorn.Config(
            app,
            # uvicorn only calls it.
            http=cast("type[asyncio.Protocol]", protocol),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            date_header=False,
            server_header=False,
            # uvicorn refuses from this number on, and counts the connection that asks.
            limit_concurrency=options.max_connections + 1,
            timeout_keep_alive=options.keep_alive,  # type: ignore[arg-type]  # Any number will do.
            timeout_graceful_shutdown=int(options.drain_seconds) + 1,
            ssl_certfile=options.tls_cert or None,
            ssl_keyfile=options.tls_key or None,
            ssl_ca_certs=options.tls_client_ca or None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if options.tls_client_ca else ssl.CERT_NONE,
        )
        try:
            config.load()
        except OSError as error:
            raise UsageError(f"the TLS files cannot be used: {error}") from error
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begins to answer.

        Raises:
          RuntimeError: the thread died before it answered; the message says of what.
        """
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.01)
        if not self._thread.is_alive():
            raise RuntimeError(
                f"the HTTP server on port {self.port} did not start: {self.failure!r}"
            ) from self.failure

    def stop(self) -> None:
        """Lets the requests that came finish, and returns when they have."""
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
            if self._server.should_exit:
                return
            self.failure = RuntimeError("uvicorn ended by itself")
        except BaseException as error:
            self.failure = error
        _LOG.critical("the HTTP server on port %d died", self.port, exc_info=self.failure)
        self._on_failure()


def _listen(options: HttpOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off: without that, answers wait
    # 40 ms for the client's delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}"
        ) from error
    return listening
