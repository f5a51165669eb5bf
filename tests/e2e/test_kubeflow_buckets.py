"""A compiled pipeline whose tasks share no volume: data and output lie in an object store."""

import json
from pathlib import Path

import pytest
import yaml
from e2e.kubeflow_interpreter import KubeflowInterpreter
from e2e.kubeflow_store import KFP_NEWEST
from e2e.task_containers import Containers
from e2e.wheel_environment import make_environment
from e2e.workspace import SMALL, Workspace
from object_stores import s3_of

from preprocessing.support.files import place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DATA, OUTPUT = "s3://bucket/data", "s3://bucket/run"


@pytest.fixture(scope="module")
def store(tmp_path_factory, workspace):
    """An S3 with the workspace's data."""
    with s3_of(workspace.data, tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory, store):
    """After a run of all tasks, two of which were killed and started again."""
    folder = tmp_path_factory.mktemp("pods")
    containers = Containers(make_environment(folder), folder)
    containers.from_nothing = []
    containers.signs = {
        "FaceExtractor": lambda: any(place(f"{OUTPUT}/face-store").glob("*/*.tfrecord")),
        "Trainer": lambda: place(f"{OUTPUT}/training-state").is_dir(),
    }
    try:
        sets = [word for one in (*SMALL, "kubeflow.retries=1") for word in ("--set", one)]
        target = ["--target", "kubeflow", "--preset", "demo", "--data", DATA, "--output", OUTPUT]
        image = ["--image", "registry.example/deepfake-detection:0.1.0"]
        code = "from pipeline.cli import main; raise SystemExit(main())"
        command = ["python", "-c", code, "compile", *target, *image, *sets]
        status, said = containers.tasks(command, {}, folder)
        assert status == 0, said
        root = "s3://artifacts/runs"
        made = KubeflowInterpreter(
            folder / "pipeline.yaml", folder, root, KFP_NEWEST, run=containers
        )
        made.run()
        assert containers.killed == ["FaceExtractor", "Trainer"]
        yield made
    finally:
        containers.tasks.close()


def pushed_versions():
    return sorted(path.name for path in place(f"{OUTPUT}/models/demo").iterdir())


def test_no_volume_is_mounted(interpreter):
    package = interpreter._folder / "pipeline.yaml"
    assert "pvcMount" not in package.read_text()
    spec = next(yaml.safe_load_all(package.read_text()))
    extractor = spec["root"]["dag"]["tasks"]["face-extractor"]["inputs"]["parameters"]
    assert extractor["root"]["runtimeValue"]["constant"] == DATA
    assert extractor["store"]["runtimeValue"]["constant"] == f"{OUTPUT}/face-store"


def test_the_model_is_pushed_into_the_bucket(interpreter):
    assert sorted(interpreter.executed) == sorted(interpreter.tasks)
    pushed = interpreter.outputs["Pusher"]["pushed_model"]["metadata"]
    assert pushed["pushed"] == 1
    (version,) = pushed_versions()
    assert pushed["pushed_destination"] == f"{OUTPUT}/models/demo/{version}"
    model = place(pushed["pushed_destination"])
    uri = interpreter.outputs["Trainer"]["model"]["uri"]
    trained = {
        key.partition("/Format-Serving/")[2]: content
        for key, content in interpreter.store.objects.items()
        if key.startswith(f"{uri}/Format-Serving/")
    }
    assert "saved_model.pb" in trained
    for name, content in trained.items():
        assert (model / name).read_bytes() == content, name
    # It is forgotten when a training has come to its end.
    assert not place(f"{OUTPUT}/training-state").is_dir()


def test_records_are_those_of_the_local_runner(interpreter, first_run, tmp_path):
    local = report_of(first_run)
    examples = interpreter.fetch("FaceExtractor", "examples", tmp_path)
    assert shards(examples) == shards(records_of(local))
    report = interpreter.fetch("Report", "report", tmp_path)
    assert json.loads((report / "report.json").read_text())["extraction"] == local["extraction"]


def test_a_run_on_this_machine_reads_the_bucket(store, first_run, tmp_path):
    run = Workspace(DATA, tmp_path / "out").run()
    assert run[0] == 0
    assert shards(records_of(report_of(run))) == shards(records_of(report_of(first_run)))


def report_of(run):
    return json.loads(Path(run[1]["page"]).with_name("report.json").read_text())


def records_of(report):
    return Path(report["sources"]["records"][0]).parents[1]


def shards(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.gz")}


def test_the_pushed_model_is_the_next_baseline(interpreter):
    interpreter.forget("BlessedModel")
    baseline = interpreter.run_task("BlessedModel")["model"]
    assert baseline["metadata"]["pushed_version"] == pushed_versions()[0]
    assert f"{baseline['uri']}/Format-Serving/saved_model.pb" in interpreter.store.objects
