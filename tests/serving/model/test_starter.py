"""The model that answers where none is named: where it is, and that every command says so."""

import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from serving_support.starter import PROVENANCE, TOLD, make_starter
from wheels import build_wheel

import serving
from pipeline.cli import main
from preprocessing.support.errors import UsageError
from serving.gateway.arguments import GatewayArguments
from serving.gateway.main import run as run_gateway
from serving.model import card, starter
from serving.model.verdict import NOT_A_VERDICT
from serving.server.arguments import ServerArguments
from serving.server.main import _models

pytestmark = pytest.mark.integration

ROOT = Path(serving.__file__).parents[1]
SERVER = "grpc://127.0.0.1:8500"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Takes pictures as crops, as they are."""
    return make_starter(tmp_path_factory.mktemp("package") / "starter", precropped=True)


@pytest.fixture
def placed(made, monkeypatch):
    monkeypatch.setattr(starter, "FOLDER", made)
    return made


@pytest.fixture
def absent(tmp_path, monkeypatch):
    monkeypatch.setattr(starter, "FOLDER", tmp_path / "starter")


def picture(path: Path, brightness: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((96, 96, 3), brightness, np.uint8))
    return path


def test_predict_says_which_model_answers(placed, tmp_path, capfd):
    file = picture(tmp_path / "a.png")
    assert main(["predict", str(file)]) == 0
    said = capfd.readouterr()
    assert said.err == f"no model is named, so the starter answers. {TOLD}\n"
    assert said.out.splitlines()[1].split()[0] == "fake"

    assert main(["predict", str(file), "--json"]) == 0
    said = capfd.readouterr()
    assert TOLD in said.err
    (answer,) = json.loads(said.out)
    assert (answer["verdict"], answer["warning"]) == ("fake", "")
    assert answer["model"] == {
        "name": "starter",
        "version": 1,
        "backbone": "tiny",
        "about": TOLD,
        "provenance": PROVENANCE,
    }

    # One that is named answers without a word of the starter, and its card is in the JSON too.
    assert main(["predict", str(file), "--model", str(placed), "--json"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert json.loads(said.out) == [answer]


def test_predict_puts_the_warning_where_a_word_would_be(tmp_path, monkeypatch, capfd):
    made = {**PROVENANCE, "made_data": True}
    monkeypatch.setattr(starter, "FOLDER", make_starter(tmp_path / "s", made, precropped=True))
    files = [str(picture(tmp_path / f"{level}.png", level)) for level in (10, 40, 200)]
    assert main(["predict", *files]) == 0
    head, *rows, meaning = capfd.readouterr().out.splitlines()
    assert head.split()[:2] == ["verdict", "P(fake)"]
    for file, row in zip(files, rows, strict=True):
        assert row.startswith(f"{NOT_A_VERDICT}  ")
        assert row.endswith(file)
        assert row.index(file) == head.index("file")
    assert meaning.startswith(NOT_A_VERDICT)

    assert main(["predict", *files, "--json"]) == 0
    answers = json.loads(capfd.readouterr().out)
    for answer in answers:
        assert answer["verdict"] == answer["warning"] == NOT_A_VERDICT
        assert answer["meaning"] == meaning

    table = tmp_path / "scores.parquet"
    for file in files:
        picture(tmp_path / "data" / Path(file).name, 200)
    arguments = ["score", "--data", str(tmp_path / "data"), "--precropped"]
    assert main([*arguments, "--output", str(table)]) == 0
    assert set(pd.read_parquet(table)["verdict"]) == {NOT_A_VERDICT}
    assert answers[0]["meaning"] in capfd.readouterr().out.splitlines()


def test_score_takes_the_starter_and_says_so(placed, tmp_path, capfd):
    picture(tmp_path / "data" / "a.png")
    arguments = ["score", "--data", str(tmp_path / "data"), "--precropped"]
    assert main([*arguments, "--output", str(tmp_path / "scores.parquet")]) == 0
    assert TOLD in capfd.readouterr().err
    table = pd.read_parquet(tmp_path / "scores.parquet")
    assert table["verdict"].to_list() == ["fake"]


@pytest.mark.parametrize("made_data", [False, True])
def test_evaluate_takes_the_starter_and_says_so(tmp_path, monkeypatch, capfd, made_data):
    provenance = {**PROVENANCE, "made_data": made_data}
    made = make_starter(tmp_path / "starter", provenance, precropped=True)
    monkeypatch.setattr(starter, "FOLDER", made)
    for number in range(4):
        picture(tmp_path / "data" / "real" / f"{number}.png", 10 + number)
        picture(tmp_path / "data" / "fake" / f"{number}.png", 200 + number)
    output = tmp_path / "out"
    arguments = ["evaluate", "--data", str(tmp_path / "data"), "--output", str(output)]
    assert main([*arguments, "--precropped"]) == 0
    said = capfd.readouterr()
    assert TOLD in said.err
    warned = f"warning: {NOT_A_VERDICT}; its scores show"
    page = (output / "report.html").read_text()
    assert "lamps (3 real and 4 fake clips, 2 persons, split train)" in page
    assert (warned in said.out, NOT_A_VERDICT.capitalize() in page) == (made_data, made_data)
    assert json.loads((output / "report.json").read_text())["warning"] == (
        NOT_A_VERDICT if made_data else ""
    )


def test_serve_takes_the_starter_and_says_so(placed, capsys):
    (model,) = _models(ServerArguments())
    assert (model.name, model.base_path) == ("starter", str(placed))
    assert TOLD in capsys.readouterr().err
    (model,) = _models(ServerArguments(model_base=str(placed), model_name="mine"))
    assert model.name == "mine"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ["two commands", "`deepfake serve`", f"`deepfake gateway --server {SERVER}`"]),
        ({"server": SERVER, "model": "mine"}, ["--model mine", "--model-base"]),
        ({"server": SERVER, "model_base": "nowhere"}, ["nowhere is not a folder"]),
    ],
)
def test_the_gateway_says_what_it_needs(placed, arguments, words):
    with pytest.raises(UsageError) as raised:
        run_gateway(GatewayArguments(**arguments))
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "FILE"],
        ["score", "--data", "DIR", "--output", "a.parquet"],
        ["evaluate", "--data", "DIR", "--output", "out"],
        ["serve"],
        ["gateway", "--server", SERVER],
    ],
)
def test_without_a_starter_a_model_has_to_be_named(
    absent, tmp_path, monkeypatch, capsys, arguments
):
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "FILE.png").rename("FILE")
    (tmp_path / "DIR").mkdir()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    option = "--model-base DIR" if arguments[0] in ("serve", "gateway") else "--model DIR"
    assert f"the starter is not there: {starter.FOLDER} holds no version" in said
    assert f"name one with {option} (" in said


def test_a_starter_that_does_not_say_what_it_is_answers_nothing(tmp_path, monkeypatch, capsys):
    made = make_starter(tmp_path / "starter", provenance=None)
    monkeypatch.setattr(starter, "FOLDER", made)
    assert main(["predict", str(picture(tmp_path / "a.png"))]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{made / '1' / card.FILE} has no section `provenance`" in said.err


def test_a_wheel_holds_every_file_of_the_starter(made, tmp_path):
    """Of the real one where there is one, and of one that a test puts there."""
    shutil.copy(ROOT / "setup.py", tmp_path)
    shutil.copytree(ROOT / "serving", tmp_path / "serving")
    shutil.copytree(made / "1", tmp_path / "serving" / "starter" / "999999999")
    names = set(zipfile.ZipFile(build_wheel(tmp_path)).namelist())
    wanted = {
        str(path.relative_to(tmp_path))
        for path in (tmp_path / "serving" / "starter").rglob("*")
        if path.is_file()
    }
    assert f"serving/starter/999999999/{card.FILE}" in wanted
    assert len(wanted) >= 5
    assert wanted <= names, wanted - names


class TestTheRealOne:
    @pytest.fixture
    def folder(self):
        try:
            return card.find_saved_model(starter.starter_path())
        except UsageError:
            pytest.skip("the starter is not there")

    def test_is_small(self, folder):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert size <= 20_000_000

    def test_says_what_it_is(self, folder):
        model_card = card.read(folder)
        found = model_card.provenance
        assert not model_card.made_data
        assert found.trained_on
        assert found.figures
        assert found.never_shown
        assert found.terms
        for name, figure in found.figures.items():
            assert figure.low <= figure.value <= figure.high, name
        assert model_card.conformal.real.smallest_rate < 0.01
        assert model_card.conformal.fake.smallest_rate < 0.01
        assert model_card.familiarity.distances.smallest_rate < 0.01
        assert model_card.operating_points is None
        assert model_card.answer_settings().crop_by == "landmarks"
        assert found.line() in starter.starter_line()

    def test_answers(self, folder, capsys):
        clip = ROOT / "tests" / "media" / "anareal121.mp4"
        assert main(["predict", str(clip), "--json"]) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        assert answer["verdict"] in ("fake", "real", "uncertain", "unfamiliar")
        assert 0 < answer["familiarity"]["p_value"] <= 1
        assert 0 < max(answer["p_values"].values()) <= 1
        assert answer["warning"] == ""
