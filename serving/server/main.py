"""`deepfake serve`: arguments, start, and the drain on SIGTERM.

Nothing here imports TensorFlow before the arguments were understood.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from preprocessing.errors import UsageError
from preprocessing.quiet import load_tensorflow

_LOG = logging.getLogger(__name__)

# CPython lets a thread run for 5 ms before another that waits gets its turn; an answer waits for
# several turns.
_SWITCH_SECONDS = 0.0005


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `deepfake serve`; defaults are those of TensorFlow Serving."""
    what = parser.add_argument_group("what is served")
    what.add_argument(
        "--model-base",
        metavar="DIR",
        help="folder of version folders (what Pusher writes: OUTPUT/models/NAME)",
    )
    what.add_argument(
        "--model-name", metavar="NAME", help="its name in requests (default: the folder's)"
    )
    what.add_argument(
        "--models-config", metavar="FILE", help="several models: TensorFlow Serving's models.config"
    )
    where = parser.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="address (default: this machine only)")
    where.add_argument("--port", type=int, default=8500, help="gRPC; 0 takes a free one (8500)")
    where.add_argument(
        "--rest-port", type=int, default=8501, help="REST; 0 takes a free one (8501)"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--batching", metavar="FILE", help="TensorFlow Serving's batching parameters file"
    )
    how.add_argument(
        "--max-in-flight",
        type=int,
        default=64,
        help="requests that run or wait; the next is refused with 429 (64)",
    )
    how.add_argument("--slots", type=int, help="unbatched requests that run at once (all cores)")
    how.add_argument(
        "--rest-timeout", type=float, default=30.0, metavar="SECONDS", help="504 after it (30)"
    )
    how.add_argument(
        "--poll", type=float, default=1.0, metavar="SECONDS", help="between looks for versions (1)"
    )
    how.add_argument(
        "--max-message-mb", type=int, default=64, metavar="MB", help="of one request (64)"
    )
    how.add_argument(
        "--drain", type=float, default=30.0, metavar="SECONDS", help="after SIGTERM (30)"
    )
    # For parents that start a server: it must not outlive them, however they end.
    how.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    security = parser.add_argument_group("security")
    security.add_argument("--tls-cert", default="", metavar="FILE", help="certificate chain (PEM)")
    security.add_argument("--tls-key", default="", metavar="FILE", help="private key (PEM)")
    security.add_argument(
        "--tls-client-ca", default="", metavar="FILE", help="ask clients for certificates of it"
    )
    security.add_argument(
        "--token-file", metavar="FILE", help="ask for `Authorization: Bearer` and what it holds"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit status.

    One line of JSON on standard output says when it answers and where; the log goes to standard
    error.

    Raises:
      UsageError: an argument or file cannot be used, or a port is taken.
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
    server = Server(models, options)
    server.start()
    # Modules and their functions live for ever; collections after a swap need not walk them.
    gc.collect()
    gc.freeze()
    ready = {
        "grpc": f"{options.host}:{server.grpc_port}",
        "rest": f"{'https' if options.tls_cert else 'http'}://{options.host}:{server.rest_port}",
        "models": server.manager.summary(),
    }
    print(json.dumps({"serving": ready}), flush=True)
    if arguments.until_stdin_closes:
        threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    stop.wait()
    _LOG.info("draining")
    if server.stop():
        return 0
    # A request that cannot be interrupted still holds its thread, and an orderly end would wait.
    logging.shutdown()
    os._exit(1)


def main() -> int:
    """`python -m serving.server`, which is what `deepfake serve` does."""
    parser = argparse.ArgumentParser(prog="python -m serving.server", description=__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _options(arguments: argparse.Namespace):
    from serving.server.config import ServerOptions, read_batching_config

    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise UsageError("--tls-cert and --tls-key go together")
    if arguments.tls_client_ca and not arguments.tls_cert:
        raise UsageError("--tls-client-ca needs --tls-cert and --tls-key")
    for path in (arguments.tls_cert, arguments.tls_key, arguments.tls_client_ca):
        if path and not Path(path).is_file():
            raise UsageError(f"there is no file {path}")
    for name in ("max_in_flight", "max_message_mb", "rest_timeout", "poll"):
        if getattr(arguments, name) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0")
    for name in ("port", "rest_port"):
        if not 0 <= getattr(arguments, name) < 1 << 16:
            raise UsageError(f"--{name.replace('_', '-')} must be 0 to 65535")
    if arguments.slots is not None and arguments.slots < 1:
        raise UsageError("--slots must be at least 1")
    return ServerOptions(
        host=arguments.host,
        port=arguments.port,
        rest_port=arguments.rest_port,
        rest_timeout=arguments.rest_timeout,
        poll_seconds=arguments.poll,
        max_in_flight=arguments.max_in_flight,
        max_message_bytes=arguments.max_message_mb << 20,
        slots=arguments.slots or os.cpu_count() or 1,
        batching=read_batching_config(arguments.batching) if arguments.batching else None,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        tls_client_ca=arguments.tls_client_ca,
        token=read_token(arguments.token_file),
        drain_seconds=arguments.drain,
    )


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


def _models(arguments: argparse.Namespace) -> list:
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
