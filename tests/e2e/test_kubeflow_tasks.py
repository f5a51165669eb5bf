"""The pipeline compiled for Kubeflow works: its containers' commands, run without a cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.kubeflow_interpreter import KubeflowInterpreter
from e2e.workspace import SMALL

from components.evaluation import results, serving_result
from preprocessing.extraction import extraction_report

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


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
    artifacts = output / "artifacts"
    artifacts.mkdir()
    return KubeflowInterpreter(output / "pipeline.yaml", artifacts)


@pytest.fixture(scope="module")
def order(interpreter):
    return interpreter.run()


def versions(output):
    return sorted((output / "out" / "models" / "demo").iterdir())


def metadata(artifact):
    return artifact.get("metadata", {})


@pytest.mark.timeout(1800)
def test_every_task_runs_and_the_model_is_pushed(interpreter, order, output):
    assert set(order) == set(interpreter.tasks)
    assert order.index("ExampleValidator") < order.index("Transform")
    assert order[-4:] == ["ClipEvaluator", "ServingCheck", "Pusher", "Report"]
    served = serving_result.read(interpreter.outputs["ServingCheck"]["report"]["uri"])
    assert served.blessed
    assert served.crops
    report = Path(interpreter.outputs["Report"]["report"]["uri"])
    assert "passed the gate" in (report / "report.html").read_text()
    pushed = metadata(interpreter.outputs["Pusher"]["pushed_model"])
    assert pushed["pushed"] == 1
    (version,) = versions(output)
    assert pushed["pushed_destination"] == str(version)
    assert (version / "saved_model.pb").stat().st_size > 0
    counts = extraction_report.read(interpreter.outputs["FaceExtractor"]["report"]["uri"])
    assert counts.summary["crops"] > 0


@pytest.mark.timeout(1800)
def test_next_candidate_is_compared_with_the_pushed_model(interpreter, order, output):
    baseline = interpreter.run_task("BlessedModel")["model"]
    (version,) = versions(output)
    assert metadata(baseline)["pushed_version"] == version.name
    blessing = metadata(interpreter.run_task("Evaluator")["blessing"])
    assert blessing["baseline_model"] == baseline["uri"]
    # The very same model: no worse, hence blessed.
    assert blessing["blessed"] == 1
    clips = interpreter.run_task("ClipEvaluator")
    assert metadata(clips["blessing"])["blessed"] == 1
    difference = results.read(clips["evaluation"]["uri"]).comparison.to_dict()["metrics"]["auc"]
    assert difference["value"] == 0
