"""`deepfake gateway`: arguments, start, and the drain on SIGTERM.

Nothing here imports TensorFlow before the arguments were understood.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.errors import UsageError
from preprocessing.quiet import load_tensorflow
from preprocessing.verdict import FALSE_ALARMS
from serving.gateway.limits import FileLimits
from serving.server.main import (
    add_cors_argument,
    check_cors,
    end_with_threads,
    read_token,
    set_up_log,
)

if TYPE_CHECKING:
    from preprocessing.crop_settings import CropSettings
    from serving.gateway.app import Gateway
    from serving.gateway.examiner import Examiner
    from serving.gateway.versions import ModelOptions
    from serving.server.http_server import HttpServer

_LOG = logging.getLogger(__name__)

# Between looks for a signal.
_LOOK_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `deepfake gateway`."""
    model = parser.add_argument_group("which model")
    model.add_argument(
        "--server",
        required=True,
        metavar="URL",
        help="grpc://HOST:PORT or http://HOST:PORT of TensorFlow Serving or `deepfake serve` "
        "(grpcs and https with TLS)",
    )
    model.add_argument("--model", required=True, metavar="NAME", help="its name on that server")
    model.add_argument(
        "--model-base",
        required=True,
        metavar="DIR",
        help="the folder of version folders that the server serves; only the files that say how "
        "crops are cut and what scores mean are read",
    )
    model.add_argument(
        "--false-alarms",
        type=float,
        default=FALSE_ALARMS,
        metavar="SHARE",
        help="share of real clips that may be called fake, see `deepfake predict` (%(default)s)",
    )
    model.add_argument("--server-token-file", metavar="FILE", help="bearer token for that server")
    model.add_argument(
        "--server-ca", default="", metavar="FILE", help="that signed its certificate"
    )
    where = parser.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="address (default: this machine only)")
    where.add_argument("--port", type=int, default=8080, help="0 takes a free one (8080)")
    how = parser.add_argument_group("how")
    how.add_argument("--workers", type=int, default=2, metavar="N", help="files at once (2)")
    how.add_argument(
        "--waiting",
        type=int,
        default=6,
        metavar="N",
        help="further requests that may upload or wait; one more gets 503 (6)",
    )
    how.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="for the upload, and again from there to the answer, which also ends the work (120)",
    )
    how.add_argument(
        "--head-timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="for the head of a request; then the connection is closed (10)",
    )
    how.add_argument(
        "--max-connections",
        type=int,
        default=512,
        metavar="N",
        help="requests on more get 503 (512)",
    )
    how.add_argument(
        "--drain", type=float, default=120.0, metavar="SECONDS", help="after SIGTERM (120)"
    )
    # For parents that start a gateway: it must not outlive them, however they end.
    how.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    add_limits(parser.add_argument_group("what a file may need; beyond it is refused"))
    _add_security(parser.add_argument_group("security"))


