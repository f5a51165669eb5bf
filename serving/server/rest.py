"""The REST interface: TensorFlow Serving's paths, as an ASGI application.

The event loop only moves bytes. Parsing, inference and writing happen in one thread a request, so
that a large body does not hold up the others; status and metrics are answered in the loop and stay
answerable when all threads are taken.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import urllib.parse
import zlib
from concurrent import futures
from typing import Any

from google.protobuf import json_format

from preprocessing.support.versions import json_with_defaults
from serving.http.bearer import authorized
from serving.server import json_answer, json_request, protos
from serving.server.config import ServerOptions
from serving.server.inference import Inference, signature_inputs
from serving.server.metrics import UNKNOWN_MODEL, Metrics
from serving.server.runner import Admission, Ticket
from serving.server.served_model import Target
from serving.server.status_codes import HTTP_STATUS, Code, ServingError, invalid

_LOG = logging.getLogger(__name__)

# Room that is taken at a time for bodies of unknown size.
_STEP_BYTES = 1 << 20
# A request line may name the whole address (RFC 9112, 3.2.2).
_ADDRESS = re.compile(r"https?://[^/?#]*", re.IGNORECASE)

_WHICH = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
_INFERENCE = re.compile(
    r"/v1/models/(?P<name>[^/:]+)" + _WHICH + r":(?P<method>classify|regress|predict)",
    re.IGNORECASE,
)
_STATUS = re.compile(
    r"/v1/models(?:/(?P<name>[^/:]+))?" + _WHICH + r"(?:/(?P<metadata>metadata))?", re.IGNORECASE
)


class RestApi:
    """The ASGI application.

    Args:
      options: limits and the token.
      inference: the methods.
      admission: bound of requests.
      metrics: metrics that the page shows, and in which requests are counted.
    """

    def __init__(
        self, options: ServerOptions, inference: Inference, admission: Admission, metrics: Metrics
    ):
        self._options = options
        self._inference = inference
        self._admission = admission
        self._metrics = metrics
        self._threads = futures.ThreadPoolExecutor(options.max_in_flight, "rest")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers a request, as ASGI has it."""
        if scope["type"] != "http":
            return
        try:
            status, content_type, body = await self._respond(scope, receive)
        except ServingError as error:
            status = 413 if isinstance(error, _TooLarge) else HTTP_STATUS[error.code]
            content_type = b"application/json"
            body = json_answer.error(error)
        except Exception:
            _LOG.exception("a REST request failed")
            failure = ServingError(Code.INTERNAL, "the request failed; the server's log says why")
            status, content_type = 500, b"application/json"
            body = json_answer.error(failure)
        headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: dict[str, Any], receive: Any) -> tuple[int, bytes, bytes]:
        headers = dict(scope["headers"])
        # TensorFlow Serving knows no query: with one, no path is well formed.
        target = scope["raw_path"] + (
            b"?" + scope["query_string"] if scope["query_string"] else b""
        )
        path = _ADDRESS.sub("", target.decode("latin-1"), count=1) or "/"
        method = scope["method"]
        self._check_token(headers)
        if path == self._options.metrics_path:
            return 200, b"text/plain; version=0.0.4; charset=utf-8", self._metrics.page().encode()
        if not path.lower().startswith("/v1/"):
            raise ServingError(Code.NOT_FOUND, "Not found")
        match = _INFERENCE.fullmatch(path) if method == "POST" else None
        if match:
            return 200, b"application/json", await self._infer(match, receive, headers)
        # Monitors ask with HEAD; TensorFlow Serving itself answers that with 400.
        match = _STATUS.fullmatch(path) if method in ("GET", "HEAD") else None
        if match:
            return 200, b"application/json", self._status(match)
        if method == "OPTIONS":
            if not headers.get(b"origin", b"").startswith((b"http://", b"https://")):
                raise ServingError(
                    Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight"
                )
            return 200, b"application/json", b""
        raise invalid(f"Malformed request: {method} {path[:200]}")

    def _check_token(self, headers: dict[bytes, bytes]) -> None:
        if not authorized(headers.get(b"authorization", b""), self._options.token):
            raise ServingError(Code.UNAUTHENTICATED, "a bearer token is needed")

    async def _body(self, receive: Any, headers: dict[bytes, bytes], ticket: Ticket) -> bytearray:
        """Reads the body; room for each part of it is taken before that part is asked for."""
        limit = self._options.max_message_bytes
        length = headers.get(b"content-length", b"")
        # A chunked body's length is its own, whatever else is announced.
        has_length = length.isdigit() and b"transfer-encoding" not in headers
        if has_length:
            if int(length) > limit:
                raise _TooLarge(f"the body is larger than {limit} bytes")
            ticket.reserve(int(length))
        body = bytearray()
        end = time.monotonic() + self._options.rest_timeout
        more = True
        while more:
            if not has_length:
                ticket.reserve(len(body) + _STEP_BYTES)
            try:
                message = await asyncio.wait_for(receive(), end - time.monotonic())
            except asyncio.TimeoutError:
                raise ServingError(Code.DEADLINE_EXCEEDED, "the body did not arrive") from None
            if message["type"] == "http.disconnect":
                raise ServingError(Code.CANCELLED, "the client went away")
            body += message.get("body", b"")
            if len(body) > limit:
                raise _TooLarge(f"the body is larger than {limit} bytes")
            more = message.get("more_body", False)
        return body

    async def _infer(self, match: re.Match, receive: Any, headers: dict[bytes, bytes]) -> bytes:
        start = time.perf_counter()
        name = urllib.parse.unquote(match["name"])
        method = match["method"].lower()
        code = Code.UNKNOWN
        try:
            answer = await self._admit(match, method, receive, headers)
            code = Code.OK
            return answer
        except ServingError as error:
            code = error.code
            raise
        finally:
            model = name if self._inference.manager.known(name) else UNKNOWN_MODEL
            self._metrics.request_count.add(model, code.name)
            if code is Code.OK:  # As TensorFlow Serving: refusals are quick.
                elapsed = (time.perf_counter() - start) * 1e6
                self._metrics.request_latency.observe(model, method, "REST", value=elapsed)

    async def _admit(
        self, match: re.Match, method: str, receive: Any, headers: dict[bytes, bytes]
    ) -> bytes:
        """Answers an inference request; a late one keeps its place until its step has ended."""
        ticket = self._admission.enter()
        try:
            body = await self._body(receive, headers, ticket)
            deadline = time.monotonic() + self._options.rest_timeout
            work = self._threads.submit(
                self._infer_in_thread, match, method, body, headers, ticket, deadline
            )
        except BaseException:
            self._admission.leave(ticket)
            raise
        work.add_done_callback(lambda _: self._admission.leave(ticket))
        answer = asyncio.wrap_future(work)
        done, _ = await asyncio.wait([answer], timeout=deadline - time.monotonic())
        if done:
            return answer.result()
        # Else asyncio reports the error of an answer that nobody waits for.
        answer.add_done_callback(lambda late: late.cancelled() or late.exception())
        raise ServingError(Code.DEADLINE_EXCEEDED, "the model ran too long")

    def _infer_in_thread(
        self,
        match: re.Match,
        method: str,
        body: bytearray | bytes,
        headers: dict[bytes, bytes],
        ticket: Ticket,
        deadline: float,
    ) -> bytes:
        target = _target(match)
        # As TensorFlow Serving: `x-gzip` and lists that name it are meant, too.
        if b"gzip" in headers.get(b"content-encoding", b"").lower():
            body = _unzip(body, self._options.max_message_bytes, ticket)
        document = json_request.parse(body)
        signature = json_request.signature_name(document)
        if method == "predict":
            with self._inference.model(target) as servable:
                infos = signature_inputs(servable, signature)
                inputs, by_rows = json_request.predict_inputs(document, infos)
                outputs = self._inference.predict(servable, signature, inputs, deadline)
                return json_answer.predictions(outputs, by_rows)
        examples = json_request.examples(document)
        with self._inference.model(target) as servable:
            if method == "classify":
                result = self._inference.classify(servable, signature, examples, deadline)
                return json_answer.classifications(result)
            values = self._inference.regress(servable, signature, examples, deadline)
            return json_answer.regressions(values)

    def _status(self, match: re.Match) -> bytes:
        if not match["name"]:
            raise invalid("Missing model name in request.")
        target = _target(match)
        manager = self._inference.manager
        if not match["metadata"]:
            response = protos.status(manager, target)
            text = json_format.MessageToJson(
                response, preserving_proto_field_name=True, **json_with_defaults()
            )
            return text.encode()
        with manager.acquire(target) as servable:
            spec = {"name": servable.name, "signature_name": "", "version": str(servable.version)}
            signatures = json_format.MessageToDict(
                protos.signature_map(servable),
                preserving_proto_field_name=True,
                **json_with_defaults(),
            )
        document = {"model_spec": spec, "metadata": {"signature_def": signatures}}
        return json_answer.pretty(document)


