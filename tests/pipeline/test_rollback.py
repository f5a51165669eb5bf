"""`deepfake rollback`, and what a server and the next push make of it."""

import hashlib
import json
import shutil
from pathlib import Path

import httpx
import pytest
from serving_support.gateway import until
from serving_support.models import half_plus_two

from pipeline.cli import main
from pipeline.rollback import MARKER, roll_back
from preprocessing.support.errors import UsageError
from preprocessing.support.output_lock import locked
from serving.server.process import ServerProcess


def version(base: Path, number: int, text: str = "") -> Path:
    """A folder that looks like a version."""
    folder = base / str(number)
    (folder / "variables").mkdir(parents=True)
    (folder / "variables/variables.index").write_text(text)
    (folder / "saved_model.pb").write_text(text)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_the_version_before_becomes_the_highest_and_nothing_is_deleted(tmp_path, capsys):
    version(tmp_path, 3, "good")
    version(tmp_path, 12, "bad")
    before = contents(tmp_path)
    assert main(["rollback", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    (new,) = {Path(name).parts[0] for name in after} - {"3", "12"}
    # A push is numbered by its time, and so comes after it.
    assert int(new) > 1_700_000_000
    copied = {name for name in contents(tmp_path / "3")}
    assert set(contents(tmp_path / new)) == {*copied, MARKER}
    assert {name: after[f"{new}/{name}"] for name in copied} == contents(tmp_path / "3")
    assert said == (
        f"version {new}, a copy of version 3, is the highest now and is served instead of version "
        "12, whose folder stays as it is\n"
    )


def test_again_goes_further_back_and_a_push_begins_anew(tmp_path):
    for number in (1, 2, 3):
        version(tmp_path, number)
    first, second = roll_back(tmp_path), roll_back(tmp_path)
    assert (first.copy_of, first.instead_of) == (2, 3)
    assert (second.copy_of, second.instead_of) == (1, first.served)
    assert second.served > first.served
    with pytest.raises(UsageError, match="holds no version before 1"):
        roll_back(tmp_path)
    pushed = second.served + 1000
    version(tmp_path, pushed)
    # Before that push the copy was served; the versions above it were withdrawn.
    assert roll_back(tmp_path).copy_of == 1


def test_a_version_that_was_withdrawn_is_not_served_again(tmp_path):
    for number in (1, 2, 3):
        version(tmp_path, number, str(number))
    first = roll_back(tmp_path)
    later, last = first.served + 1000, first.served + 2000
    version(tmp_path, later)
    assert roll_back(tmp_path).copy_of == 2
    version(tmp_path, last)
    assert roll_back(tmp_path, later).copy_of == later
    served = [roll_back(tmp_path) for _ in range(2)]
    assert [done.copy_of for done in served] == [2, 1]
    assert (tmp_path / str(served[0].served) / "saved_model.pb").read_text() == "2"


def test_the_original_of_a_copy_may_be_gone(tmp_path):
    for number in (1, 2, 3):
        version(tmp_path, number, str(number))
    first = roll_back(tmp_path)
    shutil.rmtree(tmp_path / "2")
    version(tmp_path, first.served + 1000)
    second = roll_back(tmp_path)
    assert second.copy_of == 2
    assert (tmp_path / str(second.served) / "saved_model.pb").read_text() == "2"


def test_any_version_that_is_there_can_be_served(tmp_path, capsys):
    for number in (16, 17, 18):
        version(tmp_path, number, str(number))
    first = roll_back(tmp_path)
    assert main(["rollback", str(tmp_path), "--to", "18"]) == 0
    said = capsys.readouterr().out
    served = int(said.split()[1].rstrip(","))
    assert said.startswith(f"version {served}, a copy of version 18, is the highest now and is")
    assert f"instead of version {first.served}, whose folder stays" in said
    assert (tmp_path / str(served) / "saved_model.pb").read_text() == "18"
    # The copy of 17 again, which is one of 17; the way back from there is as from 17 itself.
    again = roll_back(tmp_path, first.served)
    assert (again.copy_of, again.instead_of) == (17, served)
    assert (tmp_path / str(again.served) / "saved_model.pb").read_text() == "17"
    assert roll_back(tmp_path).copy_of == 16


def test_a_version_that_cannot_be_served_is_named(tmp_path, capsys):
    version(tmp_path, 7)
    version(tmp_path, 9)
    before = contents(tmp_path)
    assert main(["rollback", str(tmp_path), "--to", "8"]) == 2
    assert "holds no version 8; give one of 7, 9" in capsys.readouterr().err
    assert main(["rollback", str(tmp_path), "--to", "9"]) == 2
    assert "version 9 is the highest in" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_where_there_is_nothing_to_go_back_to(tmp_path, capsys):
    version(tmp_path, 7)
    (tmp_path / "8").mkdir()  # A push that is under way.
    (tmp_path / "6.old").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["rollback", str(tmp_path)]) == 2
    assert "holds no version before 7, so there is none to go back to" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != ".lock") == before
    assert main(["rollback", str(tmp_path / "8")]) == 2
    assert "holds no version of a model" in capsys.readouterr().err
    assert main(["rollback", "gs://bucket/models/demo"]) == 2
    assert "gs://bucket/models/demo is not a folder on this machine" in capsys.readouterr().err


