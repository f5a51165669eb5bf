"""Tasks of the compiled pipeline under the habits of each version of Kubeflow Pipelines.

The entry points run in this process, which loads TFX once; tests/e2e/test_kubeflow_tasks.py starts
a process for each task of a whole run.
"""

import argparse
import dataclasses
import io
import json
import shutil
import traceback
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from compiled_pipeline import INPUTS, compile_to
from e2e.kubeflow_interpreter import TFX_NAME, KubeflowInterpreter
from e2e.kubeflow_store import KFP_2_0, KFP_2_5, KFP_NEWEST, VERSIONS, LauncherError

from pipeline.inputs import SCHEMA
from pipeline.kubeflow import entry_point

pytestmark = pytest.mark.integration

ROOTS = ("minio://mlpipeline/v2/artifacts", "s3://bucket/runs", "gs://bucket/runs")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    inputs = dataclasses.replace(INPUTS, schema=str(SCHEMA))
    return compile_to(folder / "pipeline.yaml", f"output={folder}/out", inputs=inputs)


@pytest.fixture
def interpret(package, tmp_path, monkeypatch):
    """An interpreter whose commands run in this process."""

    def run(command, environment, folder):
        # "python" was replaced by this Python.
        module, arguments = command[2], command[3:]
        monkeypatch.setenv("DEEPFAKE_BUCKETS", environment["DEEPFAKE_BUCKETS"])
        said = io.StringIO()
        with redirect_stderr(said), monkeypatch.context() as patch:
            patch.chdir(folder)
            status = entry_point.main(arguments) if module == ours else plain_tfx(arguments)
        return status, said.getvalue()

    ours = "pipeline.kubeflow.entry_point"

    def interpret(root, habits, module=""):
        return KubeflowInterpreter(package, tmp_path, root, habits, module, run)

    return interpret


