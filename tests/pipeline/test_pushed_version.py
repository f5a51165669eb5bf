"""What is said of a pushed version, and what becomes of one that was deleted since."""

import shlex
from pathlib import Path

from pipeline.cli import main
from pipeline.pushed_version import next_step
from pipeline.rollback import roll_back
from serving.model.card import version_folders
from serving.model.restoring import restore


def version(base: Path, name: str) -> Path:
    (base / name / "variables").mkdir(parents=True)
    (base / name / "saved_model.pb").write_text(name)
    return base / name


def test_the_command_is_as_one_would_type_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pushed = version(Path("runs/demo/models/demo"), "17")
    assert next_step(pushed).endswith(": deepfake up runs/demo/models/demo")
    monkeypatch.chdir("runs")
    elsewhere = version(tmp_path / "my runs/models/demo", "17")
    assert next_step(elsewhere).endswith(f": deepfake up '{elsewhere.parent}'")


def test_a_higher_version_is_the_one_that_is_served(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pushed = version(Path("models/demo"), "17")
    version(Path("models/demo"), "16")
    assert "deepfake up" in next_step(pushed)
    version(Path("models/demo"), "20")
    said = next_step(pushed)
    assert "deepfake up" not in said
    assert said.startswith("version 20 beside it is higher, and is the one that is served; ")
    command = shlex.split(said.rpartition("one served: ")[2])
    assert command == ["deepfake", "rollback", "models/demo", "--to", "17"]


def test_the_command_leaves_a_way_back(tmp_path, monkeypatch):
    """Where the highest version is a copy itself."""
    monkeypatch.chdir(tmp_path)
    base = Path("my models/demo")
    version(base, "16")
    pushed = version(base, "17")
    assert roll_back(base).copy_of == 16
    command = shlex.split(next_step(pushed).rpartition("one served: ")[2])
    assert main(command[1:]) == 0
    served = base / str(max(version_folders(base)))
    assert (served / "saved_model.pb").read_text() == "17"
    assert roll_back(base).copy_of == 16


def test_a_version_that_was_deleted_is_put_back(tmp_path):
    archive, pushed = version(tmp_path / "archive", "4"), tmp_path / "models/demo/17"
    pushed.parent.mkdir(parents=True)
    assert restore(pushed, archive)
    assert (pushed / "saved_model.pb").read_text() == "4"
    assert [path.name for path in pushed.parent.iterdir()] == ["17"]
    assert not restore(pushed, archive), "it is there"
    (pushed / "saved_model.pb").unlink()
    assert restore(pushed, archive), "a part of it is not enough"
    assert (pushed / "variables").is_dir()
