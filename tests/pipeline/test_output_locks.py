"""What another command is working on is left alone, by every command that writes into a folder."""

import os

import pytest
from made_media import portrait, write_image
from serving_support.gateway import write_metadata
from serving_support.models import face_detector

from pipeline.cli import main
from preprocessing.support.output_lock import locked

# Command -> its arguments, and the folder that it works in.
COMMANDS = {
    "score": (["--model", "{model}", "--data", "{data}", "--output", "{out}.parquet"], "out.work"),
    "evaluate": (["--model", "{model}", "--data", "{data}", "--output", "{out}"], "out"),
    "extract": (["--data", "{data}", "--output", "{out}"], "out/faces"),
    "run": (["--data", "{data}", "--output", "{out}"], "out"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    version = face_detector(tmp_path_factory.mktemp("model") / "1")
    write_metadata(version, real_below=0.4, fake_above=0.6)
    return version


@pytest.mark.integration
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_in_use_is_refused(command, model, tmp_path, capfd):
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
        write_image(tmp_path / "data" / label / f"{label}.png", portrait())
    arguments, folder = COMMANDS[command]
    places = {"model": model, "data": tmp_path / "data", "out": tmp_path / "out"}
    (tmp_path / folder).mkdir(parents=True)
    with locked(tmp_path / folder, "the work of a test"):
        before = contents(tmp_path / folder)
        status = main([command, *(argument.format(**places) for argument in arguments)])
        assert contents(tmp_path / folder) == before, "nothing was written"
    said = capfd.readouterr()
    assert status == 2, said
    assert "the work of a test" in said.out + said.err
    assert str(os.getpid()) in said.out + said.err


def contents(folder):
    return sorted(str(path) for path in folder.rglob("*"))
