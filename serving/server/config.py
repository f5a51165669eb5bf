"""Configuration of the server: TensorFlow Serving's files, and the server's options."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.support.errors import UsageError
from serving.http.options import HttpOptions
from serving.server.status_codes import ServingError, invalid
from serving.server.text_config import METRICS_PATH, BatchingConfig, TlsFile, read_text

if TYPE_CHECKING:
    from tensorflow_serving.config import model_server_config_pb2

# As libevent, which TensorFlow Serving's REST is made of. Clients and proxies that keep connections
# for longer get resets.
_KEEP_ALIVE_SECONDS = 50.0


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on disk are served.

    Attributes:
      kind: `latest` (the highest `latest`), `all`, or `specific` (those of `versions`).
      latest: number of versions, for `latest`.
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
class LoadOptions:
    """How versions are looked for and loaded; defaults are those of TensorFlow Serving.

    Attributes:
      poll_seconds: seconds between looks at the version folders; 0 looks once.
      max_retries: number of further tries for a version that cannot be loaded.
      retry_seconds: seconds between two tries.
      tags: tags of the meta graph.
      labels_of_unavailable: whether a new label may name a version that does not answer yet.
      warm_up: whether a version's warm-up records are replayed before it is announced.
      warmup_iterations: replays of each record.
    """

    poll_seconds: float = 1.0
    max_retries: int = 5
    retry_seconds: float = 60.0
    tags: tuple[str, ...] = ("serve",)
    labels_of_unavailable: bool = False
    warm_up: bool = True
    warmup_iterations: int = 1


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How the server listens and what it allows.

    Attributes:
      host: address to listen on.
      port: port of gRPC; 0 takes a free one.
      rest_port: port of REST; 0 takes a free one, and None answers no REST.
      socket_path: a Unix socket on which gRPC answers as well; empty opens none.
      grpc_arguments: arguments of gRPC's channels, by name.
      rest_timeout: seconds until a REST request is answered with 504.
      loading: options of looking for versions and loading them.
      check_methods: whether a signature must carry the method name of the request.
      max_in_flight: inference requests that are run or waiting; the next is refused.
      max_message_bytes: bytes of one request at most.
      max_body_bytes: bytes at most of all REST bodies together that are in the server.
      max_connections: REST connections; requests on more get 503.
      head_timeout: seconds for the head of a REST request; the connection is closed after them.
      cors_origins: origins whose pages may ask over REST; `*` allows all.
      metrics_path: path of the metrics page; empty answers none.
      profiler: whether gRPC's ProfilerService is answered, which writes files where it is told.
      slots: unbatched requests that run at once.
      batching: batching parameters; None runs each request by itself.
      tls_cert: path of a PEM file with the certificate chain; with `tls_key`.
      tls_key: path of a PEM file with the private key.
      tls_client_ca: path of a PEM file; clients must show a certificate that it signed.
      grpc_tls: TLS of gRPC alone, instead of the three files, which REST has too.
      token: bearer token that requests must hold; empty asks for none.
      reload_config: whether HandleReloadConfigRequest is answered at all.
      reload_token: bearer token that HandleReloadConfigRequest must hold instead of `token`.
        Without it, a server with a `token` refuses the method, and one without answers it to
        everybody.
      drain_seconds: seconds for which requests may go on after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int | None = 8501
    socket_path: str = ""
    grpc_arguments: tuple[tuple[str, str | int], ...] = ()
    rest_timeout: float = 30.0
    loading: LoadOptions = LoadOptions()
    check_methods: bool = False
    max_in_flight: int = 64
    max_message_bytes: int = 64 << 20
    max_body_bytes: int = 256 << 20
    max_connections: int = 512
    head_timeout: float = 10.0
    cors_origins: tuple[str, ...] = ()
    metrics_path: str = METRICS_PATH
    profiler: bool = False
    slots: int = os.cpu_count() or 1
    batching: BatchingConfig | None = None
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    grpc_tls: TlsFile | None = dataclasses.field(default=None, repr=False)
    token: str = dataclasses.field(default="", repr=False)
    reload_config: bool = True
    reload_token: str = dataclasses.field(default="", repr=False)
    drain_seconds: float = 30.0

    @property
    def http(self) -> HttpOptions:
        """What of it concerns REST's connections."""
        return HttpOptions(
            host=self.host,
            port=self.rest_port or 0,
            timeout=self.rest_timeout,
            head_timeout=self.head_timeout,
            keep_alive=_KEEP_ALIVE_SECONDS,
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
      folder: folder where relative base paths start; TensorFlow Serving allows none.

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

    config = model_server_config_pb2.ModelServerConfig()
    read_text(path, config, "models configuration")
    try:
        return models_from_proto(config, str(Path(path).resolve().parent))
    except ServingError as error:
        raise UsageError(f"models configuration {path} cannot be used: {error}") from error
