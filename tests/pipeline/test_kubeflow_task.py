"""What Kubeflow's launcher hands over, translated for TFX and back; no TFX is needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.kubeflow.buckets import Buckets
from pipeline.kubeflow.task import Task
from preprocessing.support.errors import UsageError

MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
SPEC = {"artifacts": {"model": {"artifactType": MODEL}}}
ROOT = "minio://mlpipeline/run/Node"


@pytest.fixture
def pod(tmp_path):
    (tmp_path / "minio" / "mlpipeline").mkdir(parents=True)
    return tmp_path


def make_task(pod, inputs=None, outputs=None, output_file=None, spec=SPEC):
    invocation = {
        "inputs": {"artifacts": {key: {"artifacts": [a]} for key, a in (inputs or {}).items()}},
        "outputs": {
            "artifacts": {key: {"artifacts": [a]} for key, a in (outputs or {}).items()},
            "outputFile": output_file or str(pod / "output_metadata.json"),
        },
    }
    return Task(invocation, spec, Buckets(str(pod)))


def given(task, side, key):
    return task.document[side]["artifacts"][key]["artifacts"][0]


def folder_of(pod, uri):
    return pod / "minio" / uri.removeprefix("minio://")


def write_tfx_answer(task, answer):
    Path(task.document["outputs"]["outputFile"]).write_text(json.dumps(answer))


def answered(pod, task, names=None, **artifacts):
    """What the launcher reads when TFX has answered this."""
    task.prepare()
    answer = {"artifacts": {key: {"artifacts": [a]} for key, a in artifacts.items()}}
    for key, artifact in artifacts.items():
        artifact.setdefault("uri", given(task, "outputs", key)["uri"])
        # What executors do first.
        folder_of(pod, f"{ROOT}/{key}").mkdir(parents=True, exist_ok=True)
    write_tfx_answer(task, answer)
    task.answer(names or {})
    return json.loads(task.output_file.read_text())["artifacts"]


@pytest.mark.parametrize("lost", [{"instanceSchema": ""}, {}])
def test_types_of_inputs_are_those_that_the_component_declares(pod, lost):
    task = make_task(pod, {"model": {"uri": f"{ROOT}/model", "type": lost}})
    assert given(task, "inputs", "model")["type"] == MODEL


def test_artifacts_of_kubeflow_itself_are_left_out(pod):
    system, other = {"schemaTitle": "system.Artifact"}, {"instanceSchema": "title: system.Model"}
    outputs = {
        "executor-logs": {"uri": f"{ROOT}/executor-logs", "type": system},
        "executor-logs-3": {"uri": f"{ROOT}/executor-logs-3", "type": MODEL},
        "metrics": {"uri": f"{ROOT}/metrics", "type": other},
        "model": {"uri": f"{ROOT}/model", "type": MODEL},
    }
    task = make_task(pod, outputs=outputs)
    assert list(task.document["outputs"]["artifacts"]) == ["model"]
    log = folder_of(pod, f"{ROOT}/executor-logs")
    log.parent.mkdir(parents=True)
    log.write_text("written by the launcher while the task runs")
    assert list(answered(pod, task, model={})) == ["model"]
    assert log.exists()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://mlpipeline/run/model", "minio/mlpipeline/run/model"),
        ("s3://bucket/run/model", "s3/bucket/run/model"),
        ("gs://bucket/run/model", "gcs/bucket/run/model"),
    ],
)
def test_uris_become_the_paths_of_the_launcher_and_uris_again(pod, uri, path):
    task = make_task(pod, outputs={"model": {"uri": uri, "type": MODEL}})
    assert given(task, "outputs", "model")["uri"] == str(pod / path)
    (pod / path).parent.mkdir(parents=True, exist_ok=True)
    assert answered(pod, task, model={})["model"]["artifacts"][0]["uri"] == uri


def test_local_paths_stay(pod):
    uri = str(pod / "artifacts" / "model")
    task = make_task(pod, outputs={"model": {"uri": uri, "type": MODEL}})
    assert given(task, "outputs", "model")["uri"] == uri
    assert answered(pod, task, model={})["model"]["artifacts"][0] == {"uri": uri, "metadata": {}}


def test_metadata_that_kubeflow_added_is_not_given_to_tfx(pod):
    metadata = {
        "display_name": "model",
        "store_session_info": "{}",
        "empty_folders": "[]",
        "span": None,
        "blessed": 1.0,
        "current_model": f"{ROOT}/other",
    }
    task = make_task(pod, {"model": {"uri": f"{ROOT}/model", "metadata": metadata}})
    assert given(task, "inputs", "model")["metadata"] == {
        "blessed": 1.0,
        "current_model": str(folder_of(pod, f"{ROOT}/other")),
    }


def test_answered_metadata_means_the_same_in_every_pod(pod):
    task = make_task(pod, outputs={"blessing": {"uri": f"{ROOT}/blessing", "type": MODEL}})
    number = 7329034857203948571
    metadata = {
        "current_model": str(folder_of(pod, f"{ROOT}/model")),
        "current_model_id": float(number),
        "steps": 7.0,
        "nothing": None,
        "nested": {"list": [str(folder_of(pod, f"{ROOT}/x"))]},
    }
    answer = answered(pod, task, {number: "19"}, blessing={"metadata": metadata})
    assert answer["blessing"]["artifacts"][0]["metadata"] == {
        "current_model": f"{ROOT}/model",
        "current_model_id": "19",
        "steps": 7.0,
        "nested": {"list": [f"{ROOT}/x"]},
    }


def test_leftovers_of_an_earlier_task_or_attempt_are_removed(pod):
    task = make_task(pod, outputs={"model": {"uri": f"{ROOT}/model", "type": MODEL}})
    part = folder_of(pod, f"{ROOT}/model") / "half.txt"
    part.parent.mkdir(parents=True)
    part.write_text("of an attempt that was killed")
    leftovers = [task.output_file, task.document["outputs"]["outputFile"]]
    for path in leftovers:
        (pod / path).write_text('{"parameterValues": {"epochs": 99}}')
    task.prepare()
    assert not part.exists()
    assert not any((pod / path).exists() for path in leftovers)


def test_the_answer_is_complete_or_absent(pod):
    task = make_task(pod, outputs={"model": {"uri": f"{ROOT}/model", "type": MODEL}})
    task.prepare()
    with pytest.raises(FileNotFoundError):
        task.answer({})
    assert not task.output_file.exists()
    answered(pod, task, model={})
    assert [path.name for path in pod.glob("*.json*")] == ["output_metadata.json"]


def test_empty_folders_survive_the_object_store(pod):
    task = make_task(pod, outputs={"model": {"uri": f"{ROOT}/model", "type": MODEL}})
    task.prepare()
    folder = folder_of(pod, f"{ROOT}/model")
    (folder / "Format-Serving" / "assets").mkdir(parents=True)
    (folder / "Format-Serving" / "saved_model.pb").write_bytes(b"graph")
    write_tfx_answer(task, {"artifacts": {"model": {"artifacts": [{"uri": str(folder)}]}}})
    artifact = task.answer({})["artifacts"]["model"]["artifacts"][0]
    assert artifact["metadata"] == {"empty_folders": '["Format-Serving/assets"]'}
    (folder / "Format-Serving" / "assets").rmdir()
    make_task(pod, {"model": artifact}).prepare()
    assert (folder / "Format-Serving" / "assets").is_dir()
    assert (folder / "Format-Serving" / "saved_model.pb").read_bytes() == b"graph"


@pytest.mark.parametrize("mark", [False, True])
def test_an_input_without_a_file_is_an_empty_folder(pod, mark):
    folder = folder_of(pod, f"{ROOT}/model")
    if mark:
        folder.parent.mkdir(parents=True)
        folder.write_bytes(b"")
    make_task(pod, {"model": {"uri": f"{ROOT}/model"}}).prepare()
    assert folder.is_dir()
    assert not [*folder.iterdir()]


def test_a_container_without_launcher_is_refused(pod):
    task = make_task(pod, outputs={"model": {"uri": "s3://bucket/run/model", "type": MODEL}})
    with pytest.raises(UsageError, match=r"s3://bucket/run/model.*s3/bucket does not exist"):
        task.prepare()


def test_output_file_of_vertex_is_written_in_its_mounted_bucket(pod):
    (pod / "gcs" / "bucket").mkdir(parents=True)
    outputs = {"model": {"uri": "gs://bucket/model", "type": MODEL}}
    task = make_task(pod, outputs=outputs, output_file="gs://bucket/executor_output.json")
    assert task.output_file == pod / "gcs" / "bucket" / "executor_output.json"


def test_entry_point_loads_no_library_of_the_pipeline():
    code = (
        "import sys, pipeline.kubeflow.entry_point; "
        "print({'tfx', 'tensorflow', 'kfp', 'absl', 'yaml', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("status", [0, 2])
def test_a_broken_shutdown_does_not_change_the_exit_status(status):
    code = (
        "import atexit, os; from pipeline.kubeflow.entry_point import exit_at_once; "
        f"atexit.register(os.abort); print('written'); exit_at_once({status})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (status, "written\n")
