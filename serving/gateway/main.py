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

from preprocessing.errors import UsageError
from preprocessing.quiet import load_tensorflow
from preprocessing.verdict import FALSE_ALARMS
from serving.server.main import read_token, set_up_log

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
    how.add_argument(
        "--max-bytes", type=int, default=200_000_000, metavar="N", help="of a file (200000000)"
    )
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
        help="for the upload, and again from there to the answer (120)",
    )
    how.add_argument(
        "--drain", type=float, default=120.0, metavar="SECONDS", help="after SIGTERM (120)"
    )
    # For parents that start a gateway: it must not outlive them, however they end.
    how.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    security = parser.add_argument_group("security")
    security.add_argument("--tls-cert", default="", metavar="FILE", help="certificate chain (PEM)")
    security.add_argument("--tls-key", default="", metavar="FILE", help="private key (PEM)")
    security.add_argument(
        "--token-file", metavar="FILE", help="ask for `Authorization: Bearer` and what it holds"
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
    from serving.gateway.metrics import GatewayMetrics
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
    clients.connect(model.server, model.model, model.client).close()

    from serving.gateway.app import Gateway, GatewayOptions
    from serving.gateway.examiner import Examiner
    from serving.server.config import ServerOptions
    from serving.server.rest import RestServer

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics = GatewayMetrics()
    examiner = Examiner(model, arguments.workers, metrics)
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
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        drain_seconds=arguments.drain,
    )
    gateway = Gateway(options, examiner, metrics)
    try:
        server = RestServer(listening, gateway)
        examiner.start(newest.settings)
        server.start()
    except BaseException:
        gateway.close()
        raise
    ready = {
        "http": f"{'https' if arguments.tls_cert else 'http'}://{arguments.host}:{server.port}",
        "model": model.model,
        "version": newest.number,
    }
    print(json.dumps({"gateway": ready}), flush=True)
    if arguments.until_stdin_closes:
        threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    # A signal that comes while a worker starts a decoder process can be noted without waking this
    # thread (9 of 150 in a trial of CPython 3.10); it runs the handler when it runs at all.
    while not stop.wait(_LOOK_SECONDS):
        pass
    _LOG.info("draining")
    server.stop()
    if gateway.close():
        examiner.close()
        # Freed before the interpreter ends, or TensorFlow prints errors.
        del examiner, gateway, server
        gc.collect()
        return 0
    _LOG.warning("some requests were cut off after %.0f s", arguments.drain)
    # A worker that cannot be interrupted still holds its thread, and an orderly end would wait.
    logging.shutdown()
    os._exit(1)


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
    for name in ("max_bytes", "workers", "timeout"):
        if getattr(arguments, name) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0")
    for name in ("waiting", "drain"):
        if getattr(arguments, name) < 0:
            raise UsageError(f"--{name} must not be below 0")
    if not 0 <= arguments.port < 1 << 16:
        raise UsageError("--port must be 0 to 65535")
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise UsageError("--tls-cert and --tls-key go together")
    for path in (arguments.tls_cert, arguments.tls_key, arguments.server_ca):
        if path and not Path(path).is_file():
            raise UsageError(f"there is no file {path}")
    if not Path(arguments.model_base).is_dir():
        raise UsageError(f"{arguments.model_base} is not a folder; give the folder of versions")
