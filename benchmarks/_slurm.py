"""A Slurm of two nodes on this machine, from Debian's packages `slurm-wlm` and `munge`.

Nothing of the system's configuration is used; only root can start it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pipeline
from benchmarks._harness import free_ports, pinned

# The job file that people submit.
SCRIPT = Path(pipeline.__path__[0]) / "deploy" / "slurm" / "extract.sbatch"
NODES = ("n1", "n2")
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2
SlurmctldTimeout=10
SlurmdTimeout=5
ReturnToService=2
KillWait=1
MinJobAge=600
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=2 RealMemory=4000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def reason_not_to_run() -> str:
    """Why no Slurm can be started here, and what helps; empty where it can."""
    if os.geteuid():
        return "only root can start Slurm"
    if not all(map(shutil.which, ("sbatch", "slurmctld", "slurmd", "munged"))):
        return "there is no Slurm: apt-get install slurm-wlm munge"
    return ""


class Slurm:
    """A controller and two nodes; a context manager.

    Args:
      folder: of configuration, state and logs; its path is short, since sockets lie in it.
      cores: what each node is pinned to; none by default.

    Attributes:
      folder: as given.
    """

    def __init__(self, folder: Path, cores: Mapping[str, int] | None = None):
        self.folder = folder
        self._cores = cores or {}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Slurm:
        control, first, second = free_ports(3)
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        (self.folder / "slurm.conf").write_text(
            _CONFIGURATION.format(
                folder=self.folder, host=socket.gethostname().partition(".")[0],
                control=control, first=first, second=second,
            )
        )  # fmt: skip
        try:
            names = ("key-file", "socket", "pid-file", "log-file", "seed-file")
            endings = ("key", "socket", "pid", "log", "seed")
            options = [
                f"--{name}={self.folder}/munge.{ending}"
                for name, ending in zip(names, endings, strict=True)
            ]
            self._start("munged", "--foreground", "--force", *options)
            self.until((self.folder / "munge.socket").exists, "munge answers", 30)
            self._start("slurmctld", "-D", "-c")
            for node in NODES:
                self.start_node(node)
            self.until(
                lambda: self.run("sinfo", "-h", "-o", "%D %t") == "2 idle", "two nodes are idle"
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def start_node(self, node: str) -> None:
        """Starts the daemon of a node; what runs on the node is pinned as it is."""
        self._start("slurmd", "-D", "-N", node, name=node)

    def submit(self, *options: str, **variables: str) -> str:
        """Submits the job file; returns the job's number.

        Args:
          options: of sbatch.
          variables: of the environment.

        Raises:
          RuntimeError: it was refused.
        """
        return self.run("sbatch", "--parsable", "--export=ALL", *options, str(SCRIPT), **variables)

    def wait(self, job: str, seconds: float) -> str:
        """Waits for the end of a job; returns what Slurm tells of it.

        Raises:
          RuntimeError: it did not end in time.
        """
        # Slurm's commands take time of the nodes that are measured.
        self.until(
            lambda: not self.run("squeue", "-h", "-j", job), "the job has ended", seconds, pause=3
        )
        return self.run("scontrol", "show", "job", job)

    def run(self, *command: str, **variables: str) -> str:
        """What one of Slurm's commands printed.

        Raises:
          RuntimeError: it failed.
        """
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**self._environment(), **variables},
            cwd=self.folder,
        )
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}{self._logs()}")
        return done.stdout.strip()

    def until(
        self, true: Callable[[], object], what: str, seconds: float = 120, pause: float = 0.1
    ) -> None:
        """Waits for a condition; a RuntimeError of `run` in it tells that it does not hold yet.

        Raises:
          RuntimeError: it did not come to hold in time.
        """
        end = time.monotonic() + seconds
        while True:
            failure = ""
            try:
                if true():
                    return
            except RuntimeError as error:
                failure = f" ({error})"
            if time.monotonic() > end:
                raise RuntimeError(f"waited in vain: {what}: {self._logs()}{failure}")
            time.sleep(pause)

    def _start(self, program: str, *options: str, name: str = "") -> None:
        with (self.folder / f"{name or program}.out").open("ab") as log:
            self._daemons[name or program] = subprocess.Popen(
                [*pinned(self._cores.get(name)), str(shutil.which(program)), *options],
                env=self._environment(), stdout=log, stderr=log,
            )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        tools = Path(sys.executable).parent
        return {
            **os.environ,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{tools}:{os.environ['PATH']}",
        }

    def _logs(self) -> list[str]:
        return [path.read_text()[-1500:] for path in self.folder.glob("*.log")]
