"""The paths of the gateway, as a FastAPI application, and the answers where something is refused.

FastAPI chooses the path, asks for the token and writes the OpenAPI document. It never touches a
body: a body is read from ASGI's `receive`, after admission and within limits.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI, Request, Response, Security
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from fastapi.routing import APIRoute

from serving.gateway import openapi, openapi_jobs
from serving.gateway.metrics import CONTENT_TYPE
from serving.gateway.page import examples
from serving.gateway.refusals import Disconnected, Refused, failed

if TYPE_CHECKING:
    from serving.gateway.app import Gateway
    from serving.gateway.jobs import StoredJob

_JSON = b"application/json"
_HTML = b"text/html; charset=utf-8"


def make_api(gateway: Gateway) -> FastAPI:
    """The application that answers for a gateway."""
    api = FastAPI(
        title=openapi.TITLE,
        version=openapi.project_version(),
        description=openapi.DESCRIPTION,
        # It has a path below, with the headers of all answers. Pages that show it would load
        # their scripts from elsewhere.
        openapi_url=None,
        redirect_slashes=False,
        # The gateway counts by itself, and what clients send goes to nobody else.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        exception_handlers={
            404: _answer_elsewhere,
            405: _answer_elsewhere,
            Refused: _answer_refused,
            Disconnected: _answer_nobody,
            Exception: _answer_failed,
        },
    )
    api.state.gateway = gateway
    api.include_router(_PATHS)
    # Made once, and not while requests wait.
    document = api.openapi()
    for path, method, status, example in openapi_jobs.EXAMPLES:
        content = document["paths"][path][method]["responses"][status]["content"]
        content["application/json"]["example"] = example
    return api


def _gateway(request: Request) -> Gateway:
    # Found by the request: FastAPI remembers functions for good, and a closed gateway must go.
    return cast("Gateway", request.app.state.gateway)


async def _check_path(request: Request) -> None:
    # Starlette's pattern of a path also fits the path with a newline behind it.
    if not _methods_of(request.scope["path"]):
        raise _not_found()


async def _check_token(request: Request, _: Annotated[object, Security(openapi.BEARER)]) -> None:
    # The second parameter is for the document, and nothing else.
    if not _gateway(request).authorized(dict(request.scope["headers"])):
        ask = ((b"www-authenticate", b"Bearer"),)
        raise Refused(401, "a bearer token is needed", "unauthorized", ask)


_PATHS = APIRouter(dependencies=[Depends(_check_path)])
# Page, document and probes go without: a browser must reach the page before anyone can type a
# token, and probes have none.
_TOKEN = [Depends(_check_token)]


# Monitors ask with HEAD, for which the HTTP server leaves the body out.
@_PATHS.head("/", include_in_schema=False)
@_PATHS.get("/", response_class=HTMLResponse, **openapi.PAGE)
async def _page(request: Request) -> Response:
    text, headers = await _gateway(request).page()
    return _answer(_HTML, text, headers=headers)


@_PATHS.head("/examples/{name}", include_in_schema=False)
@_PATHS.get("/examples/{name}", response_class=FileResponse, **openapi.EXAMPLE)
async def _example(request: Request) -> Response:
    film = examples().get(request.path_params["name"])
    if film is None:
        raise Refused(404, "there is no example of this name; the page lists them", "not_found")
    return _answer(b"video/mp4", film)


@_PATHS.head("/openapi.json", include_in_schema=False)
@_PATHS.get("/openapi.json", **openapi.DOCUMENT)
async def _document(request: Request) -> Response:
    return _answer(_JSON, json.dumps(request.app.openapi()).encode())


@_PATHS.head("/healthz", include_in_schema=False)
@_PATHS.get("/healthz", **openapi.ALIVE)
async def _alive() -> Response:
    return _answer(_JSON, b'{"status": "alive"}')


@_PATHS.head("/readyz", include_in_schema=False)
@_PATHS.get("/readyz", **openapi.READY)
async def _ready(request: Request) -> Response:
    return _answer(_JSON, await _gateway(request).ready())


@_PATHS.head("/metrics", include_in_schema=False, dependencies=_TOKEN)
@_PATHS.get("/metrics", response_class=PlainTextResponse, dependencies=_TOKEN, **openapi.METRICS)
async def _metrics(request: Request) -> Response:
    return _answer(CONTENT_TYPE, _gateway(request).metrics_page())


@_PATHS.post("/v1/verdict", dependencies=_TOKEN, **openapi.VERDICT)
async def _verdict(request: Request) -> Response:
    return _answer(_JSON, await _gateway(request).verdict(request.scope, request.receive))


@_PATHS.post("/v1/jobs", dependencies=_TOKEN, status_code=202, **openapi_jobs.NEW_JOB)
async def _new_job(request: Request) -> Response:
    gateway = _gateway(request)
    stored = await gateway.add_job(request.scope, request.receive)
    location = ((b"location", f"/v1/jobs/{stored.name}".encode()),)
    return _answer(_JSON, _status(gateway, stored), 202, location)


@_PATHS.head("/v1/jobs/{job}", include_in_schema=False, dependencies=_TOKEN)
@_PATHS.get("/v1/jobs/{job}", dependencies=_TOKEN, **openapi_jobs.JOB)
async def _job(request: Request) -> Response:
    gateway = _gateway(request)
    return _answer(_JSON, _status(gateway, gateway.jobs.get(request.path_params["job"])))


@_PATHS.delete("/v1/jobs/{job}", dependencies=_TOKEN, status_code=204, **openapi_jobs.END_JOB)
async def _end_job(request: Request) -> Response:
    _gateway(request).jobs.drop(request.path_params["job"])
    response = Response(status_code=204)
    response.raw_headers = [(b"cache-control", b"no-store")]
    return response


@_PATHS.head("/v1/jobs/{job}/overlay.mp4", include_in_schema=False, dependencies=_TOKEN)
@_PATHS.get(
    "/v1/jobs/{job}/overlay.mp4",
    dependencies=_TOKEN,
    response_class=FileResponse,
    **openapi_jobs.OVERLAY,
)
async def _overlay(request: Request) -> Response:
    film = _gateway(request).jobs.get(request.path_params["job"]).film
    if film is None:
        raise Refused(
            404,
            "there is no film, none yet, or none any more; ask for one with overlay=1, and come "
            "when the job is done",
            "not_found",
        )
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return _Film(film, media_type="video/mp4", headers=headers)


def _status(gateway: Gateway, stored: StoredJob) -> bytes:
    return json.dumps(stored.status(gateway.jobs.limits.keep)).encode()


def _methods_of(path: str) -> list[str]:
    """Those that a path takes, sorted; empty where there is no such path."""
    routes = [route for route in _PATHS.routes if isinstance(route, APIRoute)]
    # Not `match`, which also takes a path with a newline behind it.
    methods = [route.methods or () for route in routes if route.path_regex.fullmatch(path)]
    return sorted(itertools.chain.from_iterable(methods))


def _not_found() -> Refused:
    return Refused(
        404, "there is nothing here; POST the file to /v1/verdict or /v1/jobs", "not_found"
    )


def _answer(
    content_type: bytes,
    body: bytes,
    status: int = 200,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Response:
    response = Response(body, status)
    response.raw_headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        *headers,
    ]
    return response


class _Film(FileResponse):
    """A file whose refusals of a `Range` are JSON, as all others; Starlette's are plain text."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Sends the file, or the parts of it that are asked for.

        Raises:
          Refused: 400, the range cannot be read; 416, the file has no such part.
        """

        async def send_unless_refused(message: Any) -> None:
            status = message.get("status")
            if status == 400:
                text = "the Range cannot be read; write bytes=FIRST-LAST, or leave it out"
                raise Refused(status, text, "usage")
            if status == 416:
                headers = [pair for pair in message["headers"] if pair[0] == b"content-range"]
                text = "the film has no such part; Content-Range says how many bytes it has"
                raise Refused(status, text, "usage", tuple(headers))
            await send(message)

        await super().__call__(scope, receive, send_unless_refused)


async def _answer_refused(_: Request, error: Exception) -> Response:
    refused = cast("Refused", error)
    body = json.dumps({"error": refused.message}).encode()
    return _answer(_JSON, body, refused.status, refused.headers)


async def _answer_elsewhere(request: Request, _: Exception) -> Response:
    """404 where there is no such path, 405 where it does not take the method."""
    path = request.scope["path"]
    allowed = _methods_of(path)
    if not allowed:
        return await _answer_refused(request, _not_found())
    allow = ((b"allow", ", ".join(allowed).encode()),)
    text = f"{path} takes {' and '.join(allowed)} only"
    return await _answer_refused(request, Refused(405, text, "not_found", allow))


async def _answer_failed(request: Request, _: Exception) -> Response:
    return await _answer_refused(request, failed())


class _NoAnswer(Response):
    """Sends nothing."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Sends nothing."""


async def _answer_nobody(_: Request, error: Exception) -> Response:
    return _NoAnswer()