class _TooLarge(ServingError):
    """TensorFlow Serving has no such limit; HTTP has a status of its own for it, 413."""

    def __init__(self, message: str):
        super().__init__(Code.INVALID_ARGUMENT, message)


def _target(match: re.Match) -> Target:
    version = None
    if match["version"] is not None:
        # Python itself converts no number of thousands of digits.
        digits = match["version"].lstrip("0") or "0"
        if len(digits) > 19 or int(digits) >= 1 << 63:
            raise invalid(f"Failed to convert version: {match['version'][:40]} to numeric.")
        version = int(digits)
    return Target(
        urllib.parse.unquote(match["name"]),
        version,
        urllib.parse.unquote(match["label"] or ""),
    )


def _unzip(body: bytearray | bytes, limit: int, ticket: Ticket) -> bytes:
    """Decompresses a gzip body of at most `limit` bytes, for which the ticket must have room."""
    decoder = zlib.decompressobj(wbits=31)
    plain = bytearray()
    compressed: bytearray | bytes = body
    try:
        full = False
        while (compressed or full) and not decoder.eof:
            ticket.reserve(len(body) + len(plain) + _STEP_BYTES)
            part = decoder.decompress(compressed, _STEP_BYTES)
            plain += part
            compressed = decoder.unconsumed_tail
            # What did not fit in may come without more input.
            full = len(part) == _STEP_BYTES
            if len(plain) > limit:
                raise _TooLarge(f"the unpacked body is larger than {limit} bytes")
            if decoder.eof and decoder.unused_data:  # A gzip file may have several members.
                compressed = decoder.unused_data
                decoder = zlib.decompressobj(wbits=31)
    except zlib.error:
        raise invalid("the body is not gzip, but its Content-Encoding says so") from None
    if not decoder.eof:
        raise invalid("the body's gzip stream is cut short")
    return bytes(plain)
