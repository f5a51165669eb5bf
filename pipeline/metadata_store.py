"""The metadata store of local runs: `metadata`, a file of SQLite or a database of MySQL.

The password of MySQL is neither in the configuration nor in the compiled pipeline: the runner gets
it when it starts, and what TFX would log of the connection is left out then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.metadata_address import MySQL
from preprocessing.support.errors import UsageError

if TYPE_CHECKING:
    import ml_metadata as mlmd
    from ml_metadata.proto import metadata_store_pb2
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.proto.orchestration import pipeline_pb2

PASSWORD = "DEEPFAKE_METADATA_PASSWORD"  # noqa: S105, the name of a variable.
PASSWORD_FILE = f"{PASSWORD}_FILE"
_SECONDS_TO_CONNECT = 10


def connection(config: Config) -> metadata_store_pb2.ConnectionConfig:
    """How the store is reached, without a password."""
    from ml_metadata.proto import metadata_store_pb2

    settings = metadata_store_pb2.ConnectionConfig()
    if address := MySQL.parse(config.metadata):
        settings.mysql.host, settings.mysql.port = address.host, address.port
        settings.mysql.user, settings.mysql.database = address.user, address.database
    else:
        settings.sqlite.filename_uri = str(_file(config))
        settings.sqlite.connection_mode = (
            metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        )
    return settings


def check_store(config: Config) -> None:
    """Tries to open a database, so that a run does not begin without; a file is made later.

    Raises:
      UsageError: as `open_store`.
    """
    if MySQL.parse(config.metadata):
        open_store(config)


def open_store(config: Config) -> mlmd.MetadataStore:
    """Opens the store, creating it where it does not exist.

    Raises:
      UsageError: there is no password, no server answers, or it does not let the user in.
    """
    import ml_metadata as mlmd

    address = MySQL.parse(config.metadata)
    if address is None:
        _file(config).parent.mkdir(parents=True, exist_ok=True)
        return mlmd.MetadataStore(connection(config))
    opened = _with_password(connection(config))
    place = f"{address.host}:{address.port}"
    try:
        with socket.create_connection((address.host, address.port), _SECONDS_TO_CONNECT):
            pass
    except OSError as error:
        raise UsageError(
            f"metadata: no MySQL server answers at {place} ({error.strerror or error}): start it, "
            "or correct `metadata`"
        ) from error
    try:
        return mlmd.MetadataStore(opened)
    except RuntimeError as error:
        # The library says no more than that where the server refuses the password.
        why = str(error).partition("error: ")[2].strip() or "it refuses user or password"
        raise UsageError(
            f"metadata: the server at {place} does not open {address.database} for "
            f"{address.user} ({why}): look at {PASSWORD}, the user's rights, and that the "
            "account's authentication plugin is mysql_native_password"
        ) from error


def runner(config: Config) -> LocalDagRunner:
    """TFX's runner, connected to the store of the configuration.

    Its attribute `run_name` is the name of the context of the run; others may use the store
    meanwhile. It is empty before, and where `run` is patched not to run, as `tfx pipeline create`
    does.

    Raises:
      UsageError: there is no password.
    """
    from tfx.orchestration.local import local_dag_runner

    opened = None
    if MySQL.parse(config.metadata) is not None:
        opened = _with_password(connection(config))

    class Runner(local_dag_runner.LocalDagRunner):
        """Remembers the run's name, and puts the password into the pipeline in memory only."""

        run_name = ""

        def run_with_ir(
            self,
            pipeline: pipeline_pb2.Pipeline,
            run_options: pipeline_pb2.RunOptions | None = None,
        ) -> None:
            with _password(pipeline, opened):
                super().run_with_ir(pipeline, run_options)
            self.run_name = pipeline.runtime_spec.pipeline_run_id.field_value.string_value

    return Runner()


@contextlib.contextmanager
def _password(
    pipeline: pipeline_pb2.Pipeline, opened: metadata_store_pb2.ConnectionConfig | None
) -> Iterator[None]:
    """Connects a pipeline to a server with its password, and keeps that out of the log."""
    if opened is None:
        yield
        return
    from tfx.proto.orchestration import pipeline_pb2

    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    pipeline.deployment_config.Unpack(deployment)
    deployment.metadata_connection_config.Pack(opened)
    pipeline.deployment_config.Pack(deployment)
    left_out = _WithoutPassword(opened.mysql)
    logger = logging.getLogger("absl")
    logger.addFilter(left_out)
    try:
        yield
    finally:
        logger.removeFilter(left_out)


class _WithoutPassword(logging.Filter):
    """Leaves out records that hold the password, plain or as protobuf's text form writes it."""

    def __init__(self, mysql: metadata_store_pb2.MySQLDatabaseConfig):
        super().__init__()
        written = type(mysql)(password=mysql.password)
        self._texts = {mysql.password, str(written).strip()} - {""}

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(text in message for text in self._texts)


def _with_password(
    found: metadata_store_pb2.ConnectionConfig,
) -> metadata_store_pb2.ConnectionConfig:
    if file := os.environ.get(PASSWORD_FILE):
        try:
            password = Path(file).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise UsageError(
                f"{PASSWORD_FILE}: {file} cannot be read ({error.strerror})"
            ) from error
    elif PASSWORD in os.environ:
        password = os.environ[PASSWORD]
    else:
        raise UsageError(
            f"metadata: the password of {found.mysql.user} is missing: set {PASSWORD}, or "
            f"{PASSWORD_FILE} to a file that holds it"
        )
    found.mysql.password = password
    return found


def _file(config: Config) -> Path:
    return Path(config.metadata or Path(config.output) / "metadata" / "metadata.sqlite")