def plain_tfx(arguments):
    """What `python -m` TFX_NAME does, apart from ending the process."""
    from absl import flags
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    flags.FLAGS(["test"])
    parser = argparse.ArgumentParser()
    for name in ("executor_class_path", "json_serialized_invocation_args"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--json_serialized_inputs_spec_args")
    try:
        kubeflow_v2_run_executor.main(parser.parse_known_args(arguments))
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def give(interpreter, task, key, metadata=None, files=()):
    """An output of a task that has run before."""
    uri = f"{interpreter._root}/{task}/{key}"
    for name, content in dict(files).items():
        interpreter.store.objects[f"{uri}/{name}"] = content
    made = interpreter._recorded(key, {"uri": uri, "metadata": metadata or {}})
    interpreter.outputs.setdefault(task, {})[key] = made
    return made


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_task_without_inputs(interpret, version, root):
    interpreter = interpret(root, VERSIONS[version])
    schema = interpreter.run_task("ImportSchemaGen")["schema"]
    assert schema["uri"].startswith(f"{root}/import-schema-gen/")
    assert interpreter.store.objects[f"{schema['uri']}/schema.pbtxt"] == SCHEMA.read_bytes()
    logs = [key for key in interpreter.outputs["ImportSchemaGen"] if "logs" in key]
    assert logs == (["executor-logs"] if VERSIONS[version].logs else [])


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_tasks_with_inputs(interpret, version, root):
    interpreter = interpret(root, VERSIONS[version])
    model = give(interpreter, "Trainer", "model", files={"Format-Serving/saved_model.pb": b"graph"})
    # Nothing was pushed: the baseline is a folder without files, which a store does not keep.
    baseline = interpreter.run_task("BlessedModel")["model"]
    assert not [key for key in interpreter.store.objects if key.startswith(baseline["uri"])]
    give(interpreter, "FaceExtractor", "examples", {"split_names": '["train", "val", "test"]'})
    give(interpreter, "ClipEvaluator", "evaluation")
    give(interpreter, "ClipEvaluator", "blessing", {"blessed": 0}, {"NOT_BLESSED": b""})
    served = interpreter.run_task("ServingCheck")
    blessing = served["blessing"]
    assert blessing["metadata"]["blessed"] == 0
    # TFX knows the model by a number of 19 digits, which a double rounds; Kubeflow by this name.
    assert blessing["metadata"]["current_model_id"] == model["name"]
    assert f"{blessing['uri']}/INFRA_NOT_BLESSED" in interpreter.store.objects
    report = json.loads(interpreter.store.objects[f"{served['report']['uri']}/report.json"])
    assert "the gate refused the model" in report["skipped"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pushed_model_is_found_and_uploaded(interpret, package, version):
    pushed = package.parent / "out" / "models" / "folder" / "12"
    (pushed / "variables").mkdir(parents=True, exist_ok=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (pushed / name).write_bytes(name.encode())
    try:
        interpreter = interpret(ROOTS[0], VERSIONS[version])
        give(interpreter, "Trainer", "model")
        model = interpreter.run_task("BlessedModel")["model"]
    finally:
        shutil.rmtree(pushed.parent)
    assert model["metadata"]["pushed_version"] == "12"
    key = f"{model['uri']}/Format-Serving/variables/variables.index"
    assert interpreter.store.objects[key] == b"variables/variables.index"


@pytest.mark.parametrize("blessed", [1, 0])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_gates_bless_is_pushed_and_nothing_else(interpret, package, version, blessed):
    interpreter = interpret(ROOTS[1], VERSIONS[version])
    give(interpreter, "Trainer", "model", files={"Format-Serving/saved_model.pb": b"graph"})
    gate = {"BLESSED" if blessed else "NOT_BLESSED": b""}
    give(interpreter, "ClipEvaluator", "blessing", {"blessed": blessed}, gate)
    give(interpreter, "ServingCheck", "blessing", {"blessed": 1}, {"INFRA_BLESSED": b""})
    models = package.parent / "out" / "models"
    try:
        pushed = interpreter.run_task("Pusher")["pushed_model"]
        versions = [*models.glob("folder/*/saved_model.pb")]
    finally:
        shutil.rmtree(models, ignore_errors=True)
    assert pushed["metadata"]["pushed"] == blessed
    assert [path.parent.as_posix() for path in versions] == (
        [pushed["metadata"]["pushed_destination"]] if blessed else []
    )


def test_an_unchanged_task_is_taken_from_the_cache(interpret):
    interpreter = interpret(ROOTS[0], KFP_NEWEST)
    first = interpreter.run_task("ImportSchemaGen")
    assert interpreter.run_task("ImportSchemaGen") == first
    assert interpreter.executed == ["ImportSchemaGen"]
    # An input with another id makes a task run again, though its content is equal: ids are in
    # Kubeflow's key.
    for _ in range(2):
        give(interpreter, "Trainer", "model")
        interpreter.run_task("BlessedModel")
    assert interpreter.executed == ["ImportSchemaGen", "BlessedModel", "BlessedModel"]


def test_a_task_that_is_started_again_does_not_read_its_first_answer(interpret, tmp_path):
    interpreter = interpret(ROOTS[0], KFP_2_5)
    leftover = tmp_path / "1-ImportSchemaGen" / "tmp" / "kfp_outputs" / "output_metadata.json"
    leftover.parent.mkdir(parents=True)
    leftover.write_text('{"parameterValues": {"schema_file": "of an earlier task"}}')
    schema = interpreter.run_task("ImportSchemaGen")["schema"]
    assert f"{schema['uri']}/schema.pbtxt" in interpreter.store.objects


@pytest.mark.parametrize("version", VERSIONS)
def test_a_task_that_was_killed_is_started_again_in_a_new_pod(interpret, version):
    def killed_once(command, environment, folder):
        attempts.append(folder)
        if len(attempts) == 1:
            bucket = Path(environment["DEEPFAKE_BUCKETS"]) / "s3"
            # Python 3.13 lists files as well.
            *_, part = sorted(filter(Path.is_dir, bucket.glob("**/import-schema-gen/**")))
            (part / "schema").mkdir(parents=True)
            (part / "schema" / "part.txt").write_text("of an attempt that was killed")
            return 137, "killed"
        kept.extend(key.rpartition("/")[2] for key in interpreter.store.objects)
        return run(command, environment, folder)

    attempts, kept = [], []
    interpreter = interpret(ROOTS[1], VERSIONS[version])
    run, interpreter._run = interpreter._run, killed_once
    interpreter.tasks["ImportSchemaGen"]["retryPolicy"] = {"maxRetryCount": 1}
    interpreter.run_task("ImportSchemaGen")
    assert len(attempts) == 2
    assert kept == (["executor-logs-0"] if VERSIONS[version].log_of_failure else [])
    kept = [key.rpartition("/")[2] for key in interpreter.store.objects]
    logs = ["executor-logs"] if VERSIONS[version].logs else []
    if VERSIONS[version].log_of_attempt:
        logs = ["executor-logs-0", "executor-logs-1"]
    assert sorted(kept) == [*logs, "schema.pbtxt"]


@pytest.mark.parametrize("version", VERSIONS)
def test_folder_marker_object_becomes_an_empty_folder(interpret, version):
    interpreter = interpret(ROOTS[2], VERSIONS[version])
    give(interpreter, "Trainer", "model", files={"": b""})
    interpreter.run_task("BlessedModel")
    (pod,) = interpreter._folder.iterdir()
    (folder,) = (pod / "gcs").glob("**/Trainer/model")
    assert folder.is_dir()


def test_folder_marker_object_of_a_full_folder_ends_the_launcher(interpret):
    """github.com/kubeflow/pipelines/issues/13476: before any entry point; ours makes no marks."""
    interpreter = interpret(ROOTS[2], KFP_NEWEST)
    files = {"Format-Serving/": b"", "Format-Serving/saved_model.pb": b"graph"}
    give(interpreter, "Trainer", "model", files=files)
    with pytest.raises(LauncherError, match="File exists"):
        interpreter.run_task("BlessedModel")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_download_may_bring_what_only_begins_alike(interpret, version):
    interpreter = interpret(ROOTS[0], VERSIONS[version])
    give(interpreter, "Trainer", "model", files={"Format-Serving/saved_model.pb": b"graph"})
    give(interpreter, "Trainer", "model_run", files={"history.csv": b"loss"})
    interpreter.run_task("BlessedModel")
    brought = [path.name for path in interpreter._folder.rglob("history.csv")]
    assert brought == (["history.csv"] if VERSIONS[version].bare_prefix else [])


def test_an_executor_that_refuses_its_data_ends_with_a_sentence(interpret):
    interpreter = interpret(ROOTS[0], KFP_NEWEST)
    with pytest.raises(LauncherError, match=r"status 2: error: manifest \S*/manifest-"):
        interpreter.run_task("FaceExtractor")


@pytest.mark.parametrize(
    ("habits", "task", "error"),
    [
        (KFP_NEWEST, "ImportSchemaGen", "Could not import system.Artifact"),
        (KFP_2_5, "ImportSchemaGen", "Could not import system.Artifact"),
        (KFP_2_0, "BlessedModel", "'NoneType' object has no attribute 'get'"),
        (KFP_2_0, "ImportSchemaGen", "File system scheme 'minio' not implemented"),
    ],
    ids=["log, newest", "log, 2.5", "type of an input", "object store"],
)
def test_the_entry_point_of_tfx_fails(interpret, habits, task, error):
    interpreter = interpret(ROOTS[0], habits, TFX_NAME)
    give(interpreter, "Trainer", "model")
    with pytest.raises(LauncherError, match=error):
        interpreter.run_task(task)
