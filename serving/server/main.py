"""`deepfake serve`: start, and the drain on SIGTERM.

Nothing here imports TensorFlow before the arguments were understood.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preprocessing.support.errors import UsageError
from preprocessing.support.quiet import load_tensorflow
from preprocessing.support.readable import check_readable
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
from serving.server.allocator import keep_memory
from serving.server.arguments import ServerArguments

if TYPE_CHECKING:
    from serving.server.config import ServerOptions
    from serving.server.config_poller import ConfigPoller
    from serving.server.server import Server

# CPython lets a thread run for 5 ms before another that waits gets its turn; an answer waits for
# several turns.
_SWITCH_SECONDS = 0.0005
_NOT_NEGATIVE = (
    "poll", "models_config_poll", "load_retries", "load_retry_interval", "intra_op_threads",
    "inter_op_threads",
)  # fmt: skip


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
    check_memory_for(server=True)
    # Now, and not after the seconds that importing TensorFlow takes.
    for port in (options.port, options.rest_port):
        check_free(options.host, port or 0, "--host, --port or --rest-port")
    set_up_log()
    keep_memory()
    if options.batching:
        _choose_kernels()
    load_tensorflow()
    _set_threads(arguments)

    from serving.server.server import Server

    stop = stop_on_signals()
    sys.setswitchinterval(_SWITCH_SECONDS)
    thread_failures = end_with_threads(stop)
    server = Server(models, options, on_failure=stop.set)
    try:
        server.start()
    except RuntimeError:
        server.stop()
        raise
    poller = _config_poller(arguments, server)
    # Modules and their functions live for ever; collections after a swap need not walk them.
    gc.collect()
    gc.freeze()
    if not (server.failed or thread_failures):
        tell_ready("serving", _ready(options, server))
    wait_for_end(stop, arguments.until_stdin_closes)
    if poller:
        poller.stop()
    if server.stop():
        return 1 if server.failed or thread_failures else 0
    exit_without_threads(1)


def _ready(options: ServerOptions, server: Server) -> dict[str, Any]:
    scheme = "https" if options.tls_cert else "http"
    host = url_host(options.host)
    rest = f"{scheme}://{host}:{server.rest_port}" if server.rest_port else None
    return {
        "grpc": f"{host}:{server.grpc_port}",
        "rest": rest,
        "models": server.manager.summary(),
    }


def _choose_kernels() -> None:
    """Has TensorFlow compute with oneDNN's kernels, before it is imported.

    By itself TensorFlow takes them on processors with AVX512-VNNI or better. They gain from batches
    what TensorFlow's own do not: a crop in a batch of 16 costs NASNetMobile half of what it costs
    alone, and not nine tenths. What they answer differs in the last bits. `TF_ENABLE_ONEDNN_OPTS`
    in the environment decides otherwise.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _set_threads(arguments: ServerArguments) -> None:
    """TensorFlow's thread pools; before anything of it runs."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.intra_op_threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.inter_op_threads)


def _config_poller(arguments: ServerArguments, server: Server) -> ConfigPoller | None:
    from serving.server.config_poller import ConfigPoller

    if not arguments.models_config_poll:
        return None
    return ConfigPoller(lambda: _models(arguments), server.manager, arguments.models_config_poll)


def main() -> int:
    """`python -m serving.server`, which is what `deepfake serve` does."""
    from preprocessing.support.command_line import call, from_options, single

    return call(single(from_options(ServerArguments)(run)), "python -m serving.server")


def _options(arguments: ServerArguments) -> ServerOptions:
    from serving.server.config import LoadOptions, ServerOptions
    from serving.server.text_config import (
        METRICS_PATH,
        read_batching_config,
        read_metrics_path,
        read_tls_file,
    )

    _check(arguments)
    monitoring, tls = arguments.monitoring_config, arguments.grpc_tls_config
    return ServerOptions(
        host=arguments.host,
        port=arguments.port,
        rest_port=None if arguments.no_rest else arguments.rest_port,
        socket_path=arguments.grpc_socket_path,
        grpc_arguments=_channel_arguments(arguments.grpc_channel_arguments),
        rest_timeout=arguments.rest_timeout,
        loading=LoadOptions(
            poll_seconds=arguments.poll,
            max_retries=arguments.load_retries,
            retry_seconds=arguments.load_retry_interval,
            tags=tuple(arguments.saved_model_tags.split(",")),
            labels_of_unavailable=arguments.labels_of_unavailable,
            warm_up=arguments.warmup == "on",
            warmup_iterations=arguments.warmup_iterations,
        ),
        check_methods=arguments.check_method_names,
        max_in_flight=arguments.max_in_flight,
        max_message_bytes=arguments.max_message_mb << 20,
        max_body_bytes=(arguments.max_body_mb or 4 * arguments.max_message_mb) << 20,
        max_connections=arguments.max_connections,
        head_timeout=arguments.head_timeout,
        cors_origins=tuple(arguments.cors_origin or ()),
        metrics_path=read_metrics_path(monitoring) if monitoring else METRICS_PATH,
        profiler=arguments.profiler,
        slots=arguments.slots or os.cpu_count() or 1,
        batching=read_batching_config(arguments.batching) if arguments.batching else None,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        tls_client_ca=arguments.tls_client_ca,
        grpc_tls=read_tls_file(tls) if tls else None,
        token=read_token(arguments.token_file),
        reload_config=arguments.reload_config == "on",
        reload_token=read_token(arguments.reload_token_file),
        drain_seconds=arguments.drain,
    )


def _channel_arguments(text: str) -> tuple[tuple[str, str | int], ...]:
    """Names and values of `--grpc-channel-arguments`; whole numbers become such."""
    pairs = []
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise UsageError(f"--grpc-channel-arguments: {part!r} is not NAME=VALUE")
        pairs.append((name, int(value) if re.fullmatch(r"-?[0-9]+", value) else value))
    return tuple(pairs)


def _check(arguments: ServerArguments) -> None:
    check_tls(arguments)
    if arguments.tls_client_ca and not arguments.tls_cert:
        raise UsageError("--tls-client-ca needs --tls-cert and --tls-key")
    check_files((arguments.tls_cert, arguments.tls_key, arguments.tls_client_ca))
    check_positive(
        arguments,
        (
            "max_in_flight", "max_message_mb", "rest_timeout", "max_connections",
            "head_timeout", "warmup_iterations",
        ),
    )  # fmt: skip
    check_not_negative(arguments, _NOT_NEGATIVE)
    if arguments.models_config_poll and not arguments.models_config:
        raise UsageError("--models-config-poll needs --models-config")
    if arguments.grpc_tls_config and arguments.tls_cert:
        raise UsageError("give --tls-cert, which REST has too, or --grpc-tls-config")
    check_ports(arguments, ("port", "rest_port"))
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


def _models(arguments: ServerArguments) -> list:
    from serving.server.config import ServedModelConfig, read_models_config

    if arguments.model_base and arguments.models_config:
        raise UsageError("give --model-base or --models-config, and not both")
    if arguments.models_config:
        return read_models_config(arguments.models_config)
    base = Path(named_or_starter(arguments.model_base, "--model-base")).resolve()
    if not base.is_dir():
        raise UsageError(f"{arguments.model_base} is not a folder; give the folder of versions")
    check_readable(base)
    if (base / "saved_model.pb").is_file():
        raise UsageError(
            f"{arguments.model_base} is one version; give the folder that it is in ({base.parent})"
        )
    return [ServedModelConfig(arguments.model_name or base.name, str(base))]
