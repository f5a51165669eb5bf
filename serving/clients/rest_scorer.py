"""Scores over REST."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np

from serving.clients.base import ClientSettings, Scorer, ScoringError, no_output
from serving.clients.deadline_transport import DeadlineTransport, Exchange

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
    """Asks `:predict`, over kept connections, at the first address of the host that answers.

    Args:
      url: `http://host:port` or `https://host:port`, optionally with a path before `/v1`.
      model: see `Scorer`.
      settings: see `Scorer`.
      version: see `Scorer`.
    """

    def __init__(self, url: str, model: str, settings: ClientSettings, version: int | None = None):
        super().__init__(model, settings, version)
        tls = None
        if urllib.parse.urlsplit(url).scheme == "https":
            tls = ssl.create_default_context(cafile=settings.tls_ca or None)
        self._url = f"{url}/v1/models/{urllib.parse.quote(model, safe='')}"
        # Answers come as they are: their size is bounded, and crops do not shrink.
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if settings.token:
            headers["Authorization"] = f"Bearer {settings.token}"
        # Proxies of the environment are for the web, not for a model server.
        self._client = httpx.Client(
            transport=DeadlineTransport(tls),
            headers=headers,
            timeout=None,  # noqa: S113  The transport ends each exchange at its deadline.
            trust_env=False,
        )

    def versions(self, deadline: float | None = None) -> list[int]:
        """See `Scorer.versions`."""
        answer = self._with_retries(
            lambda seconds: self._call("GET", self._url, None, seconds), self._end(deadline)
        )
        try:
            numbers = [
                int(entry["version"])
                for entry in answer["model_version_status"]
                if entry["state"] == "AVAILABLE"
            ]
        except (KeyError, ValueError, TypeError) as error:
            raise self._foreign(f"it holds no versions ({error!r})") from error
        return sorted(numbers, reverse=True)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _request(
        self,
        crops: list[bytes],
        signature: str,
        names: Sequence[str],
        seconds: float,
        version: int | None,
    ) -> dict[str, np.ndarray]:
        values = [{"b64": base64.b64encode(crop).decode("ascii")} for crop in crops]
        body = json.dumps(
            {"signature_name": signature, "inputs": {self.settings.input_name: values}}
        ).encode()
        version_path = f"/versions/{version}" if version is not None else ""
        answer = self._call("POST", f"{self._url}{version_path}:predict", body, seconds)
        if not isinstance(answer, dict) or "outputs" not in answer:
            raise self._foreign("it holds no outputs")
        outputs = answer["outputs"]
        if not isinstance(outputs, dict):  # A model with one output drops its name.
            outputs = dict.fromkeys(names, outputs)
        return {name: _array(outputs, name) for name in names}

    def _foreign(self, what: str) -> ScoringError:
        """For an answer with status 200 that no model server gives, as a proxy's page."""
        return ScoringError(
            "INTERNAL",
            f"the answer of {self._url} is not that of a model server: {what}; check the address",
        )

    def _call(self, method: str, url: str, body: bytes | None, seconds: float) -> Any:
        if self._client.is_closed:
            raise ScoringError("UNAVAILABLE", "this scorer was closed")
        end = time.monotonic() + seconds
        exchange = Exchange(end)
        try:
            try:
                status, data = self._exchange(method, url, body, exchange)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                if exchange.connected or exchange.answered or self._client.is_closed:
                    raise
                # The server closed a connection that had been idle; that is no failure of it.
                status, data = self._exchange(method, url, body, Exchange(end))
        except httpx.TimeoutException as error:
            message = "the server did not answer in time"
            raise ScoringError("DEADLINE_EXCEEDED", message) from error
        except httpx.ConnectError as error:
            raise ScoringError("UNAVAILABLE", f"the server cannot be reached: {error}") from error
        except httpx.HTTPError as error:
            raise ScoringError("UNAVAILABLE", f"the connection was lost: {error}") from error
        try:
            answer = json.loads(data)
        except ValueError as error:
            text = data[:200].decode("utf-8", "replace")
            if status == 200:
                raise self._foreign(f"it is no JSON: {text!r}") from error
            answer = {"error": text}
        if status != 200:
            message = answer.get("error", "") if isinstance(answer, dict) else ""
            raise ScoringError(_CODES.get(status, "UNKNOWN"), message or f"HTTP status {status}")
        return answer

    def _exchange(
        self, method: str, url: str, body: bytes | None, exchange: Exchange
    ) -> tuple[int, bytes]:
        data = bytearray()
        extensions = {"exchange": exchange}
        with self._client.stream(method, url, content=body, extensions=extensions) as response:
            for part in response.iter_raw():
                data += part
                if len(data) > self.settings.max_message_bytes:
                    raise ScoringError("RESOURCE_EXHAUSTED", "the answer is larger than the limit")
        return response.status_code, bytes(data)


def _array(outputs: dict[str, Any], name: str) -> np.ndarray:
    """The numbers of an output, float32.

    Raises:
      ScoringError: it is not there, or holds something else.
    """
    if name not in outputs:
        raise no_output(name)
    try:
        return np.array(outputs[name], np.float32)
    except (ValueError, TypeError) as error:
        raise ScoringError(
            "INTERNAL",
            f"the server's output {name!r} holds no numbers ({error}); is it a model of this "
            "project?",
        ) from error
