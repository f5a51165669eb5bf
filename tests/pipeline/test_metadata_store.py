"""Which metadata store a run has, and what is said where it cannot be opened.

A real database is in tests/e2e/test_mysql.py.
"""

import logging

import pytest
from compiled_pipeline import INPUTS
from ports import refusing_port

from pipeline import metadata_store
from pipeline.config import load_config
from pipeline.metadata_store import PASSWORD, PASSWORD_FILE
from preprocessing.support.errors import UsageError

SECRET = 'never "printed" \\ anywhere'


def config(metadata, output="out"):
    return load_config("demo", [f"metadata={metadata}", f"output={output}"])


@pytest.fixture(autouse=True)
def _no_password(monkeypatch):
    monkeypatch.delenv(PASSWORD, raising=False)
    monkeypatch.delenv(PASSWORD_FILE, raising=False)


def test_sqlite_below_the_output_is_the_default(tmp_path):
    metadata_store.open_store(config("", tmp_path / "out"))
    assert (tmp_path / "out/metadata/metadata.sqlite").is_file()
    metadata_store.open_store(config(tmp_path / "other" / "file.db"))
    assert (tmp_path / "other/file.db").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mysql://me:word@db/runs", "metadata: a password does not belong into the configuration"),
        ("postgres://me@db/runs", "is no address of a database; write mysql://USER@HOST:PORT"),
        ("mysql://db/runs", "is no address of a database"),
        ("mysql://me@db", "is no address of a database"),
        ("mysql://me@db:99999/runs", "is no address of a database"),
    ],
)
def test_other_addresses_are_refused(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        config(text)
    assert "word@" not in str(caught.value)


def test_without_a_password_the_variable_is_named():
    with pytest.raises(UsageError, match=f"the password of me is missing: set {PASSWORD}, or"):
        metadata_store.check_store(config("mysql://me@db/runs"))


def test_a_file_that_is_away_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(PASSWORD_FILE, str(tmp_path / "away"))
    with pytest.raises(UsageError, match=f"{PASSWORD_FILE}: .*away cannot be read .No such file"):
        metadata_store.check_store(config("mysql://me@db/runs"))


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_away_is_named(monkeypatch, host):
    monkeypatch.setenv(PASSWORD, SECRET)
    with refusing_port() as port:
        message = f"no MySQL server answers at {host}:{port} "
        with pytest.raises(UsageError, match=message) as caught:
            metadata_store.check_store(config(f"mysql://me@{host}:{port}/runs"))
    assert SECRET not in str(caught.value)


@pytest.mark.integration
def test_the_runner_alone_knows_the_password(monkeypatch, tmp_path, caplog):
    """Neither the compiled pipeline nor what TFX logs of the connection holds it."""
    from tfx.orchestration.local import local_dag_runner

    from pipeline.pipeline import create_pipeline

    (tmp_path / "word").write_text(f"{SECRET}\n")
    monkeypatch.setenv(PASSWORD_FILE, str(tmp_path / "word"))
    configured = config("mysql://me@db/runs")
    seen = []

    def run_with_ir(self, ir, run_options=None):
        found = local_dag_runner.runner_utils.extract_local_deployment_config(ir)
        seen.append(found.metadata_connection_config.database_connection_config.mysql)
        local_dag_runner.logging.info("Using connection config:\n %s", seen[0])
        local_dag_runner.logging.info("with %s", SECRET)
        local_dag_runner.logging.info("Component %s is running.", "Trainer")

    monkeypatch.setattr(local_dag_runner.LocalDagRunner, "run_with_ir", run_with_ir)
    dag = create_pipeline(configured, INPUTS)
    with caplog.at_level(logging.INFO, "absl"):
        metadata_store.runner(configured).run(dag)
    assert (seen[0].host, seen[0].user, seen[0].password) == ("db", "me", SECRET)
    assert caplog.messages[-1] == "Component Trainer is running."
    assert "never" not in caplog.text
    assert dag.metadata_connection_config.mysql.password == ""
    assert not logging.getLogger("absl").filters


@pytest.mark.integration
def test_a_run_is_told_from_others_in_its_store(tmp_path):
    """A database is shared, and the run that began last need not be one's own."""
    from tfx import v1 as tfx

    from pipeline.run_summary import executions

    configured = config("").replace(output=str(tmp_path))
    store = metadata_store.open_store(configured)
    names = []
    for node in ("first", "second"):
        importer = tfx.dsl.Importer(
            source_uri=str(tmp_path), artifact_type=tfx.types.standard_artifacts.Schema
        ).with_id(node)
        dag = tfx.dsl.Pipeline(
            pipeline_name="mine",
            pipeline_root=str(tmp_path / "artifacts"),
            components=[importer],
            metadata_connection_config=metadata_store.connection(configured),
        )
        runner = metadata_store.runner(configured)
        assert not runner.run_name
        runner.run(dag)
        names.append(runner.run_name)
    assert [list(executions(store, name, "mine")[0]) for name in names] == [["first"], ["second"]]
