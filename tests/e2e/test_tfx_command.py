"""The `tfx` command line creates, runs and compiles the pipeline from its runner files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from e2e.workspace import SMALL

from pipeline.pipeline import models_folder

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
TFX = str(Path(sys.executable).parent / "tfx")


@pytest.fixture
def environment(tmp_path, workspace):
    """The variables that the runner files read, and state folders of our own for tfx."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LOCAL_HOME": str(tmp_path / "local"),
        "VERTEX_HOME": str(tmp_path / "vertex"),
        "DEEPFAKE_CONFIG": "demo",
        "DEEPFAKE_DATA": str(workspace.data),
        "DEEPFAKE_OUTPUT": str(workspace.output),
        "DEEPFAKE_SET": " ".join(SMALL),
    }


def tfx(*arguments, env, cwd):
    done = subprocess.run(
        [TFX, *arguments], env=env, cwd=cwd, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_create_and_run_local(tmp_path, workspace, first_run, environment):
    runner = str(ROOT / "local_runner.py")
    # Models that other tests pushed since have this one's judged once more, against the newest.
    workspace.run()
    summary = workspace.output / "summary.json"
    summary.unlink(missing_ok=True)
    tfx(
        "pipeline",
        "create",
        "--pipeline-path",
        runner,
        "--engine",
        "local",
        env=environment,
        cwd=ROOT,
    )
    assert not summary.exists(), "creating a pipeline must not run it"
    tfx(
        "run",
        "create",
        "--pipeline-name",
        "demo",
        "--engine",
        "local",
        env=environment,
        cwd=tmp_path,
    )
    nodes = json.loads(summary.read_text())["nodes"]
    assert set(nodes) == set(first_run[1]["nodes"])
    # The same inputs as the session's first run: the command line shares its cache.
    assert set(nodes.values()) == {"cached"}
    assert models_folder(workspace.config()).is_dir()


def test_compile_for_vertex(tmp_path, workspace, environment):
    runner = str(ROOT / "kubeflow_v2_runner.py")
    tfx(
        "pipeline",
        "compile",
        "--pipeline-path",
        runner,
        "--engine",
        "vertex",
        env=environment,
        cwd=tmp_path,
    )
    (compiled,) = [*tmp_path.glob("*.yaml"), *tmp_path.glob("*.json")]
    tasks = yaml.safe_load(compiled.read_text())["root"]["dag"]["tasks"]
    assert {"face-extractor", "blessed-model", "pusher"} <= set(tasks)
    root = tasks["face-extractor"]["inputs"]["parameters"]["root"]["runtimeValue"]["constant"]
    assert root == str(workspace.data), "the configuration came from the environment"
