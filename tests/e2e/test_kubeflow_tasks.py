"""The pipeline compiled for Kubeflow works: its containers' commands, run without a cluster.

Two runs, with the habits of the newest and of the oldest version, each with a root of its own and
in processes of an environment that has the project's wheel alone.
tests/pipeline/test_kubeflow_entry_point.py runs some tasks with every root and version.
"""

import json
import os
from pathlib import Path

import pytest
import yaml
from e2e.kubeflow_interpreter import KubeflowInterpreter
from e2e.kubeflow_store import VERSIONS
from e2e.task_containers import Containers
from e2e.wheel_environment import PACKAGES, make_environment
from e2e.workspace import SMALL

from components.evaluation import results, serving_result
from pipeline.kubeflow.names import task_name
from preprocessing.extraction import extraction_report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Each run finds the model that the one before has pushed.
RUNS = {
    "newest": "minio://mlpipeline/v2/artifacts",
    "2.0": "gs://bucket/runs",
}
REFUSING = "evaluation.clip_gate.min_auc=1.0"


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("kubeflow")


@pytest.fixture(scope="module")
def containers(output):
    folder = output / "wheel"
    folder.mkdir()
    containers = Containers(make_environment(folder), folder)
    yield containers
    containers.tasks.close()


@pytest.fixture(scope="module")
def compiled(output, workspace, containers):
    """Compiles with more overrides; returns the package. By the command, as a person would."""

    def compiled(name, *overrides):
        # The folder that both this test's and the dataset's are in.
        volume = Path(os.path.commonpath([output, workspace.data]))
        own = ["kubeflow.volume=deepfake", f"kubeflow.mount_path={volume}", "kubeflow.retries=1"]
        sets = [word for one in (*SMALL, *own, *overrides) for word in ("--set", one)]
        places = ["--data", str(workspace.data), "--output", str(output / "out")]
        image = ["--image", "registry.example/deepfake-detection:0.1.0"]
        target = ["--target", "kubeflow", "--preset", "demo", "--file", str(output / name)]
        code = "from pipeline.cli import main; raise SystemExit(main())"
        command = ["python", "-c", code, "compile", *target, *image, *places, *sets]
        status, said = containers.tasks(command, {}, output)
        assert status == 0, said
        return output / name

    return compiled


@pytest.fixture(scope="module")
def runs(output, compiled, containers):
    """Interpreters after a run, by version, each made when it is asked for first."""
    made = {}

    def run(version):
        for name, root in RUNS.items():
            if name not in made:
                pods = output / f"pods-{name}"
                pods.mkdir()
                package = compiled("pipeline.yaml")
                made[name] = KubeflowInterpreter(
                    package, pods, root, VERSIONS[name], run=containers
                )
                made[name].run()
            if name == version:
                return made[name]
        raise AssertionError(version)

    store, state = output / "out" / "face-store", output / "out" / "training-state"
    containers.signs = {
        "FaceExtractor": lambda: any(store.rglob("*.tfrecord")),
        "Trainer": lambda: any(state.glob("*.npz")),
    }
    return run


each_run = pytest.mark.parametrize("version", RUNS)


def pushed_versions(output):
    return sorted((output / "out" / "models" / "demo").iterdir())


def test_the_environment_has_the_wheel_and_imports_all_that_tasks_run(containers, compiled, output):
    spec = next(yaml.safe_load_all(compiled("pipeline.yaml").read_text()))
    classes = set()
    for executor in spec["deploymentSpec"]["executors"].values():
        words = [*executor["container"]["command"], *executor["container"]["args"]]
        classes.add(words[words.index("--executor_class_path") + 1])
    assert len(classes) == 12
    code = f"""
import importlib, sys
import pipeline.kubeflow.entry_point
for path in {sorted(classes)}:
    module, _, name = path.rpartition(".")
    getattr(importlib.import_module(module), name)
for name, module in list(sys.modules.items()):
    if name.partition(".")[0] in {PACKAGES} and module.__file__:
        print("FILE", module.__file__)
"""
    status, said = containers.tasks(["python", "-c", code], {}, output)
    assert status == 0, said
    files = [line.split()[1] for line in said.splitlines() if line.startswith("FILE")]
    assert len(files) > 50
    environment = containers.python.parents[1]
    assert [file for file in files if environment not in Path(file).parents] == []


