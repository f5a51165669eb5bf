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
    models_config_poll: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_WHAT,
            help="Between looks at --models-config; 0 reads it once.",
        ),
    ] = 0.0
    saved_model_tags: Annotated[
        str,
        typer.Option(
            metavar="TAGS", rich_help_panel=_WHAT, help="Of the meta graph, with commas between."
        ),
    ] = "serve"
    labels_of_unavailable: Annotated[
        bool,
        typer.Option(
            "--labels-of-unavailable",
            rich_help_panel=_WHAT,
            help="Let new labels name versions that do not answer yet.",
        ),
    ] = False
    host: Host = "127.0.0.1"
    port: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=WHERE, help="gRPC; 0 takes a free one.")
    ] = 8500
    rest_port: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=WHERE, help="REST; 0 takes a free one.")
    ] = 8501
    no_rest: Annotated[
        bool, typer.Option("--no-rest", rich_help_panel=WHERE, help="Answer gRPC only.")
    ] = False
    grpc_socket_path: Annotated[
        str,
        typer.Option(
            metavar="PATH", rich_help_panel=WHERE, help="A Unix socket for gRPC, besides the port."
        ),
    ] = ""
    grpc_channel_arguments: Annotated[
        str,
        typer.Option(
            metavar="NAME=VALUE,...",
            rich_help_panel=HOW,
            help="Arguments of gRPC's channels, such as grpc.max_connection_age_ms=60000.",
        ),
    ] = ""
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
        typer.Option(
            metavar="SECONDS", rich_help_panel=HOW, help="Between looks for versions; 0 looks once."
        ),
    ] = 1.0
    load_retries: Annotated[
        int,
        typer.Option(metavar="N", rich_help_panel=HOW, help="Of a version that cannot be loaded."),
    ] = 5
    load_retry_interval: Annotated[
        float, typer.Option(metavar="SECONDS", rich_help_panel=HOW, help="Between them.")
    ] = 60.0
    warmup: Annotated[
        Literal["on", "off"],
        typer.Option(rich_help_panel=HOW, help="Replay a model's warm-up requests."),
    ] = "on"
    warmup_iterations: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=HOW, help="Of each warm-up request.")
    ] = 1
    check_method_names: Annotated[
        bool,
        typer.Option(
            "--check-method-names",
            rich_help_panel=HOW,
            help="Refuse signatures whose method name is not that of the request.",
        ),
    ] = False
    intra_op_threads: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=HOW,
            help="Of TensorFlow, inside an operation.",
            show_default="0, all cores",
        ),
    ] = 0
    inter_op_threads: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=HOW,
            help="Of TensorFlow, operations at once.",
            show_default="0, all cores",
        ),
    ] = 0
    monitoring_config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=HOW,
            help="TensorFlow Serving's monitoring file: path of the metrics page, or none.",
        ),
    ] = None
    profiler: Annotated[
        bool,
        typer.Option(
            "--profiler",
            rich_help_panel=HOW,
            help="Answer gRPC's ProfilerService, which writes files where its clients say.",
        ),
    ] = False
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
    grpc_tls_config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=SECURITY,
            help="TensorFlow Serving's ssl_config_file: TLS of gRPC alone.",
        ),
    ] = None
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
