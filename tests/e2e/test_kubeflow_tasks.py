"""The pipeline compiled for Kubeflow works: its containers' commands, run without a cluster.

One whole run with one root and one version's habits, of which these variables choose others:

    DEEPFAKE_KUBEFLOW_ROOT=s3://bucket/runs DEEPFAKE_KUBEFLOW_VERSION=2.5 pytest tests/e2e/...

tests/pipeline/test_kubeflow_entry_point.py runs some tasks with every root and version.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.kubeflow_interpreter import KubeflowInterpreter
from e2e.kubeflow_store import VERSIONS
from e2e.workspace import SMALL

from components.evaluation import results, serving_result
from preprocessing.extraction import extraction_report

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ARTIFACTS = os.environ.get("DEEPFAKE_KUBEFLOW_ROOT", "minio://mlpipeline/v2/artifacts")
HABITS = VERSIONS[os.environ.get("DEEPFAKE_KUBEFLOW_VERSION", "newest")]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("kubeflow")


@pytest.fixture(scope="module")
def interpreter(output, workspace):
    """Compiled by the entry point itself, as a person would."""
    environment = {
        **os.environ,
        "DEEPFAKE_CONFIG": "demo",
        "DEEPFAKE_DATA": str(workspace.data),
        "DEEPFAKE_OUTPUT": str(output / "out"),
        "DEEPFAKE_SET": " ".join(SMALL),
    }
    done = subprocess.run(
        [sys.executable, ROOT / "kubeflow_v2_runner.py"],
        cwd=output,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    pods = output / "pods"
    pods.mkdir()
    return KubeflowInterpreter(output / "pipeline.yaml", pods, ARTIFACTS, HABITS)


@pytest.fixture(scope="module")
def order(interpreter):
    return interpreter.run()


def versions(output):
    return sorted((output / "out" / "models" / "demo").iterdir())


@pytest.mark.timeout(1800)
def test_every_task_runs_and_the_model_is_pushed(interpreter, order, output, tmp_path):
    assert set(order) == set(interpreter.tasks) == set(interpreter.executed)
    assert order.index("ExampleValidator") < order.index("Transform")
    assert order[-4:] == ["ClipEvaluator", "ServingCheck", "Pusher", "Report"]
    served = serving_result.read(str(interpreter.fetch("ServingCheck", "report", tmp_path)))
    assert served.blessed
    assert served.crops
    report = interpreter.fetch("Report", "report", tmp_path)
    assert "passed the gate" in (report / "report.html").read_text()
    pushed = interpreter.outputs["Pusher"]["pushed_model"]["metadata"]
    assert pushed["pushed"] == 1
    (version,) = versions(output)
    assert pushed["pushed_destination"] == str(version)
    assert (version / "saved_model.pb").stat().st_size > 0
    extraction = interpreter.fetch("FaceExtractor", "report", tmp_path)
    assert extraction_report.read(str(extraction)).summary["crops"] > 0


def test_artifacts_are_in_the_store_and_name_no_pod(interpreter, order, output):
    without_files = set()
    for task, outputs in interpreter.outputs.items():
        for key, artifact in outputs.items():
            assert artifact["uri"].startswith(f"{ARTIFACTS}/{task}/"), (task, key)
            assert str(output / "pods") not in json.dumps(artifact), (task, key)
            if not any(uri.startswith(artifact["uri"]) for uri in interpreter.store.objects):
                without_files.add((task, key))
    # Nothing was pushed before, and Transform was not asked for a cache.
    assert without_files == {("BlessedModel", "model"), ("Transform", "updated_analyzer_cache")}
    model = interpreter.outputs["Trainer"]["model"]
    for task in ("Evaluator", "ClipEvaluator"):
        blessing = interpreter.outputs[task]["blessing"]["metadata"]
        assert blessing["current_model"] == model["uri"], task
        assert blessing["current_model_id"] == model["name"], task


def test_a_second_run_executes_nothing(interpreter, order):
    before = list(interpreter.executed)
    interpreter.run()
    assert interpreter.executed == before


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


@pytest.mark.timeout(1800)
def test_outcome_is_that_of_the_local_runner(interpreter, order, first_run, tmp_path):
    page = Path(first_run[1]["page"])
    local = json.loads(page.with_name("report.json").read_text())
    report = json.loads(
        (interpreter.fetch("Report", "report", tmp_path) / "report.json").read_text()
    )
    examples = interpreter.fetch("FaceExtractor", "examples", tmp_path)
    for split in ("train", "val", "test"):
        theirs = Path(local["sources"]["records"][0]).parents[1] / f"Split-{split}"
        assert records((examples / f"Split-{split}").iterdir()) == records(theirs.iterdir())
    assert report["extraction"] == local["extraction"]
    assert report["dataset"]["digest"] == local["dataset"]["digest"]
    assert report["blessed"] == local["blessed"]
    assert [row["held"] for row in report["gate"]] == [row["held"] for row in local["gate"]]
    # One graph, trained twice, with the noise of sums in another order.
    assert numbers(report["splits"]) == pytest.approx(numbers(local["splits"]), abs=1e-3)


@pytest.mark.timeout(1800)
def test_next_candidate_is_compared_with_the_pushed_model(interpreter, order, output, tmp_path):
    interpreter.forget("BlessedModel")
    baseline = interpreter.run_task("BlessedModel")["model"]
    (version,) = versions(output)
    assert baseline["metadata"]["pushed_version"] == version.name
    blessing = interpreter.run_task("Evaluator")["blessing"]["metadata"]
    assert blessing["baseline_model"] == baseline["uri"]
    # The very same model: no worse, hence blessed.
    assert blessing["blessed"] == 1
    clips = interpreter.run_task("ClipEvaluator")
    assert clips["blessing"]["metadata"]["blessed"] == 1
    comparison = results.read(str(interpreter.fetch("ClipEvaluator", "evaluation", tmp_path)))
    assert comparison.comparison.to_dict()["metrics"]["auc"]["value"] == 0
