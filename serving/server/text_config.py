"""TensorFlow Serving's smaller files in protobuf's text format: batching, monitoring, TLS.

`tensorflow-serving-api` ships no classes for them, so they are declared here. Names and types of
the fields are those of session_bundle_config.proto, monitoring_config.proto and ssl_config.proto;
their numbers do not matter to the text format.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, text_format, wrappers_pb2

from preprocessing.support.errors import UsageError
from preprocessing.support.versions import message_class

_PACKAGE = "deepfake.serving"
_MESSAGES: dict[str, dict[str, str]] = {
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "enable_large_batch_splitting": "BoolValue",
        "max_execution_batch_size": "Int64Value",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
}
# TensorFlow Serving's path of the metrics page.
METRICS_PATH = "/monitoring/prometheus/metrics"


@dataclasses.dataclass(frozen=True)
class BatchingConfig:
    """TensorFlow Serving's batching parameters, with its defaults (batching/README.md there).

    Attributes:
      max_batch_size: rows of a batch and, without splitting, of a request.
      batch_timeout_micros: microseconds for which the oldest request waits for others.
      max_enqueued_batches: batches that wait at most; more are refused.
      num_batch_threads: batches that run at once.
      allowed_batch_sizes: sizes to which batches are padded; none pads nothing.
      thread_pool_name: name in the metrics.
      enable_large_batch_splitting: whether a request of more rows than
        `max_execution_batch_size` is run in parts.
      max_execution_batch_size: rows of a batch where requests are split; None is
        `max_batch_size`, which then bounds requests only.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    thread_pool_name: str = "batch_threads"
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    @property
    def most_rows(self) -> int:
        """Of one batch."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size


def read_batching_config(path: str) -> BatchingConfig:
    """Reads a batching parameters file, as TensorFlow Serving's `--batching_parameters_file`.

    Raises:
      UsageError: the file cannot be read, or holds a value that TensorFlow Serving refuses.
    """
    message = _read("BatchingParameters", path, "batching parameters")
    if message.pad_variable_length_inputs:
        raise UsageError(f"{path}: pad_variable_length_inputs is not supported by this server")
    values = {
        field.name: getattr(message, field.name).value
        for field, _ in message.ListFields()
        if field.message_type is not None
    }
    config = BatchingConfig(**values, allowed_batch_sizes=tuple(message.allowed_batch_sizes))
    for key in ("max_batch_size", "max_enqueued_batches", "num_batch_threads", "most_rows"):
        if getattr(config, key) < 1:
            name = "max_execution_batch_size" if key == "most_rows" else key
            raise UsageError(f"{path}: {name} is {getattr(config, key)} and must be at least 1")
    if config.batch_timeout_micros < 0:
        raise UsageError(f"{path}: batch_timeout_micros must not be negative")
    if config.most_rows > config.max_batch_size:
        raise UsageError(
            f"{path}: max_execution_batch_size ({config.most_rows}) must not be more than "
            f"max_batch_size ({config.max_batch_size})"
        )
    sizes = config.allowed_batch_sizes
    if sizes and (sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes))):
        raise UsageError(f"{path}: allowed_batch_sizes must be positive and rise")
    if sizes and sizes[-1] != config.most_rows:
        split = config.enable_large_batch_splitting
        name = "max_execution_batch_size" if split else "max_batch_size"
        raise UsageError(
            f"{path}: the last of allowed_batch_sizes ({sizes[-1]}) must be {name} "
            f"({config.most_rows})"
        )
    return config


def read_metrics_path(path: str) -> str:
    """The path of the metrics page in a `--monitoring_config_file`; empty where it is off.

    Raises:
      UsageError: the file cannot be read, or the path is none of HTTP.
    """
    prometheus = _read("MonitoringConfig", path, "monitoring configuration").prometheus_config
    if not prometheus.enable:
        return ""
    if prometheus.path and not prometheus.path.startswith("/"):
        raise UsageError(f"{path}: the path {prometheus.path!r} must begin with /")
    return prometheus.path or METRICS_PATH


@dataclasses.dataclass(frozen=True)
class TlsFile:
    """TensorFlow Serving's `--ssl_config_file`: PEM texts, not the paths of files.

    Attributes:
      key: the private key.
      certificate: the certificate chain.
      client_ca: authority of the clients' certificates; empty asks for none.
    """

    key: str
    certificate: str
    client_ca: str


def read_tls_file(path: str) -> TlsFile:
    """Reads a `--ssl_config_file`.

    Raises:
      UsageError: the file cannot be read, lacks the key or the certificate, or asks for clients'
        certificates without their authority.
    """
    message = _read("SSLConfig", path, "TLS configuration")
    if not message.server_key or not message.server_cert:
        raise UsageError(f"{path}: server_key and server_cert are needed")
    if message.client_verify and not message.custom_ca:
        raise UsageError(f"{path}: client_verify needs custom_ca")
    authority = message.custom_ca if message.client_verify else ""
    return TlsFile(message.server_key, message.server_cert, authority)


def read_text(path: str, message: Any, what: str) -> None:
    """Fills a message from a file in text format.

    Raises:
      UsageError: the file cannot be read or parsed.
    """
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except text_format.ParseError as error:
        name = message.DESCRIPTOR.full_name.replace(_PACKAGE, "tensorflow.serving")
        raise UsageError(
            f"{what} {path} cannot be used: Error parsing text-format {name}: {error}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what} {path} cannot be used: {error}") from error


def _read(name: str, path: str, what: str) -> Any:
    message = message_class(_pool(), f"{_PACKAGE}.{name}")()
    read_text(path, message, what)
    return message


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="deepfake/server_files.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        _declare(file.message_type.add(name=name), fields)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return pool


def _declare(message: descriptor_pb2.DescriptorProto, fields: Mapping[str, str]) -> None:
    kinds = descriptor_pb2.FieldDescriptorProto
    plain = {"bool": kinds.TYPE_BOOL, "string": kinds.TYPE_STRING, "int64": kinds.TYPE_INT64}
    for number, (name, kind) in enumerate(fields.items(), start=1):
        repeated, _, base = kind.rpartition(" ")
        field = message.field.add(
            name=name,
            number=number,
            label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
        )
        if base in plain:
            field.type = plain[base]
        else:
            field.type = kinds.TYPE_MESSAGE
            package = "google.protobuf" if base.endswith("Value") else _PACKAGE
            field.type_name = f".{package}.{base}"