def _add_security(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tls-cert", default="", metavar="FILE", help="certificate chain (PEM)")
    group.add_argument("--tls-key", default="", metavar="FILE", help="private key (PEM)")
    group.add_argument(
        "--token-file", metavar="FILE", help="ask for `Authorization: Bearer` and what it holds"
    )
    add_cors_argument(group)


def add_limits(group: argparse._ArgumentGroup) -> None:
    """Adds what bounds a file."""
    limits, memory = FileLimits(), "data in the memory of a worker, TensorFlow's included"
    for name, default, unit, text in (
        ("--max-bytes", limits.bytes, "N", "size, after gzip"),
        ("--max-pixels", limits.pixels, "N", "pixels of a frame"),
        ("--max-packets", limits.packets, "N", "packets of a video"),
        ("--max-seconds", limits.seconds, "SECONDS", "that a video plays"),
        ("--worker-memory-mb", limits.worker_bytes >> 20, "MB", memory),
    ):
        group.add_argument(
            name, type=type(default), default=default, metavar=unit, help=f"{text} (%(default)s)"
        )


def run(arguments: argparse.Namespace) -> int:
    """Answers until SIGTERM or SIGINT; returns the exit status.

    One line of JSON on standard output says when it answers and where; the log goes to standard
    error. The model server need not be there at the start: `/readyz` tells when it is.

    Raises:
      UsageError: an argument cannot be used, the port is taken, or the crops of the newest version
        cannot be cut here.
    """
    _check(arguments)
    token, server_token = read_token(arguments.token_file), read_token(arguments.server_token_file)
    load_tensorflow()

    from serving import clients
    from serving.gateway.versions import ModelOptions, Versions

    model = ModelOptions(
        server=arguments.server,
        model=arguments.model,
        base=Path(arguments.model_base),
        false_alarms=arguments.false_alarms,
        client=clients.Settings(token=server_token, tls_ca=arguments.server_ca),
    )
    newest = Versions(model).newest()
    set_up_log()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    thread_failures = end_with_threads(stop)
    examiner, gateway, server = _parts(arguments, model, token, stop)
    _start(examiner, gateway, server, newest.settings)
    ready = {
        "http": f"{'https' if arguments.tls_cert else 'http'}://{arguments.host}:{server.port}",
        "model": model.model,
        "version": newest.number,
    }
    if not (server.failure or thread_failures):
        print(json.dumps({"gateway": ready}), flush=True)
    if arguments.until_stdin_closes:
        threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    # A signal that comes while a worker starts a decoder process can be noted without waking this
    # thread (9 of 150 in a trial of CPython 3.10); it runs the handler when it runs at all.
    while not stop.wait(_LOOK_SECONDS):
        pass
    _LOG.info("draining")
    server.stop()
    failed = bool(server.failure or thread_failures)
    answered = gateway.close()
    examiner.close()
    if answered:
        # Freed before the interpreter ends, or TensorFlow prints errors.
        del examiner, gateway, server
        gc.collect()
        return 1 if failed else 0
    _LOG.warning("some requests were cut off after %.0f s", arguments.drain)
    # A thread that cannot be interrupted may be left, and an orderly end would wait for it.
    logging.shutdown()
    os._exit(1)


def _start(
    examiner: Examiner, gateway: Gateway, server: HttpServer, settings: CropSettings
) -> None:
    """Starts workers and server; what has begun is ended where the rest fails."""
    try:
        # They import TensorFlow at the same time as this process.
        examiner.start(settings)
        examiner.versions.connect()
        examiner.wait()
        server.start()
    except BaseException:
        gateway.close()
        examiner.close()
        raise


def _parts(
    arguments: argparse.Namespace, model: ModelOptions, token: str, stop: threading.Event
) -> tuple[Examiner, Gateway, HttpServer]:
    """What a gateway is made of; nothing runs yet, but the port is taken."""
    from serving.gateway import spool
    from serving.gateway.app import Gateway, GatewayOptions
    from serving.gateway.examiner import Examiner
    from serving.gateway.metrics import GatewayMetrics
    from serving.server.config import ServerOptions
    from serving.server.cors import Cors
    from serving.server.http_server import HttpServer

    limits = FileLimits(
        bytes=arguments.max_bytes,
        pixels=arguments.max_pixels,
        packets=arguments.max_packets,
        seconds=arguments.max_seconds,
        worker_bytes=arguments.worker_memory_mb << 20,
    )
    options = GatewayOptions(
        max_bytes=arguments.max_bytes,
        workers=arguments.workers,
        waiting=arguments.waiting,
        timeout=arguments.timeout,
        token=token,
    )
    listening = ServerOptions(
        host=arguments.host,
        rest_port=arguments.port,
        rest_timeout=arguments.timeout,
        head_timeout=arguments.head_timeout,
        max_connections=arguments.max_connections,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        drain_seconds=arguments.drain,
    )
    metrics = GatewayMetrics()
    examiner = Examiner(model, arguments.workers, metrics, limits)
    spool.sweep()
    gateway = Gateway(options, examiner, metrics)
    origins = arguments.cors_origin
    try:
        server = HttpServer(listening, Cors(gateway, origins) if origins else gateway, stop.set)
    except BaseException:
        gateway.close()
        raise
    return examiner, gateway, server


def main() -> int:
    """`python -m serving.gateway`, which is what `deepfake gateway` does."""
    parser = argparse.ArgumentParser(prog="python -m serving.gateway", description=__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _check(arguments: argparse.Namespace) -> None:
    for name in (
        "max_bytes", "workers", "timeout", "head_timeout", "max_connections", "max_pixels",
        "max_packets", "max_seconds", "worker_memory_mb",
    ):  # fmt: skip
        if getattr(arguments, name) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0")
    for name in ("waiting", "drain"):
        if getattr(arguments, name) < 0:
            raise UsageError(f"--{name} must not be below 0")
    check_cors(arguments.cors_origin)
    if not 0 <= arguments.port < 1 << 16:
        raise UsageError("--port must be 0 to 65535")
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise UsageError("--tls-cert and --tls-key go together")
    for path in (arguments.tls_cert, arguments.tls_key, arguments.server_ca):
        if path and not Path(path).is_file():
            raise UsageError(f"there is no file {path}")
    if not Path(arguments.model_base).is_dir():
        raise UsageError(f"{arguments.model_base} is not a folder; give the folder of versions")
