"""`deepfake gateway`: start, and the drain on SIGTERM.

Nothing here imports TensorFlow before the arguments were understood.
"""

from __future__ import annotations

import gc
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.support.errors import UsageError
from preprocessing.support.quiet import load_tensorflow
from serving.gateway.arguments import GatewayArguments
from serving.gateway.limits import FileLimits, JobLimits
from serving.http.arguments import (
    check_cors,
    check_files,
    check_free,
    check_not_negative,
    check_ports,
    check_positive,
    check_tls,
    url_host,
)
from serving.http.bearer import read_token
from serving.http.lifetime import (
    end_with_threads,
    exit_without_threads,
    set_up_log,
    stop_on_signals,
    tell_ready,
    wait_for_end,
)
from serving.http.memory_need import check_memory_for
from serving.model.starter import named_or_starter

if TYPE_CHECKING:
    from preprocessing.faces.crop_settings import CropSettings
    from serving.gateway.app import Gateway
    from serving.gateway.examiner import Examiner
    from serving.gateway.served_versions import ModelOptions
    from serving.http.http_server import HttpServer

_LOG = logging.getLogger(__name__)

_NO_SERVER = (
    "the gateway has its scores from a model server, and --server names none; two commands are "
    "needed, each in a terminal of its own: `deepfake serve` and "
    "`deepfake gateway --server grpc://127.0.0.1:8500`"
)


def run(arguments: GatewayArguments) -> int:
    """Answers until SIGTERM or SIGINT; returns the exit status.

    One line of JSON on standard output says when it answers and where; the log goes to standard
    error. The model server need not be there at the start: `/readyz` tells when it is.

    Raises:
      UsageError: an argument cannot be used, the port is taken, or the crops of the newest version
        cannot be cut here.
    """
    _check(arguments)
    token, server_token = read_token(arguments.token_file), read_token(arguments.server_token_file)
    base = Path(named_or_starter(arguments.model_base, "--model-base"))

    from serving import clients
    from serving.gateway.served_versions import ModelOptions, Versions

    model = ModelOptions(
        server=arguments.server,
        model=arguments.model or base.resolve().name,
        base=base,
        false_positive_rate=arguments.false_positive_rate,
        miss_rate=arguments.miss_rate,
        client=clients.ClientSettings(token=server_token, tls_ca=arguments.server_ca),
    )
    newest = Versions(model).newest()
    check_memory_for(workers=arguments.workers)
    set_up_log()
    stop = stop_on_signals()
    thread_failures = end_with_threads(stop)
    examiner, gateway, server = _parts(arguments, model, token, stop)
    _start(examiner, gateway, server, newest.settings, model.server)
    ready = {
        "http": f"{'https' if arguments.tls_cert else 'http'}://{url_host(arguments.host)}:{server.port}",
        "model": model.model,
        "version": newest.number,
    }
    if not (server.failure or thread_failures):
        tell_ready("gateway", ready)
    wait_for_end(stop, arguments.until_stdin_closes)
    server.stop()
    ended = gateway.close()
    examiner.close()
    if gateway.cut_off:
        _LOG.warning("some requests were cut off after %.0f s", arguments.drain)
    status = 1 if server.failure or thread_failures or gateway.cut_off else 0
    if not ended:
        exit_without_threads(status)
    # Freed before the interpreter ends, or TensorFlow prints errors.
    del examiner, gateway, server
    gc.collect()
    return status


def _start(
    examiner: Examiner, gateway: Gateway, server: HttpServer, settings: CropSettings, asked: str
) -> None:
    """Starts workers, connection and server; what has begun is ended where the rest fails."""
    try:
        examiner.start(settings)
        if asked.startswith("grpc"):
            # At the same time as the workers do; REST needs none.
            load_tensorflow()
        examiner.versions.connect()
        examiner.wait()
        server.start()
    except BaseException:
        gateway.close()
        examiner.close()
        raise


def _parts(
    arguments: GatewayArguments, model: ModelOptions, token: str, stop: threading.Event
) -> tuple[Examiner, Gateway, HttpServer]:
    """Builds the gateway; nothing runs yet, but the port is taken."""
    from serving.gateway import spool
    from serving.gateway.app import Gateway, GatewayOptions
    from serving.gateway.examiner import Examiner
    from serving.gateway.metrics import GatewayMetrics
    from serving.http.cors import Cors
    from serving.http.http_server import HttpServer
    from serving.http.options import HttpOptions

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
        jobs=JobLimits(
            unfinished=arguments.jobs,
            seconds=arguments.job_timeout,
            keep=arguments.job_keep,
            film_bytes=arguments.job_film_bytes,
            at_once=max(1, arguments.workers - 1),
        ),
    )
    listening = HttpOptions(
        host=arguments.host,
        port=arguments.port,
        timeout=arguments.timeout,
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
    origins = arguments.cors_origin or ()
    try:
        server = HttpServer(listening, Cors(gateway, origins) if origins else gateway, stop.set)
    except BaseException:
        gateway.close()
        raise
    return examiner, gateway, server


def main() -> int:
    """`python -m serving.gateway`, which is what `deepfake gateway` does."""
    from preprocessing.support.command_line import call, from_options, single

    return call(single(from_options(GatewayArguments)(run)), "python -m serving.gateway")


def _check(arguments: GatewayArguments) -> None:
    check_positive(
        arguments,
        (
            "max_bytes", "workers", "timeout", "head_timeout", "max_connections", "max_pixels",
            "max_packets", "max_seconds", "worker_memory_mb", "jobs", "job_timeout", "job_keep",
            "job_film_bytes",
        ),
    )  # fmt: skip
    check_not_negative(arguments, ("waiting", "drain"))
    check_cors(arguments.cors_origin or ())
    check_ports(arguments, ("port",))
    check_free(arguments.host, arguments.port, "--host or --port")
    check_tls(arguments)
    check_files((arguments.tls_cert, arguments.tls_key, arguments.server_ca))
    if not arguments.server:
        raise UsageError(_NO_SERVER)
    if arguments.model and not arguments.model_base:
        raise UsageError(
            f"--model {arguments.model} names a model on the server, and --model-base the folder "
            "that the server has it from; give both, or neither for the starter"
        )
    if arguments.model_base and not Path(arguments.model_base).is_dir():
        raise UsageError(f"{arguments.model_base} is not a folder; give the folder of versions")
