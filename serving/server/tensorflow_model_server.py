"""`tensorflow_model_server`: `deepfake serve` under the flags of TensorFlow Serving's binary.

Flags, defaults and their meaning are those of model_servers/main.cc of tensorflow/serving, so that
scripts and tests for the binary run unchanged. A flag that has no counterpart is refused by name,
unless its value asks for what this server does anyway.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from preprocessing.support.errors import UsageError
from preprocessing.support.nearest import nearest
from serving.server.arguments import ServerArguments

_TRUE, _FALSE = ("true", "1", ""), ("false", "0")


@dataclasses.dataclass(frozen=True)
class _Flag:
    """A flag of the binary.

    Attributes:
      kind: function that turns its text into a value.
      default: default of the binary.
      field: field of `ServerArguments` that has its value; empty where `translate` knows better.
      only: the values that this server can honour; None is any.
    """

    kind: Callable[[str], Any]
    default: Any
    field: str = ""
    only: tuple[Any, ...] | None = None


def _boolean(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError(text)
    return text.lower() in _TRUE


_FLAGS = {
    "port": _Flag(int, 8500),
    "grpc_socket_path": _Flag(str, "", "grpc_socket_path"),
    "rest_api_port": _Flag(int, 0),
    "rest_api_num_threads": _Flag(int, 0),
    "rest_api_timeout_in_ms": _Flag(int, 30000),
    "rest_api_enable_cors_support": _Flag(_boolean, False),
    "enable_batching": _Flag(_boolean, False),
    "allow_version_labels_for_unavailable_models": _Flag(_boolean, False, "labels_of_unavailable"),
    "batching_parameters_file": _Flag(str, ""),
    "enable_per_model_batching_parameters": _Flag(_boolean, False, only=(False,)),
    "model_config_file": _Flag(str, ""),
    "model_config_file_poll_wait_seconds": _Flag(int, 0),
    "model_name": _Flag(str, "default"),
    "model_base_path": _Flag(str, ""),
    # How many threads load changes how long several models take, and nothing else.
    "num_load_threads": _Flag(int, 0),
    "num_unload_threads": _Flag(int, 0),
    "max_num_load_retries": _Flag(int, 5, "load_retries"),
    "load_retry_interval_micros": _Flag(int, 60_000_000),
    "file_system_poll_wait_seconds": _Flag(int, 1, "poll"),
    "flush_filesystem_caches": _Flag(_boolean, True),
    "tensorflow_session_parallelism": _Flag(int, 0),
    "tensorflow_session_config_file": _Flag(str, "", only=("",)),
    "tensorflow_intra_op_parallelism": _Flag(int, 0),
    "tensorflow_inter_op_parallelism": _Flag(int, 0),
    "use_alts_credentials": _Flag(_boolean, False, only=(False,)),
    "ssl_config_file": _Flag(str, ""),
    "platform_config_file": _Flag(str, "", only=("",)),
    "per_process_gpu_memory_fraction": _Flag(float, 0.0, only=(0.0,)),
    "saved_model_tags": _Flag(str, "serve"),
    "grpc_channel_arguments": _Flag(str, "", "grpc_channel_arguments"),
    "grpc_max_threads": _Flag(int, 0),
    "enable_model_warmup": _Flag(_boolean, True),
    "num_request_iterations_for_warmup": _Flag(int, 0),
    "version": _Flag(_boolean, False),
    "monitoring_config_file": _Flag(str, ""),
    "remove_unused_fields_from_bundle_metagraph": _Flag(_boolean, True),
    "prefer_tflite_model": _Flag(_boolean, False, only=(False,)),
    "num_tflite_pools": _Flag(int, 0),
    "num_tflite_interpreters_per_pool": _Flag(int, 1),
    "enable_signature_method_name_check": _Flag(_boolean, False, "check_method_names"),
    "xla_cpu_compilation_enabled": _Flag(_boolean, False, only=(False,)),
    "xla_gpu_compilation_enabled": _Flag(_boolean, False, only=(False,)),
    "enable_profiler": _Flag(_boolean, True, "profiler"),
    "thread_pool_factory_config_file": _Flag(str, "", only=("",)),
    "mixed_precision": _Flag(str, "", only=("",)),
    "skip_initialize_tpu": _Flag(_boolean, False),
    # The service is there always.
    "enable_grpc_healthcheck_service": _Flag(_boolean, False),
    "enable_serialization_as_tensor_content": _Flag(_boolean, False, only=(False,)),
}
# Flags of further fields of `ServerArguments`, whose values `translate` works out.
_FLAGS_OF_FIELDS = {
    "batching": "batching_parameters_file",
    "grpc_tls_config": "ssl_config_file",
    "inter_op_threads": "tensorflow_inter_op_parallelism",
    "intra_op_threads": "tensorflow_intra_op_parallelism",
    "load_retry_interval": "load_retry_interval_micros",
    "model_base": "model_base_path",
    "models_config": "model_config_file",
    "models_config_poll": "model_config_file_poll_wait_seconds",
    "monitoring_config": "monitoring_config_file",
    "rest_port": "rest_api_port",
    "rest_timeout": "rest_api_timeout_in_ms",
    "warmup_iterations": "num_request_iterations_for_warmup",
} | {flag.field: name for name, flag in _FLAGS.items() if flag.field}
# TensorFlow Serving bounds neither one request nor all of them together.
_MEGABYTES_A_REQUEST = 1024
_MEGABYTES_OF_BODIES = 2048


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """The values of all flags.

    Args:
      arguments: command line, each `--name=value`; `--name` alone is true.

    Returns:
      By name; defaults where a flag is not given.

    Raises:
      UsageError: an unknown flag, a value of another type, or one that cannot be honoured.
    """
    values = {name: flag.default for name, flag in _FLAGS.items()}
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in _FLAGS:
            raise UsageError(
                f"unknown argument {argument!r}{nearest(name, _FLAGS) or '; see --help'}"
            )
        flag = _FLAGS[name]
        try:
            if not equals and flag.kind is not _boolean:
                raise ValueError(text)
            values[name] = flag.kind(text)
        except ValueError:
            raise UsageError(f"{argument!r} is no value of --{name}; write --{name}=...") from None
        if flag.only is not None and values[name] not in flag.only:
            raise UsageError(f"{argument}: this server has no counterpart of --{name}")
    return values


def translate(values: Mapping[str, Any]) -> ServerArguments:
    """What `deepfake serve` is to be asked.

    Args:
      values: flags by name, see `parse`.

    Raises:
      UsageError: there is neither a model nor a file of models, or nothing to listen on.
    """
    if not values["model_config_file"] and not values["model_base_path"]:
        raise UsageError("give --model_base_path or --model_config_file")
    if not values["port"]:
        raise UsageError("--port=0 answers no gRPC over TCP, which this server always does")
    # An empty file has the binary's defaults.
    batching = values["batching_parameters_file"] or os.devnull
    parallelism = values["tensorflow_session_parallelism"]
    config = values["model_config_file"]
    models = {
        "models_config": config or None,
        "models_config_poll": values["model_config_file_poll_wait_seconds"] if config else 0,
        "model_base": None if config else values["model_base_path"],
        "model_name": values["model_name"],
    }
    fields = {flag.field: values[name] for name, flag in _FLAGS.items() if flag.field}
    return ServerArguments(
        **fields,
        **models,
        host="0.0.0.0",  # noqa: S104  # As the binary.
        port=values["port"],
        rest_port=values["rest_api_port"],
        no_rest=not values["rest_api_port"],
        rest_timeout=values["rest_api_timeout_in_ms"] / 1000,
        cors_origin=["*"] if values["rest_api_enable_cors_support"] else None,
        batching=batching if values["enable_batching"] else None,
        load_retry_interval=max(values["load_retry_interval_micros"], 0) / 1e6,
        intra_op_threads=values["tensorflow_intra_op_parallelism"] or parallelism,
        inter_op_threads=values["tensorflow_inter_op_parallelism"] or parallelism,
        grpc_tls_config=values["ssl_config_file"] or None,
        saved_model_tags=values["saved_model_tags"] or "serve",
        warmup="on" if values["enable_model_warmup"] else "off",
        warmup_iterations=max(values["num_request_iterations_for_warmup"], 1),
        monitoring_config=values["monitoring_config_file"] or None,
        max_message_mb=_MEGABYTES_A_REQUEST,
        max_body_mb=_MEGABYTES_OF_BODIES,
    )


def main() -> int:
    """Serves under the binary's flags until SIGTERM or SIGINT; returns the exit status."""
    arguments = sys.argv[1:]
    if arguments == ["--help"]:
        print("usage: tensorflow_model_server --NAME=VALUE ...; the flags and their defaults:")
        for name, flag in _FLAGS.items():
            print(f"  --{name}={flag.default}")
        return 0
    try:
        values = parse(arguments)
        if values["version"]:
            return _tell_version()
        server_arguments = translate(values)
        from serving.server.main import run

        return run(server_arguments)
    except UsageError as error:
        print(f"tensorflow_model_server: {with_flags(str(error))}", file=sys.stderr)
        return 2


def with_flags(message: str) -> str:
    """A message about options of `deepfake serve`, about the binary's flags instead."""

    def flag(option: re.Match[str]) -> str:
        name = option[1].replace("-", "_")
        return f"--{_FLAGS_OF_FIELDS[name]}" if name in _FLAGS_OF_FIELDS else option[0]

    return re.sub(r"--([a-z_-]+)", flag, message)


def _tell_version() -> int:
    from importlib.metadata import version

    from preprocessing.support.versions import tensorflow_build

    print(f"TensorFlow ModelServer: deepfake-detection {version('deepfake-detection')}")
    print(f"TensorFlow Library: {version(tensorflow_build())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