def test_a_copy_that_fails_leaves_nothing_behind(tmp_path):
    version(tmp_path, 1)
    version(tmp_path, 2)
    shutil.rmtree(tmp_path / "1/variables")
    (tmp_path / "1/variables").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match=r"version 1 in .* cannot be copied"):
        roll_back(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == ["1", "2"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    version(tmp_path, 1)
    version(tmp_path, 2)
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UsageError, match=r"cannot be written \(Is a directory\); make room"):
        roll_back(tmp_path)


def test_another_rollback_is_waited_for_and_no_other_folder_named(tmp_path):
    version(tmp_path, 1)
    version(tmp_path, 2)
    with locked(tmp_path.resolve(), "a rollback"), pytest.raises(UsageError) as error:
        roll_back(tmp_path)
    assert str(error.value).endswith("; wait until it has ended")


def test_zeros_before_a_version_are_read_over(tmp_path):
    """As servers do."""
    for number in (1, 2):
        version(tmp_path, number).rename(tmp_path / f"{number:04}")
    assert roll_back(tmp_path).copy_of == 1


def test_a_marker_that_says_nothing_is_named(tmp_path):
    version(tmp_path, 1)
    broken = version(tmp_path, 2) / MARKER
    broken.parent.mkdir()
    broken.write_text("{}")
    with pytest.raises(UsageError, match="does not say which version was copied"):
        roll_back(tmp_path)


@pytest.mark.integration
def test_a_server_serves_it_and_then_the_next_push(tmp_path):
    base = tmp_path / "half"
    for number, offset in ((1, 1.0), (2, 2.0)):
        half_plus_two(base / str(number), offset)
    pushed = half_plus_two(tmp_path / "pushed", 3.0)
    with ServerProcess(["--model-base", base, "--poll", "0.2"]) as server:

        def answer() -> float:
            response = httpx.post(
                f"{server.rest}/v1/models/half:predict", json={"inputs": [[0.0]]}, timeout=60
            )
            return response.json()["outputs"][0][0]

        assert answer() == 2.0
        done = roll_back(base)
        until(lambda: answer() == 1.0, "the copy is served")

        def available():
            states = httpx.get(f"{server.rest}/v1/models/half", timeout=60).json()
            return [
                int(entry["version"])
                for entry in states["model_version_status"]
                if entry["state"] == "AVAILABLE"
            ]

        until(lambda: available() == [done.served], "the copy alone is served")
        # As Pusher does: by the time, complete when it appears.
        pushed.rename(base / str(done.served + 1))
        until(lambda: answer() == 3.0, "the push is served")
    assert json.loads((base / str(done.served) / MARKER).read_text())["copy_of"] == 1