@each_run
def test_every_task_runs_and_the_model_is_pushed(runs, version, output, tmp_path):
    interpreter = runs(version)
    assert len(interpreter.tasks) == 12
    assert sorted(interpreter.executed) == sorted(interpreter.tasks)
    order = interpreter.executed
    assert order.index("ExampleValidator") < order.index("Transform")
    assert order[-4:] == ["ClipEvaluator", "ServingCheck", "Pusher", "Report"]
    served = serving_result.read(str(interpreter.fetch("ServingCheck", "report", tmp_path)))
    assert served.blessed
    assert served.crops
    report = interpreter.fetch("Report", "report", tmp_path)
    assert "passed the gate" in (report / "report.html").read_text()
    pushed = interpreter.outputs["Pusher"]["pushed_model"]["metadata"]
    assert pushed["pushed"] == 1
    model = Path(pushed["pushed_destination"])
    assert model == pushed_versions(output)[list(RUNS).index(version)]
    assert (model / "saved_model.pb").stat().st_size > 0
    extraction = interpreter.fetch("FaceExtractor", "report", tmp_path)
    assert extraction_report.read(str(extraction)).summary["crops"] > 0


def test_killed_tasks_were_started_again(runs, containers):
    """By SIGKILL, when the first face was stored and when the epoch was over."""
    interpreter = runs("newest")
    assert containers.killed == ["FaceExtractor", "Trainer"]
    again = {uri for uri in interpreter.store.objects if uri.endswith("/executor-logs-1")}
    tasks = {uri.removeprefix(RUNS["newest"]).split("/")[1] for uri in again}
    assert tasks == {"face-extractor", "trainer"}


@each_run
def test_artifacts_are_in_the_store_and_name_no_pod(runs, version, output):
    interpreter = runs(version)
    without_files = set()
    for task, outputs in interpreter.outputs.items():
        for key, artifact in outputs.items():
            assert artifact["uri"].startswith(f"{RUNS[version]}/{task_name(task)}/"), (task, key)
            assert f"{output}/pods" not in json.dumps(artifact), (task, key)
            if not any(uri.startswith(artifact["uri"]) for uri in interpreter.store.objects):
                without_files.add((task, key))
    # Transform was not asked for a cache, and before the first run nothing was pushed.
    expected = {("Transform", "updated_analyzer_cache")}
    if version == "newest":
        expected.add(("BlessedModel", "model"))
    assert without_files == expected
    model = interpreter.outputs["Trainer"]["model"]
    for task in ("Evaluator", "ClipEvaluator"):
        blessing = interpreter.outputs[task]["blessing"]["metadata"]
        assert blessing["current_model"] == model["uri"], task
        assert blessing["current_model_id"] == model["name"], task


@each_run
def test_the_same_run_again_executes_nothing(runs, version, output):
    interpreter = runs(version)
    before, versions = list(interpreter.executed), pushed_versions(output)
    interpreter.run()
    assert interpreter.executed == before
    assert pushed_versions(output) == versions


def records(files):
    import tensorflow as tf

    paths = [str(path) for path in files]
    dataset = tf.data.TFRecordDataset(paths, compression_type="GZIP")
    return sorted(dataset.as_numpy_iterator())


def numbers(value, key=""):
    """Key -> number, of all that a JSON value holds."""
    if isinstance(value, dict):
        return {k: n for name in value for k, n in numbers(value[name], f"{key}.{name}").items()}
    if isinstance(value, list):
        return numbers(dict(enumerate(value)), key)
    return {key: value} if isinstance(value, int | float) else {}


def assert_same_outcome(report, local):
    """Of a run here and of one by the local runner, by what their reports hold."""
    assert report["extraction"] == local["extraction"]
    assert report["dataset"]["digest"] == local["dataset"]["digest"]
    assert report["blessed"] == local["blessed"]
    # One graph, trained twice, with the noise of sums in another order.
    assert numbers(report["splits"]) == pytest.approx(numbers(local["splits"]), abs=1e-3)


