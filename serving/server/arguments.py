"""The options of `deepfake serve`; defaults are those of TensorFlow Serving."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import typer

from serving.http.arguments import (
    HOW,
    SECURITY,
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

_WHAT = "what is served"


@dataclasses.dataclass(frozen=True)
class ServerArguments:
    """The arguments of `deepfake serve`; each field has its help."""

    model_base: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=_WHAT,
            help="Folder of version folders (what Pusher writes: OUTPUT/models/NAME).",
            show_default="the starter",
        ),
    ] = None
    model_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_WHAT,
            help="Its name in requests.",
            show_default="the folder's",
        ),
    ] = None
    models_config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_WHAT,
            help="Several models: TensorFlow Serving's models.config.",
        ),
    ] = None
    host: Host = "127.0.0.1"
    port: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=WHERE, help="gRPC; 0 takes a free one.")
    ] = 8500
    rest_port: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=WHERE, help="REST; 0 takes a free one.")
    ] = 8501
    batching: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=HOW,
            help="TensorFlow Serving's batching parameters file.",
        ),
    ] = None
    max_in_flight: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=HOW,
            help="Requests that run or wait; the next is refused with 429.",
        ),
    ] = 64
    slots: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=HOW,
            help="Unbatched requests that run at once.",
            show_default="all cores",
        ),
    ] = None
    rest_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", rich_help_panel=HOW, help="504 after it.")
    ] = 30.0
    poll: Annotated[
        float,
        typer.Option(metavar="SECONDS", rich_help_panel=HOW, help="Between looks for versions."),
    ] = 1.0
    max_message_mb: Annotated[
        int, typer.Option(metavar="MB", rich_help_panel=HOW, help="Of one request.")
    ] = 64
    head_timeout: HeadTimeout = 10.0
    max_connections: MaxConnections = 512
    drain: Drain = 30.0
    until_stdin_closes: UntilStdinCloses = False
    max_body_mb: Annotated[
        int | None,
        typer.Option(
            metavar="MB",
            rich_help_panel=HOW,
            help="Of all REST bodies in the server together; one more is refused with 429.",
            show_default="four times --max-message-mb",
        ),
    ] = None
    tls_cert: TlsCert = ""
    tls_key: TlsKey = ""
    tls_client_ca: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            rich_help_panel=SECURITY,
            help="Ask clients for certificates of it.",
        ),
    ] = ""
    token_file: TokenFile = None
    reload_config: Annotated[
        Literal["on", "off"],
        typer.Option(
            rich_help_panel=SECURITY,
            help="Whether gRPC's HandleReloadConfigRequest, which replaces all served models by "
            "other folders, is answered. With --token-file it is refused all the same until "
            "--reload-token-file is given.",
        ),
    ] = "on"
    reload_token_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=SECURITY,
            help="Bearer token of HandleReloadConfigRequest, instead of that of --token-file.",
        ),
    ] = None
    cors_origin: CorsOrigin = None
