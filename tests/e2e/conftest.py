"""A small trained pipeline for all end-to-end tests, and the demo's for those that need a detector.

Runs of the small one share one process and its imports.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.containers import BASE_IMAGE, ROOT, Podman, own, push, reason_not_to_run
from e2e.excerpt import Excerpt, make_excerpt
from e2e.workspace import Workspace
from made_media import write_clips

from benchmarks._harness import media
from pipeline.config import Config, load_config
from preprocessing.datasets.demo import make_demo_data


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    folder = tmp_path_factory.mktemp("e2e")
    space = Workspace(folder / "data", folder / "out")
    make_demo_data(space.data, space.config().data.demo)
    return space


@pytest.fixture(scope="session")
def first_run(workspace) -> tuple[int, dict]:
    """Status and summary of the first run of the session's workspace."""
    return workspace.run()


@pytest.fixture(scope="session")
def pushed_model(first_run) -> Path:
    status, summary = first_run
    assert status == 0
    return Path(summary["pushed"])


@pytest.fixture(scope="session")
def excerpt(tmp_path_factory) -> Excerpt:
    """An excerpt of FaceForensics++; made clips, one without a face, where there is none."""
    place = tmp_path_factory.mktemp("excerpt")
    if folder := media("faceforensics_mini"):
        data = {"layout": "faceforensics", "split": "official"}
        return make_excerpt(place, folder, data, 47, 0)
    folder = place / "clips"
    folder.mkdir()
    write_clips(folder, 6, "{label}{number}.mp4")
    return make_excerpt(place, folder, {"layout": "folder", "split": "clip"}, 12, 1)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> tuple[Config, int, dict]:
    """Configuration, exit status and summary of the demo preset: minutes long, for slow tests.

    By the command and with the kernels of `make demo`.
    """
    output = tmp_path_factory.mktemp("demo")
    command = [Path(sys.executable).parent / "deepfake", "run", "--preset", "demo"]
    done = subprocess.run(
        [*command, "--output", output],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (output / "summary.json").is_file(), done.stdout[-6000:]
    config = load_config("demo", [f"output={json.dumps(str(output))}"])
    return config, done.returncode, json.loads((output / "summary.json").read_text())


@pytest.fixture(scope="session")
def demo_model(demo) -> Path:
    """The model that the demo pushed: it tells the demo's fakes from its real clips."""
    _, status, summary = demo
    assert status == 0
    return Path(summary["pushed"])


@pytest.fixture(scope="session")
def podman(tmp_path_factory) -> Podman:
    """The engine, with the images' base; tests skip where containers cannot run."""
    if reason := reason_not_to_run():
        pytest.skip(reason)
    engine = Podman(tmp_path_factory.mktemp("podman"))
    base = engine.program("bash", ROOT / ".ci" / "debian_image", check=False, timeout=600)
    if base.returncode == 2:
        pytest.skip(base.stderr.strip())
    trial = engine("run", "--rm", BASE_IMAGE, "true", check=False)
    if trial.returncode:
        pytest.skip(f"no container runs here: {trial.stderr.strip()}")
    return engine


@pytest.fixture(scope="session")
def serve(podman) -> str:
    """Name of the image `serve`, built as `make images` does."""
    return podman.build("serve")


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> Path:
    """A folder as Pusher fills it, of the images' user: deepfake/1."""
    base = tmp_path_factory.mktemp("volume") / "models" / "deepfake"
    base.mkdir(parents=True)
    own(base.parent)
    push(base, 1)
    return base.parent


@pytest.fixture(scope="session")
def pipeline_image(podman) -> str:
    """Name of the image `pipeline`, likewise."""
    return podman.build("pipeline")
