"""The image `serve` while it answers: alone, and by the manifests."""

import concurrent.futures
import json
import re
import shutil
import uuid
from pathlib import Path

import pytest
import yaml
from e2e.composed import DEPLOY
from e2e.containers import (
    MEDIA,
    Container,
    Podman,
    listens,
    metrics,
    own,
    ready,
    until,
    verdict,
)

from benchmarks._harness import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

MOUNT = "/models"


@pytest.fixture(scope="module")
def alone(podman, serve):
    """The image as its own command starts it; room for what it needs itself and a small file."""
    with podman.started(serve, options=("--publish", "127.0.0.1::8080"), tmp="4m") as container:
        until(lambda: ready(container.address(8080)), container.log)
        yield container


def test_image_answers_with_the_starter(alone, podman):
    podman("healthcheck", "run", alone.name)
    status, answer = verdict(alone.address(8080))
    assert status == 200, answer
    assert answer["model"]["name"] == "starter"
    assert answer["score"] is not None
    shell = "cat /proc/[0-9]*/stat | awk '{sub(/.*\\)/, \"\"); print $1}'"
    states = podman("exec", alone.name, "sh", "-c", shell).stdout.split()
    assert "Z" not in states, "what ended is reaped"


def test_full_folder_for_uploads_is_said(alone, podman):
    address = alone.address(8080)
    podman("exec", alone.name, "sh", "-c", "head -c 9m /dev/zero >/tmp/full || true")
    status, answer = verdict(address)
    assert (status, answer["error"]) == (503, "there is no room for the file"), alone.log()
    told = re.compile(r"no room for an upload in /tmp/\S+ \(No space left")
    until(lambda: told.search(alone.log()), alone.log)
    podman("exec", alone.name, "rm", "/tmp/full")
    assert verdict(address)[0] == 200, "and it goes on"


def test_image_drains(alone, podman):
    """The last one, for it ends the container."""
    address = alone.address(8080)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        with alone.workers_stopped():
            answer = threads.submit(verdict, address)
            admitted = "deepfake_gateway_in_flight 1"
            until(lambda: admitted in metrics(address), lambda: "not admitted")
            podman("kill", "--signal", "TERM", alone.name)
            until(lambda: not listens(address), alone.log)
        assert answer.result()[0] == 200, alone.log()
    assert alone.ends() == 0, alone.log()


def test_start_that_cannot_succeed_ends_with_a_sentence(podman, serve, volume, tmp_path):
    """By the command, and what is wrong: no model, another user's volume, too little memory."""
    empty, closed = tmp_path / "empty", tmp_path / "closed"
    empty.mkdir()
    shutil.copytree(volume / "deepfake", closed)
    own(closed, 0)
    closed.chmod(0o700)
    cases = {
        ("no version of a model", empty): ("up", MOUNT),
        ("may not be read by the user 10001", closed): ("serve", "--model-base", MOUNT),
        ("may not be read by the user 10001 ", closed): (
            *("gateway", "--server", "grpc://127.0.0.1:9", "--model-base", MOUNT),
        ),
        ("the user 10001 of this process", closed): ("predict", "/clips", "--model", MOUNT),
    }
    for (words, folder), command in cases.items():
        volumes = ("--volume", f"{folder}:{MOUNT}:ro", "--volume", f"{MEDIA}:/clips:ro")
        done = podman.inside(serve, *command, options=volumes, check=False)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    for command in (("serve",), ("gateway", "--server", "grpc://127.0.0.1:9"), ("up",)):
        done = podman.inside(serve, *command, options=("--memory", "200m"), check=False)
        assert done.returncode == 2, done.stderr
        assert "this container may use 200 MiB of memory" in done.stderr


class Pods:
    """The pods of the manifests, as `podman play kube` starts them: one of each.

    What podman 4.3 does otherwise than Kubernetes is arranged for: it publishes the ports of
    containers on the host, knows no `subPath` (so the volume holds what would be below it), and
    the names of pods are no names in DNS.

    Args:
      podman: the engine.
      folder: folder for the changed manifests.
      models: folder that the volume holds.
    """

    def __init__(self, podman: Podman, folder: Path, models: Path):
        self._podman = podman
        self._name = f"deepfake-{uuid.uuid4().hex[:8]}"
        # All at once, or two might be the same: one for people, and those of the containers.
        self._port, *self._free = free_ports(8)
        self.address = f"http://127.0.0.1:{self._port}"
        podman("network", "create", self._name)
        podman("volume", "create", self._name)
        place = podman("volume", "inspect", "--format={{.Mountpoint}}", self._name).stdout.strip()
        shutil.copytree(models, place, dirs_exist_ok=True)
        own(Path(place))
        self._files = {name: self._changed(folder, name) for name in ("serving", "gateway")}

    def _changed(self, folder: Path, name: str) -> Path:
        documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / f"{name}.yaml").read_text()))
        (deployment,) = (entry for entry in documents if entry["kind"] == "Deployment")
        deployment["spec"]["replicas"] = 1
        # Other runs of these tests have pods and volumes of other names.
        for document in documents:
            if document["kind"] in ("Deployment", "ConfigMap"):
                document["metadata"]["name"] = f"{self._name}-{name}"
        pod = deployment["spec"]["template"]["spec"]
        for port in pod["containers"][0]["ports"]:
            port["hostPort"] = self._port if port["name"] == "http" else self._free.pop()
        for entry in pod["volumes"]:
            if "configMap" in entry:
                entry["configMap"]["name"] = f"{self._name}-{name}"
            if "persistentVolumeClaim" in entry:
                entry["persistentVolumeClaim"]["claimName"] = self._name
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        return path

    def container(self, name: str) -> Container:
        """`serving` or `gateway`."""
        return Container(self._podman, f"{self._name}-{name}-pod-0-{name}")

    def start(self) -> None:
        """Starts both."""
        for name, path in self._files.items():
            network = f"{self._name}:alias=deepfake-{name}"
            self._podman("play", "kube", "--network", network, path)

    def end(self) -> None:
        """Removes both, and what they had."""
        for path in self._files.values():
            self._podman("play", "kube", "--down", path, check=False)
        self._podman("network", "rm", "--force", self._name, check=False)
        # podman makes a volume of the ConfigMap as well, by its name.
        volumes = (self._name, f"{self._name}-serving")
        self._podman("volume", "rm", "--force", *volumes, check=False)

    def log(self) -> str:
        """Of both."""
        return "\n".join(self.container(name).log() for name in ("serving", "gateway"))


def test_manifests_come_up_and_answer(podman, serve, volume, tmp_path):
    pods = Pods(podman, tmp_path, volume)
    try:
        pods.start()
        until(lambda: ready(pods.address), pods.log)
        status, answer = verdict(pods.address)
        assert status == 200, answer
        assert answer["model"] == {**answer["model"], "name": "deepfake", "version": 1}
        assert f'outcome="{answer["verdict"]}"' in metrics(pods.address)
        for name in ("serving", "gateway"):
            host = json.loads(
                podman("inspect", "--format={{json .HostConfig}}", pods.container(name).name).stdout
            )
            assert host["ReadonlyRootfs"]
            assert host["Memory"] > 0
    finally:
        pods.end()
