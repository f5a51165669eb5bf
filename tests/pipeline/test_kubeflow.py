"""The pipeline compiled for Kubeflow Pipelines 2 and for Vertex AI."""

import difflib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compiled_pipeline import compile_to

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden" / "pipeline.yaml"
TASKS = {
    "FaceExtractor",
    "StatisticsGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "BlessedModel",
    "Evaluator",
    "ClipEvaluator",
    "ServingCheck",
    "Pusher",
    "Report",
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    return compile_to(tmp_path_factory.mktemp("compiled") / "pipeline.yaml", "name=golden")


def expanded(value):
    """The compiled form with the JSON in its texts opened, so that a change is one line."""
    if isinstance(value, dict):
        return {key: expanded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [expanded(inner) for inner in value]
    if isinstance(value, str) and value.startswith(("{\n", '{"', "[")):
        return expanded(json.loads(value))
    return value


def lines_of(package: str) -> list[str]:
    return yaml.safe_dump_all(map(expanded, yaml.safe_load_all(package)), width=1000).splitlines()


def test_equals_the_golden_file(compiled):
    """The golden file is the package itself, except for TFX's version."""
    version = importlib.metadata.version("tfx")
    text = compiled.read_text()
    assert f"sdkVersion: tfx-{version}\n" in text
    # The one thing in which the two environments differ.
    text = text.replace(f"sdkVersion: tfx-{version}\n", "sdkVersion: tfx-VERSION\n")
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    golden = GOLDEN.read_text() if GOLDEN.exists() else ""
    difference = "\n".join(
        difflib.unified_diff(
            lines_of(golden), lines_of(text), "golden", "compiled", lineterm="", n=4
        )
    )
    assert golden == text, (
        f"the compiled pipeline has changed:\n{difference}\nIf that is meant, run "
        f"UPDATE_GOLDEN=1 .venv/bin/python -m pytest {Path(__file__).relative_to(ROOT)} and commit "
        f"{GOLDEN.relative_to(ROOT)}"
    )


def pipeline_of(package: Path) -> dict:
    return next(yaml.safe_load_all(package.read_text()))


def test_every_task_is_a_container_and_none_a_resolver(compiled):
    spec = pipeline_of(compiled)
    assert spec["schemaVersion"] == "2.1.0"
    assert set(spec["components"]) == TASKS
    assert len(spec["root"]["dag"]["tasks"]) == len(TASKS)
    assert len(spec["deploymentSpec"]["executors"]) == len(TASKS)
    for executor in spec["deploymentSpec"]["executors"].values():
        assert set(executor) == {"container"}


def test_nothing_is_trained_before_the_examples_are_found_valid(compiled):
    tasks = pipeline_of(compiled)["root"]["dag"]["tasks"]
    assert "example-validator" in tasks["transform"]["dependentTasks"]
    assert "transform" in tasks["trainer"]["dependentTasks"]
    assert {"clip-evaluator", "serving-check"} <= set(tasks["pusher"]["dependentTasks"])
    assert "evaluator" in tasks["clip-evaluator"]["dependentTasks"]


def test_pods_may_have_the_names_of_tasks(compiled):
    """Kubeflow 2.4 and 2.5 name pods of tasks with retries after them: RFC 1123, no capitals."""
    tasks = pipeline_of(compiled)["root"]["dag"]["tasks"]
    for name, task in tasks.items():
        assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
        # The driver finds what a task has made by this name.
        assert task["taskInfo"]["name"] == name
        inputs = task.get("inputs", {}).get("artifacts", {}).values()
        named = {source["taskOutputArtifact"]["producerTask"] for source in inputs}
        assert named | set(task.get("dependentTasks", ())) <= set(tasks)


def test_kfp_loads_it(compiled):
    from kfp import components

    loaded = components.load_component_from_file(str(compiled))
    assert loaded.name == "golden"
    assert set(loaded.pipeline_spec.components) == TASKS


def test_json_for_vertex_holds_the_same_pipeline(compiled, tmp_path):
    job = json.loads(compile_to(tmp_path / "pipeline.json", "name=golden").read_text())
    assert job["pipelineSpec"] == pipeline_of(compiled)
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "/mnt/deepfake/out/artifacts"
    assert job["displayName"] == "golden"


def run_entry_point(folder, *arguments, **variables):
    """`python kubeflow_v2_runner.py` as a person runs it, from another folder."""
    return subprocess.run(
        [sys.executable, ROOT / "kubeflow_v2_runner.py", *arguments],
        cwd=folder,
        env={**os.environ, "DEEPFAKE_CONFIG": "folder", "DEEPFAKE_OUTPUT": "out", **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_entry_point_compiles_a_dataset(tmp_path):
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(8):
            clip = tmp_path / "data" / label / f"{number}.mp4"
            clip.write_bytes(f"{label} {number}".encode())
    done = run_entry_point(tmp_path, DEEPFAKE_DATA="data", DEEPFAKE_IMAGE="registry/image:1")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "clips" in done.stdout, "the dataset's table is shown"
    assert done.stdout.splitlines()[-1] == "wrote pipeline.yaml"
    spec = pipeline_of(tmp_path / "pipeline.yaml")
    images = {e["container"]["image"] for e in spec["deploymentSpec"]["executors"].values()}
    assert images == {"registry/image:1"}
    tasks = spec["root"]["dag"]["tasks"]
    values = tasks["face-extractor"]["inputs"]["parameters"]
    assert values["root"]["runtimeValue"]["constant"] == str(tmp_path / "data")
    assert Path(values["manifest"]["runtimeValue"]["constant"]).is_file()
    # Relative paths mean nothing in a pod.
    for task in ("blessed-model", "pusher"):
        destination = tasks[task]["inputs"]["parameters"]["push_destination"]
        assert f"{tmp_path}/out/models/folder" in destination["runtimeValue"]["constant"]


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        ([], {"DEEPFAKE_DATA": "nowhere"}, ["nowhere", "does not exist"]),
        ([], {"DEEPFAKE_CONFIG": "fodler"}, ["fodler", "did you mean 'folder'"]),
        ([], {"DEEPFAKE_SET": "training.epoch=1"}, ["did you mean 'epochs'"]),
        ([], {"DEEPFAKE_OUTPUT": ""}, ["no output folder"]),
        (
            [],
            {"DEEPFAKE_SET": "serving.infra_validator=docker"},
            ["does not compile InfraValidator", "set it to none"],
        ),
        ([], {}, ["no dataset"]),
        (["pipeline.yml"], {}, ["pipeline.yaml|pipeline.json"]),
        (["nowhere/pipeline.yaml"], {}, ["nowhere/pipeline.yaml", "does not exist"]),
    ],
)
def test_mistakes_get_a_sentence_and_status_2(tmp_path, arguments, variables, words):
    done = run_entry_point(tmp_path, *arguments, **variables)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (sentence,) = done.stderr.splitlines()
    for word in words:
        assert word in sentence
    assert not [*tmp_path.glob("*.y*ml")]
