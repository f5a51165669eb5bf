"""The image `serve`, built, started and asked as a user would."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.containers import ROOT, USER
from e2e.image_contents import unknown_files

from preprocessing.support.versions import image_name

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")
CLIP = ROOT / "tests" / "media" / "anareal121.mp4"
MOST_MB = 1600
# The image has another TensorFlow than this machine may have.
TOLERANCE = 1e-5


def predicted(words, *options, engine=None, image=""):
    """The answer of `deepfake predict --json` about the clip; in a container with an engine."""
    if engine is None:
        done = subprocess.run(
            [DEEPFAKE, "predict", "--json", str(CLIP), *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    else:
        mount = ("--volume", f"{CLIP.parent}:/work:ro")
        command = ("predict", "--json", CLIP.name, *words)
        done = engine.inside(image, *command, options=(*mount, *options))
    assert done.returncode == 0, done.stdout + done.stderr
    (answer,) = json.loads(done.stdout)
    return answer


def logits(answer):
    return [face["logit"] for track in answer["tracks"] for face in track["timeline"]]


def test_image_is_small_and_says_what_it_is(podman, serve):
    (image,) = json.loads(podman("image", "inspect", serve).stdout)
    assert image["Size"] <= MOST_MB * 1e6
    config = image["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert "readyz" in " ".join(image["Healthcheck"]["Test"])
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == serve.rpartition(":")[2]
    assert labels["org.opencontainers.image.title"] == serve.rpartition(":")[0]
    history = json.dumps(image["History"])
    assert "secret-index" not in history


def test_every_file_is_accounted_for_and_no_compiler_is_left(podman, serve):
    assert unknown_files(podman, serve) == set()
    shell = "command -v cc gcc g++ c++ pip uv; ls /var/lib/apt/lists; true"
    done = podman.inside(serve, "-c", shell, options=("--entrypoint", "sh"))
    assert done.stdout == ""


def test_bill_of_materials_lists_packages_of_both_kinds(podman, serve):
    path = "/usr/share/doc/deepfake-detection/sbom.cdx.json"
    document = json.loads(podman.inside(serve, path, options=("--entrypoint", "cat")).stdout)
    assert document["bomFormat"] == "CycloneDX"
    components = {entry["name"]: entry for entry in document["components"]}
    assert components["tensorflow-cpu"]["purl"].startswith("pkg:pypi/tensorflow-cpu@2.")
    assert components["python3.13-minimal"]["purl"].startswith("pkg:deb/debian/python3.13-minimal@")
    assert not {"tensorflow", "tfx", "apache-beam"} & set(components), "only what a verdict needs"
    for name in ("tensorflow-cpu", "numpy", "av", "tini"):
        assert components[name]["licenses"], name


def test_doctor_finds_what_answers_need(podman, serve):
    said = podman.inside(serve, "doctor").stdout
    assert not re.search(r"^broken", said, re.M), said
    assert "answers can be given here, but nothing run" in said
    assert re.search(r"^ok +decoder sandbox +.*seccomp", said, re.M), said


def test_clip_has_the_logits_that_it_has_outside(podman, serve):
    inside, outside = predicted((), engine=podman, image=serve), predicted(())
    assert len(logits(outside)) >= 4
    assert logits(inside) == pytest.approx(logits(outside), abs=TOLERANCE)
    assert inside["verdict"] == outside["verdict"]


def test_command_that_needs_the_pipeline_says_so(podman, serve):
    done = podman.inside(serve, "report", "/work", check=False)
    assert done.returncode == 2
    assert "the extra `pipeline` brings it" in done.stderr
    assert image_name() in done.stderr
