"""The compiled tasks in the image `pipeline`: each container's command, as Kubeflow starts it."""

import os

import pytest
from e2e.containers import own
from e2e.kubeflow_interpreter import KubeflowInterpreter
from e2e.kubeflow_store import KFP_NEWEST
from e2e.workspace import SMALL, Workspace

from pipeline.cli import main
from preprocessing.datasets.demo import make_demo_data

# It uses all cores itself.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        os.environ.get("DEEPFAKE_TEST_IMAGES") not in ("all", "built"),
        reason="many minutes: asked for by DEEPFAKE_TEST_IMAGES=all",
    ),
]


def test_every_task_runs_in_a_container_to_a_pushed_model(podman, pipeline_image, tmp_path):
    volume, pods = tmp_path / "volume", tmp_path / "pods"
    space = Workspace(volume / "data", volume / "out")
    make_demo_data(space.data, space.config().data.demo)
    pods.mkdir()
    package = tmp_path / "pipeline.yaml"
    own_sets = ["kubeflow.volume=deepfake", f"kubeflow.mount_path={volume}"]
    sets = [word for one in (*SMALL, *own_sets) for word in ("--set", one)]
    places = ["--data", str(space.data), "--output", str(space.output), "--file", str(package)]
    image = ["--image", "registry.example/deepfake-detection:0.1.0"]
    assert (
        main(["compile", "--target", "kubeflow", "--preset", "demo", *image, *places, *sets]) == 0
    )
    own(volume)

    def run(command, environment, folder):
        own(folder)
        variables = [f"--env={name}={environment[name]}" for name in ("DEEPFAKE_BUCKETS", "TMPDIR")]
        mounts = [f"--volume={path}:{path}" for path in (volume, folder)]
        done = podman.inside(
            pipeline_image,
            *command[1:],
            options=(*variables, *mounts, f"--workdir={folder}", "--entrypoint=python"),
            check=False,
            timeout=900,
        )
        return done.returncode, done.stdout + done.stderr

    interpreter = KubeflowInterpreter(package, pods, "minio://bucket/runs", KFP_NEWEST, run=run)
    interpreter.run()
    assert len(interpreter.executed) == 12
    pushed = interpreter.outputs["Pusher"]["pushed_model"]["metadata"]
    assert pushed["pushed"] == 1
    (version,) = (volume / "out" / "models" / "demo").iterdir()
    assert pushed["pushed_destination"] == str(version)
    assert (version / "saved_model.pb").stat().st_uid == 10001