@each_run
def test_outcome_is_that_of_the_local_runner(runs, version, first_run, tmp_path):
    interpreter = runs(version)
    page = Path(first_run[1]["page"])
    local = json.loads(page.with_name("report.json").read_text())
    report = report_of(interpreter, tmp_path)
    examples = interpreter.fetch("FaceExtractor", "examples", tmp_path)
    for split in ("train", "val", "test"):
        theirs = Path(local["sources"]["records"][0]).parents[1] / f"Split-{split}"
        assert records((examples / f"Split-{split}").iterdir()) == records(theirs.iterdir())
    assert_same_outcome(report, local)
    if version == "newest":
        # Those after it are compared with the model that it has pushed.
        assert [row["held"] for row in report["gate"]] == [row["held"] for row in local["gate"]]


def report_of(interpreter, folder):
    report = interpreter.fetch("Report", "report", folder)
    return json.loads((report / "report.json").read_text())


@pytest.mark.parametrize("version", list(RUNS)[1:])
def test_a_candidate_is_compared_with_the_pushed_model(runs, version, output, tmp_path):
    interpreter = runs(version)
    baseline = interpreter.outputs["BlessedModel"]["model"]
    pushed = pushed_versions(output)[list(RUNS).index(version) - 1]
    assert baseline["metadata"]["pushed_version"] == pushed.name
    for task in ("Evaluator", "ClipEvaluator"):
        blessing = interpreter.outputs[task]["blessing"]["metadata"]
        assert blessing["blessed"] == 1, task
    of_evaluator = interpreter.outputs["Evaluator"]["blessing"]["metadata"]
    assert of_evaluator["baseline_model"] == baseline["uri"]
    evaluation = interpreter.fetch("ClipEvaluator", "evaluation", tmp_path)
    # The same training: as good, but for the noise of sums.
    compared = results.read(str(evaluation)).comparison.to_dict()["metrics"]["auc"]["value"]
    assert compared == pytest.approx(0, abs=1e-3)


def test_a_refused_model_is_not_pushed(runs, compiled, output, workspace, first_run, tmp_path):
    """With the outcome of the local runner."""
    interpreter = runs("2.0")
    before, versions = len(interpreter.executed), pushed_versions(output)
    interpreter.submit(compiled("refusing.yaml", REFUSING))
    interpreter.run()
    assert interpreter.executed[before:] == ["ClipEvaluator", "ServingCheck", "Pusher", "Report"]
    assert interpreter.outputs["Pusher"]["pushed_model"]["metadata"]["pushed"] == 0
    assert pushed_versions(output) == versions
    report = report_of(interpreter, tmp_path)
    assert not report["blessed"]
    refused = [(row["metric"], row["bound"]) for row in report["gate"] if not row["held"]]
    assert refused == [("auc", 1.0)]
    status, summary = workspace.run(REFUSING)
    assert (status, summary["pushed"]) == (3, "")
    local = json.loads(Path(summary["page"]).with_name("report.json").read_text())
    assert_same_outcome(report, local)
    # A local run does not compare a model with itself, and this one with that of the run before.
    rows = [
        [
            (row["metric"], row["bound"], row["held"])
            for row in outcome["gate"]
            if "last blessed" not in row["metric"]
        ]
        for outcome in (report, local)
    ]
    assert len(rows[0]) == 5
    assert rows[0] == rows[1]
    served = serving_result.read(str(interpreter.fetch("ServingCheck", "report", tmp_path)))
    assert "the gate refused the model" in served.skipped


def test_how_long_is_trained_can_be_chosen_at_the_start(runs, compiled, output, tmp_path):
    """Of a package that is there; what does not depend on it comes from the cache."""
    interpreter = runs("newest")
    before, versions = len(interpreter.executed), pushed_versions(output)
    interpreter.submit(compiled("pipeline.yaml"), {"epochs": 2, "steps_per_epoch": 1})
    interpreter.run()
    executed = interpreter.executed[before:]
    assert executed[0] == "Trainer"
    assert not {"FaceExtractor", "StatisticsGen", "Transform"} & set(executed)
    report = report_of(interpreter, tmp_path)
    assert len(report["history"]) == 2
    pushed = interpreter.outputs["Pusher"]["pushed_model"]["metadata"]["pushed"]
    assert len(pushed_versions(output)) == len(versions) + pushed
