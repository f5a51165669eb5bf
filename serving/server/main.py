"""`deepfake serve`: start, and the drain on SIGTERM.

Nothing here imports TensorFlow before the arguments were understood.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.errors import UsageError
from preprocessing.quiet import load_tensorflow
from serving.server.arguments import ServerArguments

if TYPE_CHECKING:
    from serving.server.config import ServerOptions
    from serving.server.server import Server

_LOG = logging.getLogger(__name__)

# CPython lets a thread run for 5 ms before another that waits gets its turn; an answer waits for
# several turns.
_SWITCH_SECONDS = 0.0005


def check_cors(origins: Sequence[str]) -> None:
    """Raises UsageError unless each origin is `*` or scheme://host[:port]."""
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s@]+", origin):
            raise UsageError(
                f"--cors-origin {origin!r} is no origin; write https://HOST or https://HOST:PORT, "
                "without a path"
            )


def run(arguments: ServerArguments) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit status.

    One line of JSON on standard output says when it answers and where; the log goes to standard
    error.

    Raises:
      UsageError: an argument or file cannot be used, or a port is taken.
      RuntimeError: REST did not start.
    """
    options = _options(arguments)
    models = _models(arguments)
    # Now, and not after the seconds that importing TensorFlow takes.
    for port in (options.port, options.rest_port):
        _check_free(options.host, port)
    set_up_log()
    load_tensorflow()

    from serving.server.server import Server

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sys.setswitchinterval(_SWITCH_SECONDS)
    thread_failures = end_with_threads(stop)
    server = Server(models, options, on_failure=stop.set)
    try:
        server.start()
    except RuntimeError:
        server.stop()
        raise
    # Modules and their functions live for ever; collections after a swap need not walk them.
    gc.collect()
    gc.freeze()
    if not (server.failed or thread_failures):
        print(_ready_line(options, server), flush=True)
    if arguments.until_stdin_closes:
        threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    stop.wait()
    _LOG.info("draining")
    if server.stop():
        return 1 if server.failed or thread_failures else 0
    # A request that cannot be interrupted still holds its thread, and an orderly end would wait.
    logging.shutdown()
    os._exit(1)


def _ready_line(options: ServerOptions, server: Server) -> str:
    scheme = "https" if options.tls_cert else "http"
    ready = {
        "grpc": f"{options.host}:{server.grpc_port}",
        "rest": f"{scheme}://{options.host}:{server.rest_port}",
        "models": server.manager.summary(),
    }
    return json.dumps({"serving": ready})


def end_with_threads(stop: threading.Event) -> list[str]:
    """Has an exception that ends a thread end the process, too.

    The threads of a server are there for its whole life: without the one that polls versions,
    say, it would answer, and never serve a new version.

    Args:
      stop: set when a thread died.

    Returns:
      A list to which the names of threads that died are added.
    """
    names: list[str] = []

    def ended(failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread else "unknown"
        given = (failure.exc_type, failure.exc_value, failure.exc_traceback)
        _LOG.critical("the thread %s died; this process ends", name, exc_info=given)
        names.append(name)
        stop.set()

    threading.excepthook = ended
    return names


def main() -> int:
    """`python -m serving.server`, which is what `deepfake serve` does."""
    from preprocessing.command_line import call, from_options, single

    return call(single(from_options(ServerArguments)(run)), "python -m serving.server")


def _options(arguments: ServerArguments) -> ServerOptions:
    from serving.server.config import ServerOptions, read_batching_config

    _check(arguments)
    return ServerOptions(
        host=arguments.host,
        port=arguments.port,
        rest_port=arguments.rest_port,
        rest_timeout=arguments.rest_timeout,
        poll_seconds=arguments.poll,
        max_in_flight=arguments.max_in_flight,
        max_message_bytes=arguments.max_message_mb << 20,
        max_body_bytes=(arguments.max_body_mb or 4 * arguments.max_message_mb) << 20,
        max_connections=arguments.max_connections,
        head_timeout=arguments.head_timeout,
        cors_origins=tuple(arguments.cors_origin or ()),
        slots=arguments.slots or os.cpu_count() or 1,
        batching=read_batching_config(arguments.batching) if arguments.batching else None,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        tls_client_ca=arguments.tls_client_ca,
        token=read_token(arguments.token_file),
        reload_config=arguments.reload_config == "on",
        reload_token=read_token(arguments.reload_token_file),
        drain_seconds=arguments.drain,
    )


def _check(arguments: ServerArguments) -> None:
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise UsageError("--tls-cert and --tls-key go together")
    if arguments.tls_client_ca and not arguments.tls_cert:
        raise UsageError("--tls-client-ca needs --tls-cert and --tls-key")
    for path in (arguments.tls_cert, arguments.tls_key, arguments.tls_client_ca):
        if path and not Path(path).is_file():
            raise UsageError(f"there is no file {path}")
    for name in (
        "max_in_flight", "max_message_mb", "rest_timeout", "poll", "max_connections",
        "head_timeout",
    ):  # fmt: skip
        if getattr(arguments, name) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0")
    for name in ("port", "rest_port"):
        if not 0 <= getattr(arguments, name) < 1 << 16:
            raise UsageError(f"--{name.replace('_', '-')} must be 0 to 65535")
    if arguments.max_body_mb is not None and arguments.max_body_mb < arguments.max_message_mb:
        raise UsageError(
            f"--max-body-mb {arguments.max_body_mb} must be at least --max-message-mb "
            f"({arguments.max_message_mb})"
        )
    if arguments.reload_token_file and arguments.reload_config == "off":
        raise UsageError("--reload-token-file needs --reload-config on")
    check_cors(arguments.cors_origin or ())
    if arguments.slots is not None and arguments.slots < 1:
        raise UsageError("--slots must be at least 1")


def read_token(path: str | None) -> str:
    """The token in a file; empty without one.

    Raises:
      UsageError: the file cannot be read, or is empty.
    """
    if not path:
        return ""
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token file {path} cannot be read: {error}") from error
    if not token:
        raise UsageError(f"the token file {path} is empty")
    return token


def _models(arguments: ServerArguments) -> list:
    from serving.server.config import ModelConfig, read_models_config

    if bool(arguments.model_base) == bool(arguments.models_config):
        raise UsageError("give --model-base or --models-config, and not both")
    if arguments.models_config:
        return read_models_config(arguments.models_config)
    base = Path(arguments.model_base).resolve()
    if not base.is_dir():
        raise UsageError(f"{arguments.model_base} is not a folder; give the folder of versions")
    if (base / "saved_model.pb").is_file():
        raise UsageError(
            f"{arguments.model_base} is one version; give the folder that it is in ({base.parent})"
        )
    return [ModelConfig(arguments.model_name or base.name, str(base))]


def _check_free(host: str, port: int) -> None:
    if port == 0:
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose --host, --port or "
            "--rest-port"
        ) from error


def set_up_log() -> None:
    """Logs to standard error, the libraries' own lines from warnings on."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    # A full disk below the log must not end the server, nor print a traceback per line.
    logging.raiseExceptions = False
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("absl").setLevel(logging.WARNING)
