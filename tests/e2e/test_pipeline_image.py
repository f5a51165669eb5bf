"""The image `pipeline`: from clips on a volume to a model that the image `serve` answers with."""

import json
import re
import shutil

import pytest
from e2e.containers import own
from e2e.image_contents import unknown_files
from e2e.workspace import SMALL, Workspace

from preprocessing.datasets.demo import make_demo_data

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

MOST_MB = 3500


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A volume with clips, which belongs to the images' user."""
    folder = tmp_path_factory.mktemp("volume")
    space = Workspace(folder / "data", folder / "run")
    make_demo_data(space.data, space.config().data.demo)
    own(folder)
    return folder


def run(podman, image, *volumes, check=True):
    changes = [f"--set={change}" for change in SMALL]
    return podman.inside(
        *(image, "run", "--preset", "demo", "--data", "/work/data", "--output", "/work/run"),
        *changes,
        options=volumes,
        check=check,
        timeout=1200,
    )


def test_image_is_small_and_its_files_are_accounted_for(podman, pipeline_image):
    (image,) = json.loads(podman("image", "inspect", pipeline_image).stdout)
    assert image["Size"] <= MOST_MB * 1e6
    assert unknown_files(podman, pipeline_image) == set()


def test_run_pushes_a_model_that_the_other_image_answers_with(
    podman, pipeline_image, serve, volume
):
    done = run(podman, pipeline_image, "--volume", f"{volume}:/work")
    assert re.search(r"pushed +/work/run/models/demo/\d+", done.stdout), done.stdout[-4000:]
    clip = next((volume / "data").rglob("*.mp4")).relative_to(volume)
    answer = podman.inside(
        *(serve, "predict", "--json", f"/work/{clip}", "--model", "/work/run/models/demo"),
        options=("--volume", f"{volume}:/work:ro"),
    )
    (answer,) = json.loads(answer.stdout)
    assert answer["model"]["name"] == "demo"
    assert answer["score"] is not None
    assert "made-up" in answer["warning"]


def test_volume_of_another_user_and_a_full_one_end_with_a_sentence(
    podman, pipeline_image, volume, tmp_path
):
    other = tmp_path / "other"
    shutil.copytree(volume / "data", other / "data")
    tmp_path.chmod(0o755)
    done = run(podman, pipeline_image, "--volume", f"{other}:/work", check=False)
    assert done.returncode == 2
    assert "the output folder /work/run cannot be written (Permission denied)" in done.stdout
    full = ("--tmpfs", "/work/run:size=64k,mode=1777")
    done = run(
        *(podman, pipeline_image, "--volume", f"{volume}/data:/work/data:ro", *full), check=False
    )
    assert done.returncode == 1
    # What is written first, TFX's database or a file, is not the same on every machine.
    assert re.search(r"^error: .*(database or disk is full|No space left)", done.stdout, re.M)
    assert "Traceback" not in done.stdout
