"""Scores over REST, with nothing beyond the standard library."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import ssl
import threading
import time
import urllib.parse
from typing import Any

import numpy as np

from serving.clients.base import ClientSettings, CropScores, Scorer, ScoringError

# The reverse of model_servers/http_server.cc, where one HTTP status stands for several codes.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RestScorer(Scorer):
    """Asks `:predict`, over one kept connection a thread.

    Args:
      url: `http://host:port` or `https://host:port`, optionally with a path before `/v1`.
      model: see `Scorer`.
      settings: see `Scorer`.
      version: see `Scorer`.
    """

    def __init__(self, url: str, model: str, settings: ClientSettings, version: int | None = None):
        super().__init__(model, settings, version)
        parts = urllib.parse.urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._tls = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=settings.tls_ca or None)
        self._path = f"{parts.path}/v1/models/{urllib.parse.quote(model, safe='')}"
        self._headers = {"Content-Type": "application/json"}
        if settings.token:
            self._headers["Authorization"] = f"Bearer {settings.token}"
        self._local = threading.local()
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()

    def versions(self, deadline: float | None = None) -> list[int]:
        seconds = self.settings.deadline if deadline is None else deadline
        answer = self._call("GET", self._path, None, seconds)
        found = [
            int(entry["version"])
            for entry in answer["model_version_status"]
            if entry["state"] == "AVAILABLE"
        ]
        return sorted(found, reverse=True)

    def close(self) -> None:
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def _request(self, crops: list[bytes], seconds: float, version: int | None) -> CropScores:
        settings = self.settings
        values = [{"b64": base64.b64encode(crop).decode("ascii")} for crop in crops]
        body = json.dumps(
            {"signature_name": settings.signature, "inputs": {settings.input_name: values}}
        ).encode()
        which = f"/versions/{version}" if version is not None else ""
        answer = self._call("POST", f"{self._path}{which}:predict", body, seconds)
        outputs = answer["outputs"]
        if not isinstance(outputs, dict):  # A model with one output drops its name.
            outputs = {settings.score_name: outputs, settings.output_name: outputs}
        try:
            return CropScores(
                np.array(outputs[settings.score_name], np.float32),
                np.array(outputs[settings.output_name], np.float32),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ScoringError("INTERNAL", f"the answer holds no scores ({error})") from error

    def _call(self, method: str, path: str, body: bytes | None, seconds: float) -> Any:
        end = time.monotonic() + seconds
        connection, fresh = self._connection(end)
        try:
            status, data = self._exchange(connection, method, path, body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self._drop(connection)
            if fresh:
                raise ScoringError("UNAVAILABLE", f"the connection was lost: {error}") from error
            # The server closed a connection that had been idle; that is no failure of it.
            connection, _ = self._connection(end)
            status, data = self._exchange_once(connection, method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(connection, error) from error
        try:
            answer = json.loads(data)
        except ValueError:
            answer = {"error": data[:200].decode("utf-8", "replace")}
        if status != 200:
            message = answer.get("error", "") if isinstance(answer, dict) else ""
            raise ScoringError(_CODES.get(status, "UNKNOWN"), message or f"HTTP status {status}")
        return answer

    def _exchange_once(self, connection, method, path, body) -> tuple[int, bytes]:
        try:
            return self._exchange(connection, method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(connection, error) from error

    def _exchange(self, connection, method, path, body) -> tuple[int, bytes]:
        connection.request(method, path, body=body, headers=self._headers)
        response = connection.getresponse()
        data = response.read(self.settings.max_message_bytes + 1)
        if len(data) > self.settings.max_message_bytes:
            self._drop(connection)
            raise ScoringError("RESOURCE_EXHAUSTED", "the answer is larger than the limit")
        return response.status, data

    def _connection(self, end: float) -> tuple[_Connection, bool]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = _Connection(self._host, self._port, self._tls)
            self._local.connection = connection
            with self._lock:
                self._connections.add(connection)
        connection.end = end
        return connection, connection.sock is None

    def _lost(self, connection: _Connection, error: Exception) -> ScoringError:
        self._drop(connection)
        if isinstance(error, TimeoutError):
            return ScoringError("DEADLINE_EXCEEDED", "the server did not answer in time")
        return ScoringError("UNAVAILABLE", f"the server cannot be reached: {error}")

    def _drop(self, connection: _Connection) -> None:
        connection.close()
        with self._lock:
            self._connections.discard(connection)
        self._local.connection = None


class _Connection(http.client.HTTPConnection):
    """A connection whose requests have an end.

    A socket's own timeout starts anew with every byte that comes, so that a server which sends
    one now and then would never be late.

    Args:
      host: name or address.
      port: of TCP; None takes the protocol's.
      tls: how to speak TLS; None speaks plain HTTP.

    Attributes:
      end: `time.monotonic` after which every operation raises `TimeoutError`.
    """

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext | None):
        super().__init__(host, port or (443 if tls else 80))
        self._tls = tls
        self.end = 0.0

    def connect(self) -> None:
        plain = self._reach()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            plain.settimeout(self.seconds_left())
            try:
                plain = self._tls.wrap_socket(plain, server_hostname=self.host)
            except BaseException:
                plain.close()
                raise
        self.sock = _TimedSocket(plain, self)

    def seconds_left(self) -> float:
        """Seconds until the end.

        Raises:
          TimeoutError: there are none.
        """
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        return left

    def _reach(self) -> socket.socket:
        """Connects to the first of the host's addresses that answers."""
        failure: OSError | None = None
        for *_, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            try:
                return socket.create_connection(address[:2], timeout=self.seconds_left())
            except OSError as error:
                failure = error
        raise failure or OSError(f"{self.host} has no address")


class _TimedSocket:
    """What `http.client` uses of a socket, with the connection's end instead of a timeout."""

    def __init__(self, plain: socket.socket, connection: _Connection):
        self._plain = plain
        self._connection = connection

    def sendall(self, data: bytes) -> None:
        self._plain.settimeout(self._connection.seconds_left())
        self._plain.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._plain, self._connection))

    def close(self) -> None:
        self._plain.close()


class _TimedReader(io.RawIOBase):
    """Reads from a socket until the connection's end."""

    def __init__(self, plain: socket.socket, connection: _Connection):
        self._plain = plain
        # This file keeps the socket open when the connection is handed over to its last answer.
        self._file = plain.makefile("rb", buffering=0)
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        self._plain.settimeout(self._connection.seconds_left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
