import json
import subprocess
import sys

import pytest

from preprocessing.support.errors import UsageError
from serving.model import card

GOOD = {
    "version": card.VERSION,
    "input_size": 224,
    "positive_class": "fake",
    "temperature": 1.5,
    "backbone": "nasnet_mobile",
}


def _model(folder, metadata=None):
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    if metadata is not None:
        (folder / card.FILE).write_text(json.dumps(metadata))
    return folder


def test_reads_a_model_a_trainer_output_and_the_newest_version(tmp_path):
    assert card.read(_model(tmp_path / "one", GOOD)) == GOOD
    _model(tmp_path / "two" / "Format-Serving", GOOD)
    assert card.read(tmp_path / "two") == GOOD
    for version in ("9", "10"):
        _model(tmp_path / "pushed" / version, {**GOOD, "backbone": version})
    assert card.read(str(tmp_path / "pushed"))["backbone"] == "10"


@pytest.mark.parametrize("name", ["²", "１", "৩"])
def test_folders_named_by_other_digits_are_no_versions(tmp_path, name):
    """`"²".isdigit()` is true, and `int` does not read it."""
    _model(tmp_path / name, {**GOOD, "backbone": "wrong"})
    with pytest.raises(UsageError, match="holds no exported model"):
        card.find_saved_model(tmp_path)
    _model(tmp_path / "3", GOOD)
    assert card.find_saved_model(tmp_path) == tmp_path / "3"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "was not exported by this pipeline"),
        ({**GOOD, "version": 99}, "has version 99"),
        ({"version": 1}, "without input_size"),
        ([], "incomplete"),
    ],
)
def test_other_models_are_refused(tmp_path, metadata, message):
    with pytest.raises(UsageError, match=message):
        card.read(_model(tmp_path / "model", metadata))


def test_damaged_metadata(tmp_path):
    _model(tmp_path / "model", GOOD)
    (tmp_path / "model" / card.FILE).write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        card.read(tmp_path / "model")


def test_no_model_at_all(tmp_path):
    with pytest.raises(UsageError, match="is not a folder"):
        card.read(tmp_path / "absent")
    with pytest.raises(UsageError, match="holds no exported model"):
        card.read(tmp_path)


def test_needs_no_tensorflow():
    program = "import sys, serving.model.card; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
