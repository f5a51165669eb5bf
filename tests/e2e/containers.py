"""Podman as the tests use it: confined containers, their logs and what they answer."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from processes import descendants

from preprocessing.support.versions import image_name
from serving.model import starter

ROOT = Path(__file__).parents[2]
BASE_IMAGE = "docker.io/library/debian:trixie-slim"
USER = 10001
MEDIA = ROOT / "tests" / "media"
CLIP = (MEDIA / "anareal121.mp4").read_bytes()
# What manifests and compose file ask for.
CONFINED = (
    *("--read-only", "--read-only-tmpfs=false"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


class Podman:
    """The engine, with settings that also hold on a machine with old control groups.

    Args:
      folder: folder for the settings.
    """

    def __init__(self, folder: Path):
        # podman's own limits may be above those of this process, which it cannot raise; crun
        # refuses version 1 of control groups beside version 2.
        limits = [
            f'"{name}={most}:{most}"'
            for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
            for most in [_at_most(4096, kind)]
        ]
        lines = [
            *("[containers]", f"default_ulimits = [{', '.join(limits)}]"),
            *("[engine]", f'runtime = "{"runc" if shutil.which("runc") else "crun"}"'),
        ]
        path = folder / "containers.conf"
        path.write_text("\n".join(lines) + "\n")
        self.environment = {"CONTAINERS_CONF": str(path), **os.environ}

    def __call__(
        self, *arguments: Any, check: bool = True, timeout: float = 300, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs podman.

        Args:
          *arguments: arguments of podman.
          check: whether it must end with status 0.
          timeout: seconds after which it is ended.
          **variables: variables of its environment.
        """
        return self.program("podman", *arguments, check=check, timeout=timeout, **variables)

    def program(
        self, *command: Any, check: bool = True, timeout: float = 300, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program that runs podman."""
        done = subprocess.run(
            [str(word) for word in command],
            env={**self.environment, **variables},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"[-6000:]
        return done

    def build(self, target: str) -> str:
        """Builds an image as `make images` does; prints its sizes and time, returns its name.

        With DEEPFAKE_TEST_IMAGES=built the image that there is is taken, while one writes tests.
        """
        image = image_name("serve" if target == "serve" else "")
        if os.environ.get("DEEPFAKE_TEST_IMAGES") == "built":
            return image
        authorities = os.environ.get("SSL_CERT_FILE", "")
        done = self.program(
            "bash", ROOT / ".ci" / "images", target, timeout=1800, EXTRA_CA=authorities
        )
        print(done.stdout[-3000:])
        return image

    def inside(
        self,
        image: str,
        *command: Any,
        options: Sequence[Any] = (),
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in a confined container without a network, to its end."""
        return self(
            *(
                "run",
                "--rm",
                "--network",
                "none",
                *CONFINED,
                *_tmp("1g"),
                *options,
                image,
                *command,
            ),
            check=check,
            timeout=timeout,
        )

    @contextlib.contextmanager
    def started(
        self, image: str, *command: Any, options: Sequence[Any] = (), tmp: str = "1g"
    ) -> Iterator[Container]:
        """A confined container that runs meanwhile, and is removed; `tmp` is the size of /tmp."""
        name = f"deepfake-test-{uuid.uuid4().hex[:8]}"
        container = Container(self, name)
        try:
            confined = (*CONFINED, *_tmp(tmp))
            self("run", "--detach", "--name", name, *confined, *options, image, *command)
            yield container
        finally:
            self("rm", "--force", "--time", "0", name, check=False)


class Container:
    """A running container.

    Args:
      podman: the engine.
      name: name of the container.
    """

    def __init__(self, podman: Podman, name: str):
        self.podman = podman
        self.name = name

    @property
    def state(self) -> dict[str, Any]:
        """`State` of `podman inspect`."""
        return json.loads(self.podman("inspect", "--format", "{{json .State}}", self.name).stdout)

    def log(self) -> str:
        """Both outputs."""
        done = self.podman("logs", self.name)
        return done.stdout + done.stderr

    def stop(self, seconds: int) -> int:
        """SIGTERM, and SIGKILL after so many seconds; returns the exit status."""
        self.podman("stop", "--time", seconds, self.name, timeout=seconds + 60)
        return int(self.state["ExitCode"])

    @contextlib.contextmanager
    def workers_stopped(self) -> Iterator[None]:
        """Holds the processes in it that look at files, until the block ends."""
        workers = [pid for pid in descendants(self.state["Pid"]) if b"crop_child" in _command(pid)]
        assert workers, self.log()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def peak_memory(self) -> tuple[int, int, int]:
        """What its control group counted.

        Returns:
          The most bytes that it held, its files in the page cache included; the limit of them; and
          how many processes were killed for want of memory.
        """
        first = "cd /sys/fs/cgroup/memory && cat memory.max_usage_in_bytes memory.limit_in_bytes"
        second = "cd /sys/fs/cgroup && cat memory.peak memory.max memory.events"
        shell = f"({first} memory.oom_control) 2>/dev/null || ({second})"
        words = self.podman("exec", self.name, "sh", "-c", shell).stdout.split()
        return int(words[0]), int(words[1]), int(words[words.index("oom_kill") + 1])

    def address(self, port: int) -> str:
        """Where a published port answers."""
        where = self.podman("port", self.name, f"{port}/tcp").stdout.split()[0]
        return f"http://127.0.0.1:{where.rpartition(':')[2]}"

    def ends(self, seconds: float = 300) -> int:
        """Waits for its end; returns the exit status."""
        return int(self.podman("wait", self.name, timeout=seconds).stdout.split()[-1])


def _command(pid: int) -> bytes:
    """The command line of a process; empty of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _tmp(size: str) -> tuple[str, str]:
    return "--tmpfs", f"/tmp:size={size},mode=1777"


def _at_most(most: int, kind: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def request(url: str, data: bytes | None = None, timeout: float = 300) -> tuple[int, Any]:
    """Status and body, of JSON its value, of an answer over HTTP; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, {"content-type": "application/octet-stream"}),
            timeout=timeout,
        ) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except OSError as error:
        return 0, str(error)
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode(errors="replace")


