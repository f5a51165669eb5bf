"""A damaged model is refused by one sentence that names it."""

import shutil
from pathlib import Path

import pytest

from pipeline.cli import main
from preprocessing.support.errors import UsageError
from serving.model.saved_model import load_saved_model

MODEL = Path(__file__).parents[2] / "models" / "90b7ebd"
MEDIA = Path(__file__).parents[2] / "media"
DATA, INDEX = "variables/variables.data-*", "variables/variables.index"


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return (
        content[:middle]
        + bytes(255 - byte for byte in content[middle : middle + 64])
        + content[middle + 64 :]
    )


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [(DATA, cut), (DATA, flipped), (INDEX, cut), (INDEX, None), ("saved_model.pb", cut)],
)
def test_files_that_are_cut_off_changed_or_missing(tmp_path, pattern, damage):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    (file,) = model.glob(pattern)
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UsageError, match=r"cannot be loaded: .+; a file of it is missing") as error:
        load_saved_model(model)
    assert str(model) in str(error.value)


@pytest.mark.integration
def test_the_command_line_says_it(tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    (file,) = model.glob(DATA)
    file.write_bytes(cut(file.read_bytes()))
    assert main(["predict", str(MEDIA / "fake122.mp4"), "--model", str(model)]) == 2
    said = capsys.readouterr().err
    assert f"the model in {model} cannot be loaded" in said
    assert "Traceback" not in said
