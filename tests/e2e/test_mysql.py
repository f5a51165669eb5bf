"""A run whose metadata store is a database of MySQL: MariaDB, started by the test."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from e2e.workspace import Workspace, executed
from serving_support.gateway import until

from benchmarks._harness import free_ports
from pipeline import metadata_store
from preprocessing.support.errors import UsageError

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, PROGRAMS)) or os.geteuid() != 0,
        reason="needs root and MariaDB: apt-get install mariadb-server",
    ),
]
WORD = "zyx9secret"
# With what protobuf's text form and SQL escape.
SECRET = f'quite "{WORD}" \\ word'


class Database:
    """The server with a folder and a port of its own; a context manager."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = 0
        self._socket = folder / "socket"
        self._server: subprocess.Popen | None = None

    def __enter__(self):
        data = self.folder / "data"
        data.mkdir()
        own = ["--no-defaults", "--user=root", f"--datadir={data}"]
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(["mariadb-install-db", *own, *options], check=True, capture_output=True)
        command = ["mariadbd", *own, f"--socket={self._socket}", "--bind-address=127.0.0.1"]
        for _ in range(3):  # Somebody else may take the port first.
            (self.port,) = free_ports(1)
            with (self.folder / "log").open("wb") as log:
                self._server = subprocess.Popen(
                    [*command, f"--port={self.port}"], stdout=log, stderr=log
                )
            try:
                until(self._listens_or_ended, f"{log.name} tells that the server listens", 300)
            except BaseException:
                self.__exit__()
                raise
            if self._server.poll() is None:
                return self
        raise AssertionError(f"the server ended: {Path(log.name).read_text()[-2000:]}")

    def _listens_or_ended(self):
        return self._socket.exists() or self._server.poll() is not None

    def __exit__(self, *_):
        self._server.kill()
        self._server.wait()

    def sql(self, text):
        command = ["mariadb", "--no-defaults", f"--socket={self._socket}", "--user=root"]
        return subprocess.run(
            command, input=text, text=True, check=True, capture_output=True
        ).stdout

    def dump(self):
        command = ["mariadb-dump", "--no-defaults", f"--socket={self._socket}", "--user=root"]
        return subprocess.run([*command, "runs"], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with Database(tmp_path_factory.mktemp("mysql")) as database:
        word = SECRET.replace("\\", "\\\\").replace("'", "\\'")
        database.sql(f"CREATE USER me@'%' IDENTIFIED BY '{word}'; GRANT ALL ON runs.* TO me@'%';")
        yield database


@pytest.fixture
def space(workspace, first_run, database, monkeypatch, tmp_path):
    """The session's data, with the faces that its run has extracted, and an output of its own."""
    monkeypatch.setenv(metadata_store.PASSWORD, SECRET)
    shutil.copytree(workspace.output / "face-store", tmp_path / "out" / "face-store")
    address = f"metadata=mysql://me@127.0.0.1:{database.port}/runs"
    return Workspace(workspace.data, tmp_path / "out", (address,))


@pytest.mark.timeout(1200)
def test_a_run_and_a_cached_one_with_mysql(space, first_run, database, capfd, caplog):
    status, summary = space.run()
    assert (status, set(summary["nodes"])) == (0, set(first_run[1]["nodes"]))
    assert executed(summary) == set(summary["nodes"])
    assert summary["extraction"]["crops"] == first_run[1]["extraction"]["crops"]
    status, summary = space.run()
    assert (status, executed(summary)) == (0, set())
    assert not (space.output / "metadata").exists()

    written = database.dump()
    assert b"FaceExtractor" in written
    assert "Component FaceExtractor is finished" in caplog.text
    said = "".join(capfd.readouterr())
    for text in (written.decode(errors="replace"), caplog.text, said):
        assert WORD not in text
    for path in space.output.rglob("*"):
        assert not path.is_file() or WORD.encode() not in path.read_bytes(), path


def test_what_the_server_refuses_is_a_sentence(database, space, monkeypatch):
    config = space.config()
    metadata_store.check_store(config)
    monkeypatch.setenv(metadata_store.PASSWORD, "another word")
    with pytest.raises(UsageError, match=r"does not open runs for me \(it refuses") as caught:
        metadata_store.check_store(config)
    assert "another word" not in str(caught.value)
    monkeypatch.setenv(metadata_store.PASSWORD, SECRET)
    other = config.replace(metadata=f"mysql://me@127.0.0.1:{database.port}/others")
    with pytest.raises(UsageError, match="Access denied for user 'me'"):
        metadata_store.check_store(other)
