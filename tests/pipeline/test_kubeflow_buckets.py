"""Compiled pipelines without a volume, and TFX's file functions in an object store."""

import json

import pytest
import yaml
from compiled_pipeline import IMAGE, error_of, make_volume
from object_stores import s3_of

from pipeline.cli import main
from preprocessing.support.files import place

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The URL of an S3 with a bucket whose folder `data` can be indexed."""
    volume = make_volume(tmp_path_factory.mktemp("volume"))
    with s3_of(volume / "data", tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


def arguments(*more, data="s3://bucket/data", output="s3://bucket/out", target="kubeflow"):
    places = ["--target", target, "--image", IMAGE, "--data", data, "--output", output]
    return [*map(str, (*places, *more))]


def test_nothing_is_mounted_where_all_lies_in_buckets(store, tmp_path):
    file = tmp_path / "pipeline.yaml"
    assert main(["compile", *arguments("--file", file)]) == 0
    spec, platform = yaml.safe_load_all(file.read_text())
    assert platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"] == {}
    tasks = spec["root"]["dag"]["tasks"]
    parameters = {
        key: value["runtimeValue"]["constant"]
        for key, value in tasks["face-extractor"]["inputs"]["parameters"].items()
    }
    assert parameters["root"] == "s3://bucket/data"
    assert parameters["store"] == "s3://bucket/out/face-store"
    assert place(parameters["manifest"]).read_text().count("\n") == 17
    schema = tasks["import-schema-gen"]["inputs"]["parameters"]["schema_file"]
    assert place(schema["runtimeValue"]["constant"]).is_file()
    pusher = tasks["pusher"]["inputs"]["parameters"]["push_destination"]["runtimeValue"]
    destination = json.loads(pusher["constant"])["filesystem"]["base_directory"]
    assert destination == "s3://bucket/out/models/folder"
    assert "/mnt/deepfake" not in file.read_text()


def test_submit_without_a_volume(store, capsys):
    more = ("--host", "http://kubeflow.example", "--dry-run")
    assert main(["submit", *arguments(*more, output="s3://bucket/submitted")]) == 0
    said = capsys.readouterr().out
    assert "no volume, artifacts below the root of the namespace" in said
    assert "the service account has to bring credentials" in said
    assert place("s3://bucket/submitted/inputs/pipeline.yaml").is_file()


def test_credentials_come_from_secrets(store, tmp_path, capsys):
    file = tmp_path / "pipeline.yaml"
    secrets = "kubeflow.secrets=['b:AWS_ACCESS_KEY_ID', 'b:AWS_SECRET_ACCESS_KEY', 'c:AWS_REGION']"
    assert main(["compile", *arguments("--file", file, "--set", secrets)]) == 0
    assert "service account" not in capsys.readouterr().out
    _, platform = yaml.safe_load_all(file.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == 12
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    assert executors["Trainer_executor"] == {
        "secretAsEnv": [
            {"secretName": "b", "keyToEnv": [{"secretKey": key, "envVar": key} for key in keys]},
            {
                "secretName": "c",
                "keyToEnv": [{"secretKey": "AWS_REGION", "envVar": "AWS_REGION"}],
            },
        ]
    }


def test_what_stays_on_a_disk_is_on_the_volume(store, tmp_path, capsys):
    file = tmp_path / "pipeline.yaml"
    assert main(["compile", *arguments("--file", file, output=tmp_path / "out")]) == 2
    assert "is on this machine alone" in error_of(capsys)
    mounted = ["--set", f"kubeflow.local_mount={tmp_path}"]
    assert main(["compile", *arguments("--file", file, *mounted, output=tmp_path / "out")]) == 0
    _, platform = yaml.safe_load_all(file.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert all("pvcMount" in executor for executor in executors.values())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ["compile", *arguments("--set", "model.weights=s3://bucket/weights")],
            "model.weights: s3://bucket/weights cannot be read there",
        ),
        (
            [
                *["compile", *arguments(target="vertex")],
                *["--set", "kubeflow.mount_path=/gcs/bucket", "--file", "pipeline.json"],
            ],
            "output: s3://bucket/out cannot be read there",
        ),
        (["run", "--output", "s3://bucket/out"], "has to be on this machine"),
        (
            ["run", "--preset", "demo", "--data", "s3://bucket/nothing", "--output", "OUT"],
            "dataset folder s3://bucket/nothing does not exist",
        ),
        (["extract", "--preset", "demo", "--output", "s3://bucket/o"], "give --data DIR"),
    ],
)
def test_mistakes_end_with_status_2(store, tmp_path, monkeypatch, capfd, command, words):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    said = capfd.readouterr()
    assert words in said.out + said.err


class TestFilesOfTfx:
    @pytest.fixture(autouse=True)
    def registered(self, store, monkeypatch):
        from tfx.dsl.io import filesystem_registry

        from pipeline import tfx_files

        registry = filesystem_registry.FilesystemRegistry()
        known = vars(filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY)
        for name, value in known.items():
            setattr(registry, name, value.copy() if isinstance(value, dict) else value)
        monkeypatch.setattr(filesystem_registry, "DEFAULT_FILESYSTEM_REGISTRY", registry)
        tfx_files.register()

    def test_folders_are_copied_to_and_fro(self, tmp_path):
        from tfx.dsl.io import fileio
        from tfx.utils import io_utils

        (tmp_path / "a" / "deep").mkdir(parents=True)
        (tmp_path / "a" / "one.bin").write_bytes(bytes(range(256)))
        (tmp_path / "a" / "deep" / "two.txt").write_text("two")
        io_utils.copy_dir(str(tmp_path / "a"), "s3://bucket/copied")
        assert fileio.listdir("s3://bucket/copied") == ["deep", "one.bin"]
        assert fileio.glob("s3://bucket/copied/*.bin") == ["s3://bucket/copied/one.bin"]
        assert fileio.isdir("s3://bucket/copied/deep")
        io_utils.copy_dir("s3://bucket/copied", "s3://bucket/again")
        io_utils.copy_dir("s3://bucket/again", str(tmp_path / "back"))
        assert (tmp_path / "back" / "one.bin").read_bytes() == bytes(range(256))
        assert (tmp_path / "back" / "deep" / "two.txt").read_text() == "two"
        fileio.rmtree("s3://bucket/again")
        assert not fileio.exists("s3://bucket/again")
        assert fileio.exists("s3://bucket/copied")

    def test_single_files(self):
        from tfx.dsl.io import fileio

        with fileio.open("s3://bucket/f/a.txt", "w") as file:
            file.write("text")
            assert not fileio.exists("s3://bucket/f/a.txt")
        fileio.rename("s3://bucket/f/a.txt", "s3://bucket/f/b.txt")
        assert fileio.listdir("s3://bucket/f") == ["b.txt"]
        assert fileio.open("s3://bucket/f/b.txt").read() == "text"
        with pytest.raises(OSError, match="exists already"):
            fileio.copy("s3://bucket/f/b.txt", "s3://bucket/f/b.txt")
        with pytest.raises(fileio.NotFoundError):
            fileio.open("s3://bucket/f/a.txt")
        with pytest.raises(ZeroDivisionError), fileio.open("s3://bucket/f/c.txt", "w") as file:
            file.write(str(1 // 0))
        assert not fileio.exists("s3://bucket/f/c.txt")
        fileio.remove("s3://bucket/f/b.txt")
        assert list(fileio.walk("s3://bucket/f")) == [("s3://bucket/f", [], [])]

    def test_the_state_of_a_training(self):
        import numpy as np

        from components.trainer.training_state import TrainingState

        state = TrainingState("s3://bucket/state", "one")
        assert state.load() is None
        state.save({"model": [np.arange(3.0)]}, {"phase": "head"})
        arrays, values = state.load()
        np.testing.assert_array_equal(arrays["model"][0], np.arange(3.0))
        assert values == {"phase": "head"}
        another = TrainingState("s3://bucket/state", "another")
        assert another.load() is None
        another.clear()
        assert state.load() is not None
        state.clear()
        assert not place("s3://bucket/state").exists()
