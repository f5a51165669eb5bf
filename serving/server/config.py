"""Configuration of the server: TensorFlow Serving's files, and the server's options."""

from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    text_format,
    wrappers_pb2,
)

from preprocessing.support.errors import UsageError
from preprocessing.support.versions import message_class
from serving.http.options import HttpOptions
from serving.server.status_codes import invalid

if TYPE_CHECKING:
    from tensorflow_serving.config import model_server_config_pb2

# Switches of TensorFlow Serving's batching that are refused when they are on.
_UNSUPPORTED = ("pad_variable_length_inputs", "enable_large_batch_splitting")


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on disk are served.

    Attributes:
      kind: `latest` (the highest `latest`), `all`, or `specific` (those of `versions`).
      latest: how many, for `latest`.
      versions: version numbers, for `specific`.
    """

    kind: str = "latest"
    latest: int = 1
    versions: tuple[int, ...] = ()

    def choose(self, versions: list[int]) -> list[int]:
        """The versions to serve out of those that can be, highest first."""
        ordered = sorted(versions, reverse=True)
        if self.kind == "all":
            return ordered
        if self.kind == "specific":
            return [version for version in ordered if version in self.versions]
        return ordered[: self.latest]


@dataclasses.dataclass(frozen=True)
class ServedModelConfig:
    """One served model: name, folder of its versions, policy, and labels of versions."""

    name: str
    base_path: str
    policy: VersionPolicy = VersionPolicy()
    labels: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class BatchingConfig:
    """TensorFlow Serving's batching parameters, with its defaults (batching/README.md there)."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    thread_pool_name: str = "batch_threads"


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How the server listens and what it allows.

    Attributes:
      host: address to listen on.
      port: of gRPC; 0 takes a free one.
      rest_port: of REST; 0 takes a free one.
      rest_timeout: seconds until a REST request is answered with 504.
      poll_seconds: between looks at the version folders.
      max_in_flight: inference requests that are run or waiting; the next is refused.
      max_message_bytes: of one request.
      max_body_bytes: of all REST bodies together that are in the server.
      max_connections: REST connections; requests on more get 503.
      head_timeout: seconds for the head of a REST request; the connection is closed after them.
      cors_origins: origins whose pages may ask over REST; `*` allows all.
      slots: unbatched requests that run at once.
      batching: None runs each request by itself.
      tls_cert: path of a PEM file with the certificate chain; with `tls_key`.
      tls_key: path of a PEM file with the private key.
      tls_client_ca: path of a PEM file; clients must show a certificate that it signed.
      token: what `Authorization: Bearer` must hold; empty asks for none.
      reload_config: whether HandleReloadConfigRequest is answered at all.
      reload_token: what it must hold for HandleReloadConfigRequest instead of `token`. Without
        it, a server with a `token` refuses the method, and one without answers it to everybody.
      drain_seconds: how long requests may go on after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int = 8501
    rest_timeout: float = 30.0
    poll_seconds: float = 1.0
    max_in_flight: int = 64
    max_message_bytes: int = 64 << 20
    max_body_bytes: int = 256 << 20
    max_connections: int = 512
    head_timeout: float = 10.0
    cors_origins: tuple[str, ...] = ()
    slots: int = os.cpu_count() or 1
    batching: BatchingConfig | None = None
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    token: str = dataclasses.field(default="", repr=False)
    reload_config: bool = True
    reload_token: str = dataclasses.field(default="", repr=False)
    drain_seconds: float = 30.0

    @property
    def http(self) -> HttpOptions:
        """What of it concerns REST's connections."""
        return HttpOptions(
            host=self.host,
            port=self.rest_port,
            timeout=self.rest_timeout,
            head_timeout=self.head_timeout,
            max_connections=self.max_connections,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            tls_client_ca=self.tls_client_ca,
            drain_seconds=self.drain_seconds,
        )


