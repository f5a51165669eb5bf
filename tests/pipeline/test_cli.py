"""The command line as a person meets it: a real process each time."""

import os
import re
import subprocess
import sys
import time
import typing
from pathlib import Path

import pytest

from pipeline.cli import COMMANDS, main
from pipeline.commands import demo_data
from pipeline.config import load_config
from pipeline.scoring import ScoringRequest

# A real process each time.
pytestmark = pytest.mark.integration

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")


def deepfake(*arguments, cwd=None, env=None):
    return subprocess.run(
        [DEEPFAKE, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_refused(done, *words):
    """Exit 2, a sentence with the words, and no traceback."""
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "Traceback" not in said
    assert sum(line.startswith("error: ") for line in said.splitlines()) == 1
    for word in words:
        assert word in said


def test_help_of_every_command_loads_nothing_heavy_and_fits_a_terminal():
    code = (
        "import sys\n"
        "from pipeline.cli import COMMANDS, main\n"
        "for arguments in [], *([name] for name in COMMANDS):\n"
        "    print('$', *arguments)\n"
        "    assert main([*arguments, '--help']) == 0, arguments\n"
        "heavy = {'tensorflow', 'tfx', 'cv2', 'numpy', 'apache_beam', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    whole, *texts = done.stdout.removeprefix("$").split("\n$ ")
    assert len(texts) == len(COMMANDS)
    for name, text in zip(COMMANDS, texts, strict=True):
        assert re.search(rf"^  {name}  +[A-Z]", whole, re.M)
        assert text.startswith(f"{name}\nUsage: deepfake {name} [OPTIONS]")
        assert "-h, --help" in text
        assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("module", ["serving.server", "serving.gateway"])
def test_serving_modules_take_the_options_of_the_command(module):
    name = {"serving.server": "serve", "serving.gateway": "gateway"}[module]
    texts = [
        subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ([DEEPFAKE, name], [sys.executable, "-m", module])
    ]
    options, others = (re.findall(r"^  (-\S+)(.*)$", text, re.M) for text in texts)
    assert len(options) > 15
    assert options == others


def test_preprocessing_and_serving_import_without_tfx_or_tensorflow():
    modules = [
        "preprocessing.extraction.face_store",
        "preprocessing.faces.face_cropper",
        "preprocessing.manifest.build",
        "preprocessing.media.video",
        "serving.gateway.main",
        "serving.http.http_server",
        "serving.model.predictor",
        "serving.model.warmup_requests",
        "serving.server.main",
    ]
    code = (
        f"import importlib, sys\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "heavy = {'tensorflow', 'tfx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_is_not_slower_than_an_interpreter_that_imports_numpy():
    """A ratio, not a time: the machine may be slow."""

    def seconds(*command):
        start = time.monotonic()
        subprocess.run(command, capture_output=True, check=True)
        return time.monotonic() - start

    reference = sys.executable, "-c", "import numpy, scipy.stats"
    for arguments in (["--help"], ["gateway", "--help"]):
        # In turns, so that what else runs on the machine slows both.
        turns = [(seconds(*reference), seconds(DEEPFAKE, *arguments)) for _ in range(3)]
        of_reference, of_help = map(min, zip(*turns, strict=True))
        assert of_help < of_reference


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--preset", "dmeo"], ["dmeo", "did you mean 'demo'"]),
        (["run", "--preset", "demo", "--set", "training.epoch=1"], ["did you mean 'epochs'"]),
        (["run", "--preset", "folder", "--data", "x"], ["--output DIR"]),
        (["run", "--preset", "folder", "--output", "out"], ["--data DIR"]),
        (["run", "--preset", "folder", "--output", "out", "--data", "nowhere"], ["nowhere"]),
        (
            ["run", "--output", "out", "--data", ".", "--set", "model.weights=absent.h5"],
            ["absent.h5 is not there", "imagenet, starter, none"],
        ),
        (["predict", "nothing.mp4", "--model", "."], ["nothing.mp4"]),
        (["index", "nowhere"], ["nowhere"]),
        (["augment-preview", "--output", "a.png"], ["--data DIR"]),
        (["augment-preview", "--output", "a.png", "--data", "nowhere"], ["nowhere"]),
        (
            ["predict", __file__, "--save", "s3://b/x"],
            ["--save s3://b/x has to be on this machine"],
        ),
        (["demo-data", "s3://b/x"], ["DIR s3://b/x has to be on this machine"]),
        (["compare", "a", "b", "--output", "s3://b/x.html"], ["--output s3://b/x.html has to be"]),
        (["augment-preview", "--output", "gs://b/a.png"], ["--output gs://b/a.png has to be on"]),
        (["compile", "--target", "kubeflow", "--file", "s3://b/p.yaml"], ["--file s3://b/p.yaml"]),
        (["drift", "--scores", "s3://b/a", "--scores", "b"], ["--scores s3://b/a", "download it"]),
        (["run", "--data", "x", "--output", "gs://b/o"], ["--output gs://b/o has to be on this"]),
        (["frobnicate"], ["no command 'frobnicate'", "index", "doctor"]),
    ],
)
def test_mistakes_get_a_sentence_and_status_2(tmp_path, arguments, words):
    assert_refused(deepfake(*arguments, cwd=tmp_path), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predcit"], ["no command 'predcit'", "did you mean 'predict'"]),
        ([], ["no command", "predict"]),
        (["--modle"], ["no option '--modle'"]),
        (["predict", "x.mp4", "--modle", "m"], ["no option '--modle'", "did you mean '--model'"]),
        # Abbreviations are no options, but the option is named.
        (["run", "--over", "a.b=1"], ["no option '--over'", "see --help"]),
        (["run", "--pre", "demo"], ["no option '--pre'", "did you mean '--preset'"]),
        (["score", "--data", "d"], ["missing option '--output'"]),
        (["gateway"], ["--server", "`deepfake serve`", "`deepfake gateway --server grpc://"]),
        (["predict", "--model", "m"], ["missing argument 'FILE'"]),
        (["index", "a", "b"], ["unexpected", "(b)"]),
        (["compare", "a"], ["takes 2 values"]),
        (["augment-preview", "--output", "a.png", "--rows", "x"], ["--rows: 'x'", "whole number"]),
        (["predict", "x.mp4", "--model", "m", "--miss-rate", "x"], ["'x' is not a number"]),
        (["serve", "--reload-config", "maybe"], ["--reload-config: 'maybe'", "'on', 'off'"]),
        (["run", "--set", "training.epochs=0", "--set", "seed"], ["--set seed"]),
    ],
)
def test_wrong_arguments_are_named_with_the_nearest_option(arguments, words, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert not said.out
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("error: ")
    for word in words:
        assert word in said.err


@pytest.mark.parametrize(
    ("command", "worker"),
    [
        ("evaluate", "pipeline.model_evaluation.evaluate_model"),
        ("score", "pipeline.score_table.write_score_table"),
    ],
)
def test_all_options_of_scoring_reach_the_work(command, worker, monkeypatch):
    requests = []
    monkeypatch.setattr(worker, lambda request: requests.append(request) or 4)
    needed = ["--model", "m", "--data", "d", "--output", "o"]
    options = ["--precropped", "--all-faces", "--workers", "3"]
    options += ["--official-test"] if command == "evaluate" else []
    assert main([command, *needed]) == 4
    assert main([command, *needed, *options]) == 4
    more = {"precropped": True, "all_faces": True, "workers": 3}
    more["official_test"] = command == "evaluate"
    assert requests == [ScoringRequest("m", "d", "o"), ScoringRequest("m", "d", "o", **more)]


def test_output_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    done = deepfake("run", "--preset", "demo", "--output", "out", cwd=tmp_path)
    assert_refused(done, str(tmp_path / "out"), "cannot be written")


def make_files(root, *names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content %d" % number)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], ["is empty"]),
        (["notes.txt"], ["real/", "fake/"]),
        (["real/a.mp4", "real/b.mp4"], ["fake"]),
        (["real/a.mp4", "fake/b.mp4"], []),
    ],
)
def test_datasets_that_cannot_be_trained_on(tmp_path, files, words):
    root = tmp_path / "data"
    root.mkdir()
    make_files(root, *files)
    done = deepfake(
        "run", "--preset", "folder", "--data", str(root), "--output", "out", cwd=tmp_path
    )
    assert_refused(done, *words)


def test_index_prints_a_table_and_writes_the_manifest(tmp_path):
    root = tmp_path / "data"
    make_files(root, *(f"{label}/{n}.mp4" for label in ("real", "fake") for n in range(6)))
    done = deepfake("index", str(root), "--manifest", str(tmp_path / "manifest.csv"))
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert "12" in done.stdout
    assert len((tmp_path / "manifest.csv").read_text().splitlines()) == 13
    assert not (root / "hashes.json").exists()


def test_index_and_run_agree_on_what_can_be_trained_on(tmp_path):
    root = tmp_path / "data"
    make_files(root, *(f"real/{n}.mp4" for n in range(6)))
    done = deepfake("index", str(root))
    assert_refused(done, "holds only real clips")
    done = deepfake("index", str(root), "--set", "training.pseudo_fakes=self_blended")
    assert done.returncode == 0, done.stderr


def test_an_unknown_difficulty_of_the_demo_is_refused(tmp_path):
    done = deepfake("demo-data", str(tmp_path / "data"), "--difficulty", "medium")
    # Python 3.12 and later do not quote the choices.
    assert_refused(done, "--difficulty", "easy", "hard")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_each_difficulty_that_the_command_takes_is_known_to_the_configuration(difficulty):
    assert difficulty in typing.get_args(
        typing.get_args(typing.get_type_hints(demo_data.demo_data)["difficulty"])[0]
    )
    config = load_config("demo", [f"data.demo.difficulty={difficulty}"])
    assert config.data.demo.difficulty == difficulty
