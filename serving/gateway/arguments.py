"""The options of `deepfake gateway`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from serving.gateway.limits import FileLimits, JobLimits
from serving.http.arguments import (
    HOW,
    WHERE,
    CorsOrigin,
    Drain,
    HeadTimeout,
    Host,
    MaxConnections,
    TlsCert,
    TlsKey,
    TokenFile,
    UntilStdinCloses,
)

_MODEL, _LIMITS = "which model", "what a file may need; beyond it is refused"
_JOBS = "jobs, which clients come back for"
_FILE, _JOB = FileLimits(), JobLimits()


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatewayArguments:
    """The arguments of `deepfake gateway`; each field has its help."""

    server: Annotated[
        str,
        typer.Option(
            metavar="URL",
            rich_help_panel=_MODEL,
            help="grpc://HOST:PORT or http://HOST:PORT of TensorFlow Serving or `deepfake serve` "
            "(grpcs and https with TLS).",
        ),
    ] = ""
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_MODEL,
            help="Its name on that server.",
            show_default="the folder's",
        ),
    ] = None
    model_base: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=_MODEL,
            help="The folder of version folders that the server serves; only the files that say "
            "how crops are cut and what scores mean are read.",
            show_default="the starter",
        ),
    ] = None
    false_positive_rate: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            rich_help_panel=_MODEL,
            help="Share of real clips that may be called fake, see `deepfake predict`; a request "
            "may ask for another.",
            show_default="the model's",
        ),
    ] = None
    miss_rate: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            rich_help_panel=_MODEL,
            help="Share of fake clips that may be called real, likewise.",
            show_default="the model's",
        ),
    ] = None
    server_token_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", rich_help_panel=_MODEL, help="Bearer token for that server."),
    ] = None
    server_ca: Annotated[
        str,
        typer.Option(metavar="FILE", rich_help_panel=_MODEL, help="That signed its certificate."),
    ] = ""
    host: Host = "127.0.0.1"
    port: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=WHERE, help="0 takes a free one.")
    ] = 8080
    workers: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=HOW, help="Files at once.")
    ] = 2
    waiting: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=HOW,
            help="Further requests that may upload or wait; one more gets 503.",
        ),
    ] = 6
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=HOW,
            help="For the upload, and again from there to the answer, which also ends the work.",
        ),
    ] = 120.0
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=_JOBS,
            help="That may wait or run; one more gets 503. All workers but one run them, or the "
            "only one.",
        ),
    ] = _JOB.unfinished
    job_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", rich_help_panel=_JOBS, help="For one, once it runs."),
    ] = _JOB.seconds
    job_keep: Annotated[
        float,
        typer.Option(metavar="SECONDS", rich_help_panel=_JOBS, help="For which results are kept."),
    ] = _JOB.keep
    job_film_bytes: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=_JOBS,
            help="Size of all films that are kept; beyond it the oldest are deleted.",
        ),
    ] = _JOB.film_bytes
    head_timeout: HeadTimeout = 10.0
    max_connections: MaxConnections = 512
    drain: Drain = 120.0
    until_stdin_closes: UntilStdinCloses = False
    max_bytes: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Size, after gzip.")
    ] = _FILE.bytes
    max_pixels: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Pixels of a frame.")
    ] = _FILE.pixels
    max_packets: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Packets of a video.")
    ] = _FILE.packets
    max_seconds: Annotated[
        float,
        typer.Option(metavar="SECONDS", rich_help_panel=_LIMITS, help="That a video plays."),
    ] = _FILE.seconds
    worker_memory_mb: Annotated[
        int,
        typer.Option(
            metavar="MB",
            rich_help_panel=_LIMITS,
            help="Data in the memory of a worker, its libraries' included.",
        ),
    ] = _FILE.worker_bytes >> 20
    tls_cert: TlsCert = ""
    tls_key: TlsKey = ""
    token_file: TokenFile = None
    cors_origin: CorsOrigin = None