def models_from_proto(
    config: model_server_config_pb2.ModelServerConfig, folder: str = ""
) -> list[ServedModelConfig]:
    """Reads a ModelServerConfig message.

    Args:
      config: `tensorflow_serving.config.model_server_config_pb2.ModelServerConfig`.
      folder: where relative base paths start; TensorFlow Serving allows none.

    Raises:
      ServingError: INVALID_ARGUMENT: no list of models, a model without name or base path, two
        of one name, or a policy that chooses nothing.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
            "ModelConfigList is currently supported"
        )
    models: dict[str, ServedModelConfig] = {}
    for entry in config.model_config_list.config:
        if not entry.name or not entry.base_path:
            raise invalid(f"a model needs a name and a base_path; got name {entry.name!r}")
        if entry.name in models:
            raise invalid(f"Illegal to list model {entry.name} multiple times in config list")
        if entry.model_platform not in ("", "tensorflow"):
            raise invalid(f"model {entry.name}: platform {entry.model_platform!r} is not known")
        models[entry.name] = ServedModelConfig(
            name=entry.name,
            # Path would spoil addresses such as gs://bucket.
            base_path=os.path.join(folder, entry.base_path),  # noqa: PTH118
            policy=_policy(entry),
            labels=dict(entry.version_labels),
        )
    return list(models.values())


def _policy(entry: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    message = entry.model_version_policy
    kind = message.WhichOneof("policy_choice") or "latest"
    versions = tuple(message.specific.versions)
    # num_versions 0 is the default of the message and means 1.
    policy = VersionPolicy(kind, message.latest.num_versions or 1, versions)
    if kind == "specific" and not versions:
        raise invalid(f"model {entry.name}: the policy `specific` lists no version")
    return policy


def read_models_config(path: str) -> list[ServedModelConfig]:
    """Reads a `models.config` file (text format of ModelServerConfig).

    Raises:
      UsageError: the file cannot be read, or says something that cannot be served.
    """
    from tensorflow_serving.config import model_server_config_pb2

    from serving.server.status_codes import ServingError

    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), config)
        return models_from_proto(config, str(Path(path).resolve().parent))
    except (OSError, UnicodeDecodeError, text_format.ParseError, ServingError) as error:
        raise UsageError(f"models configuration {path} cannot be used: {error}") from error


def read_batching_config(path: str) -> BatchingConfig:
    """Reads a batching parameters file, as TensorFlow Serving's `--batching_parameters_file`.

    Raises:
      UsageError: the file cannot be read, or holds a value that TensorFlow Serving refuses.
    """
    message = _batching_message()()
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise UsageError(f"batching parameters {path} cannot be used: {error}") from error
    for name in _UNSUPPORTED:
        if getattr(message, name):
            raise UsageError(f"{path}: {name} is not supported by this server")
    values = {
        field.name: getattr(message, field.name).value
        for field, _ in message.ListFields()
        if field.message_type is not None
    }
    config = BatchingConfig(**values, allowed_batch_sizes=tuple(message.allowed_batch_sizes))
    for key in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
        if getattr(config, key) < 1:
            raise UsageError(f"{path}: {key} is {getattr(config, key)} and must be at least 1")
    if config.batch_timeout_micros < 0:
        raise UsageError(f"{path}: batch_timeout_micros must not be negative")
    sizes = config.allowed_batch_sizes
    if sizes and (sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes))):
        raise UsageError(f"{path}: allowed_batch_sizes must be positive and rise")
    if sizes and sizes[-1] != config.max_batch_size:
        raise UsageError(
            f"{path}: the last of allowed_batch_sizes ({sizes[-1]}) must be max_batch_size "
            f"({config.max_batch_size})"
        )
    return config


def _batching_message() -> Any:
    """The message class of the file: `tensorflow-serving-api` ships none.

    Field names and types are those of session_bundle_config.proto; numbers do not matter to the
    text format.
    """
    field = descriptor_pb2.FieldDescriptorProto
    wrapped = {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="deepfake/batching_parameters.proto",
        package="deepfake.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    message = file.message_type.add(name="BatchingParameters")
    for number, (name, kind) in enumerate(wrapped.items(), start=1):
        message.field.add(
            name=name,
            number=number,
            label=field.LABEL_OPTIONAL,
            type=field.TYPE_MESSAGE,
            type_name=f".google.protobuf.{kind}",
        )
    message.field.add(
        name="allowed_batch_sizes", number=20, label=field.LABEL_REPEATED, type=field.TYPE_INT64
    )
    for number, name in enumerate(_UNSUPPORTED, start=21):
        message.field.add(
            name=name, number=number, label=field.LABEL_OPTIONAL, type=field.TYPE_BOOL
        )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_class(pool, "deepfake.serving.BatchingParameters")
