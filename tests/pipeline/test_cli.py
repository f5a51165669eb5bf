"""The command line as a person meets it: a real process each time."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    for word in words:
        assert word in said


def test_help_loads_nothing_heavy():
    code = (
        "import sys, pipeline.cli\n"
        "try: pipeline.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'tfx', 'cv2', 'numpy', 'apache_beam'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "predict" in done.stdout


def test_preprocessing_and_serving_import_without_tfx_or_tensorflow():
    modules = ["preprocessing.dataset_index", "preprocessing.media.video", "preprocessing.detector"]
    modules += ["preprocessing.model_metadata", "serving.predict"]
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

    reference = min(seconds(sys.executable, "-c", "import numpy, scipy.stats") for _ in range(3))
    assert min(seconds(DEEPFAKE, "--help") for _ in range(3)) < reference


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
            ["absent.h5 is not a file", "imagenet, none"],
        ),
        (["predict", "nothing.mp4", "--model", "."], ["nothing.mp4"]),
        (["index", "nowhere"], ["nowhere"]),
        (["augment-preview", "--output", "a.png"], ["--data DIR"]),
        (["augment-preview", "--output", "a.png", "--data", "nowhere"], ["nowhere"]),
        (["frobnicate"], ["invalid choice"]),
    ],
)
def test_mistakes_get_a_sentence_and_status_2(tmp_path, arguments, words):
    assert_refused(deepfake(*arguments, cwd=tmp_path), *words)


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
    assert "train" in done.stdout and "12" in done.stdout
    assert len((tmp_path / "manifest.csv").read_text().splitlines()) == 13
    assert not (root / "hashes.json").exists()


def test_an_unknown_difficulty_of_the_demo_is_refused(tmp_path):
    done = deepfake("demo-data", str(tmp_path / "data"), "--difficulty", "medium")
    # Python 3.12 and later do not quote the choices.
    assert_refused(done, "--difficulty", "easy", "hard")
    assert not (tmp_path / "data").exists()
