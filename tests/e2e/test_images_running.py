"""The image `serve` while it answers: alone, by the compose file, and by the manifests."""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import uuid
from pathlib import Path

import pytest
import yaml
from e2e.containers import ROOT, Container, Podman, own, request, until

from serving.model import starter

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1200)]

MEDIA = ROOT / "tests" / "media"
CLIP = (MEDIA / "anareal121.mp4").read_bytes()
DEPLOY = ROOT / "serving" / "deploy"
MOUNT = "/models"


def push(base: Path, version: int) -> None:
    """A version of the starter, complete when it appears."""
    waiting = base.parent / f"waiting-{version}"
    shutil.copytree(starter.FOLDER / "1", waiting)
    own(waiting)
    waiting.rename(base / str(version))


@pytest.fixture
def volume(tmp_path) -> Path:
    """A folder as Pusher fills it: deepfake/1."""
    base = tmp_path / "models" / "deepfake"
    base.mkdir(parents=True)
    own(base.parent)
    push(base, 1)
    tmp_path.chmod(0o755)
    return base.parent


def verdict(address: str) -> tuple[int, dict]:
    return request(f"{address}/v1/verdict?name=clip.mp4", CLIP)


def ready(address: str) -> bool:
    return request(f"{address}/readyz", timeout=10)[0] == 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def uploading(address: str, answers: list):
    """Sends the clip from a thread; its answer is in the list afterwards."""
    thread = threading.Thread(target=lambda: answers.append(verdict(address)))
    thread.start()
    try:
        until(lambda: "deepfake_gateway_in_flight 1" in in_flight(address), lambda: "not admitted")
        yield
    finally:
        thread.join(600)


def in_flight(address: str) -> str:
    return str(request(f"{address}/metrics", timeout=10)[1])


def test_image_answers_with_the_starter_and_drains(podman, serve):
    with podman.started(serve, options=("--publish", "127.0.0.1::8080")) as container:
        address = container.address(8080)
        until(lambda: ready(address), container.log)
        podman("healthcheck", "run", container.name)
        status, answer = verdict(address)
        assert status == 200, answer
        assert answer["model"]["name"] == "starter"
        assert answer["score"] is not None
        shell = "cat /proc/[0-9]*/stat | awk '{sub(/.*\\)/, \"\"); print $1}'"
        states = podman("exec", container.name, "sh", "-c", shell).stdout.split()
        assert "Z" not in states, "what ended is reaped"
        answers: list = []
        with uploading(address, answers):
            podman("kill", "--signal", "TERM", container.name)
        assert [status for status, _ in answers] == [200], container.log()
        assert container.ends() == 0, container.log()


def test_server_that_does_not_answer_is_said(podman, serve):
    options = ("--publish", "127.0.0.1::8080")
    command = ("gateway", "--host", "0.0.0.0", "--server", "grpc://127.0.0.1:9")
    with podman.started(serve, *command, options=options) as container:
        address = container.address(8080)
        until(lambda: request(f"{address}/healthz", timeout=10)[0] == 200, container.log)
        status, answer = verdict(address)
        assert (status, answer["error"]) == (503, "the model server does not answer")
        assert "the model server gave no scores" in container.log()


def test_full_folder_for_uploads_is_said(podman, serve):
    """Room for what the gateway needs itself, and none for a file."""
    options = ("--publish", "127.0.0.1::8080")
    with podman.started(serve, options=options, tmp="3m") as container:
        address = container.address(8080)
        until(lambda: ready(address), container.log)
        podman("exec", container.name, "sh", "-c", "head -c 9m /dev/zero >/tmp/full || true")
        status, answer = verdict(address)
        assert (status, answer["error"]) == (503, "there is no room for the file"), container.log()
        podman("exec", container.name, "rm", "/tmp/full")
        assert verdict(address)[0] == 200, "and it goes on"


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