def verdict(address: str, clip: bytes = CLIP) -> tuple[int, Any]:
    """What a gateway answers about a clip."""
    return request(f"{address}/v1/verdict?name=clip.mp4", clip)


def ready(address: str) -> bool:
    """Whether a gateway says that it can answer."""
    return request(f"{address}/readyz", timeout=10)[0] == 200


def listens(address: str) -> bool:
    """Whether anything answers there; no file is sent, which a gateway might admit and hold."""
    return request(f"{address}/healthz", timeout=10)[0] != 0


def metrics(address: str) -> str:
    """A gateway's page of metrics."""
    return str(request(f"{address}/metrics", timeout=10)[1])


def until(
    holds: Callable[[], Any], why: Callable[[], str], seconds: float = 600, pause: float = 0.3
) -> Any:
    """Waits until something holds, and returns it.

    Args:
      holds: function that is asked again and again.
      why: function that says why it did not hold.
      seconds: seconds in which it must hold.
      pause: seconds between two questions; less than what holds for a moment only.
    """
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, why()
        time.sleep(pause)
    return value


def own(folder: Path, user: int = USER) -> None:
    """Gives a folder and what is in it to a user, as on a volume that this user wrote."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user)


def push(base: Path, version: int, user: int = USER, mode: int = 0o755) -> None:
    """A version of the starter, complete when it appears, below a folder as Pusher's.

    Args:
      base: folder of versions.
      version: number of the version.
      user: id of its owner.
      mode: permissions of its folder.
    """
    waiting = base.parent.parent / f"waiting-{version}"
    shutil.copytree(starter.FOLDER / "1", waiting)
    own(waiting, user)
    waiting.chmod(mode)
    waiting.rename(base / str(version))


def reason_not_to_run() -> str:
    """Why no container can run here; empty where one can."""
    if not shutil.which("podman"):
        return "there is no podman: apt-get install podman"
    if os.geteuid() != 0:
        return "the base image is made, and volumes are given to other users, by root only"
    return ""
