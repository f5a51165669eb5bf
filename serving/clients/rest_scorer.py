"""Scores over REST, with nothing beyond the standard library."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse
from typing import Any

import numpy as np

from serving.clients.scorer import Scorer, Scores, ScoringError, Settings

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

    def __init__(self, url: str, model: str, settings: Settings, version: int | None = None):
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
        self._connections: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()

    def versions(self) -> list[int]:
        answer = self._call("GET", self._path, None, self.settings.deadline)
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

    def _request(self, crops: list[bytes], seconds: float) -> Scores:
        settings = self.settings
        values = [{"b64": base64.b64encode(crop).decode("ascii")} for crop in crops]
        body = json.dumps(
            {"signature_name": settings.signature, "inputs": {settings.input_name: values}}
        ).encode()
        version = f"/versions/{self.version}" if self.version is not None else ""
        answer = self._call("POST", f"{self._path}{version}:predict", body, seconds)
        outputs = answer["outputs"]
        if not isinstance(outputs, dict):  # A model with one output drops its name.
            outputs = {settings.score_name: outputs, settings.output_name: outputs}
        try:
            return Scores(
                np.array(outputs[settings.score_name], np.float32),
                np.array(outputs[settings.output_name], np.float32),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ScoringError("INTERNAL", f"the answer holds no scores ({error})") from error

    def _call(self, method: str, path: str, body: bytes | None, seconds: float) -> Any:
        end = time.monotonic() + seconds
        connection, fresh = self._connection(seconds)
        try:
            status, data = self._exchange(connection, method, path, body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self._drop(connection)
            if fresh:
                raise ScoringError("UNAVAILABLE", f"the connection was lost: {error}") from error
            # The server closed a connection that had been idle; that is no failure of it.
            connection, _ = self._connection(max(end - time.monotonic(), 0.001))
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

    def _connection(self, seconds: float) -> tuple[http.client.HTTPConnection, bool]:
        connection = getattr(self._local, "connection", None)
        fresh = connection is None
        if fresh:
            if self._tls:
                connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls)
            else:
                connection = http.client.HTTPConnection(self._host, self._port)
            self._local.connection = connection
            with self._lock:
                self._connections.add(connection)
        connection.timeout = seconds
        if connection.sock is not None:
            connection.sock.settimeout(seconds)
        return connection, fresh or connection.sock is None

    def _lost(self, connection, error: Exception) -> ScoringError:
        self._drop(connection)
        if isinstance(error, socket.timeout):
            return ScoringError("DEADLINE_EXCEEDED", "the server did not answer in time")
        return ScoringError("UNAVAILABLE", f"the server cannot be reached: {error}")

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        with self._lock:
            self._connections.discard(connection)
        self._local.connection = None