class Composed:
    """The compose file's containers.

    Args:
      podman: the engine.
      variables: of the compose file.
    """

    def __init__(self, podman: Podman, variables: dict[str, str]):
        self._podman = podman
        self._variables = variables
        self._project = f"deepfake-{uuid.uuid4().hex[:8]}"
        self.address = f"http://127.0.0.1:{variables['GATEWAY_PORT']}"

    def __call__(self, *arguments: str, check: bool = True) -> None:
        command = ("podman-compose", "--file", DEPLOY / "compose.yaml")
        self._podman.program(
            *command, "--project-name", self._project, *arguments, check=check, **self._variables
        )

    def container(self, service: str) -> Container:
        labels = {
            "com.docker.compose.project": self._project,
            "com.docker.compose.service": service,
        }
        filters = [f"--filter=label={key}={value}" for key, value in labels.items()]
        (name,) = self._podman("ps", "--all", *filters, "--format={{.Names}}").stdout.split()
        return Container(self._podman, name)

    def log(self) -> str:
        return "\n".join(self.container(service).log() for service in ("serving", "gateway"))


@pytest.fixture
def composed(podman, serve, volume):
    if not shutil.which("podman-compose"):
        pytest.skip("there is no podman-compose: apt-get install podman-compose")
    names = ("SERVING_GRPC_PORT", "SERVING_REST_PORT", "GATEWAY_PORT")
    ports = {name: str(free_port()) for name in names}
    composed = Composed(podman, {"MODEL_BASE": str(volume), **ports})
    try:
        composed("up", "--detach")
        until(lambda: ready(composed.address), composed.log)
        yield composed
    finally:
        composed("down", "--timeout", "5", check=False)


def test_compose_file_comes_up_swaps_and_recovers(composed, volume):
    status, answer = verdict(composed.address)
    assert status == 200, answer
    assert answer["model"]["version"] == 1

    answers: list = []
    swapped = threading.Event()

    def ask() -> None:
        while not swapped.is_set():
            answers.append(verdict(composed.address))

    asking = threading.Thread(target=ask)
    asking.start()
    push(volume / "deepfake", 2)
    try:
        until(lambda: answers and answers[-1][1].get("model", {}).get("version") == 2, composed.log)
    finally:
        swapped.set()
        asking.join(600)
    assert {status for status, _ in answers} == {200}, "no request is lost"

    for service in ("serving", "gateway"):
        container = composed.container(service)
        first = container.state["Pid"]
        os.kill(first, signal.SIGKILL)
        until(lambda: container.state["Pid"] not in (0, first), container.log)  # noqa: B023
        until(lambda: ready(composed.address), composed.log)
        assert verdict(composed.address)[0] == 200


class Pods:
    """The pods of the manifests, as `podman play kube` starts them: one of each.

    What podman 4.3 does otherwise than Kubernetes is arranged for: it publishes the ports of
    containers on the host, knows no `subPath` (so the volume holds what would be below it), and
    the names of pods are no names in DNS.

    Args:
      podman: the engine.
      folder: for the changed manifests.
      models: what the volume holds.
    """

    def __init__(self, podman: Podman, folder: Path, models: Path):
        self._podman = podman
        self._name = f"deepfake-{uuid.uuid4().hex[:8]}"
        self._port = free_port()
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
        pod = deployment["spec"]["template"]["spec"]
        for port in pod["containers"][0]["ports"]:
            port["hostPort"] = self._port if port["name"] == "http" else free_port()
        for entry in pod["volumes"]:
            if "persistentVolumeClaim" in entry:
                entry["persistentVolumeClaim"]["claimName"] = self._name
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        return path

    def container(self, name: str) -> Container:
        """`serving` or `gateway`."""
        return Container(self._podman, f"deepfake-{name}-pod-0-{name}")

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
        self._podman("volume", "rm", "--force", self._name, check=False)

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
        assert 'outcome="uncertain"' in in_flight(pods.address)
        for name in ("serving", "gateway"):
            host = json.loads(
                podman("inspect", "--format={{json .HostConfig}}", pods.container(name).name).stdout
            )
            assert host["ReadonlyRootfs"]
            assert host["Memory"] > 0
    finally:
        pods.end()
