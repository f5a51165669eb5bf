"""The job file of Slurm, submitted to two nodes that run on this machine.

Debian's packages `slurm-wlm` and `munge`; nothing of the system's configuration is used.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from extraction import shards
from made_media import face_frame, write_video
from processes import parent, running
from serving_support.gateway import until

import pipeline
from pipeline.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, ("sbatch", "slurmctld", "slurmd", "munged"))) or os.geteuid(),
        reason="needs root and Slurm: apt-get install slurm-wlm munge",
    ),
]

SCRIPT = Path(pipeline.__path__[0]) / "deploy" / "slurm" / "extract.sbatch"
CONFIGURATION = """
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


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listening in sockets:
            listening.bind(("127.0.0.1", 0))
        return [listening.getsockname()[1] for listening in sockets]


class Slurm:
    """A controller and two nodes; a context manager.

    Attributes:
      folder: of configuration, state and logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self):
        control, first, second = free_ports(3)
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                folder=self.folder, host=socket.gethostname().partition(".")[0],
                control=control, first=first, second=second,
            )
        )  # fmt: skip
        try:
            names = ("key-file=munge.key", "socket=munge.socket", "pid-file=munge.pid")
            names += ("log-file=munge.log", "seed-file=munge.seed")
            options = [f"--{name.replace('=', f'={self.folder}/')}" for name in names]
            self._start("munged", "--foreground", "--force", *options)
            until((self.folder / "munge.socket").exists, "munge answers", 30)
            self._start("slurmctld", "-D", "-c")
            for node in ("n1", "n2"):
                self.start_node(node)
            until(lambda: self.run("sinfo", "-h", "-o", "%D %t") == "2 idle", "two nodes are idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def start_node(self, node):
        self._start("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node):
        """Ends the node, and what runs on it, as a machine that loses its power."""
        self._daemons[node].kill()
        self._daemons.pop(node).wait()
        # What runs a task is no child of the node's daemon. It goes first, or it would tell the
        # controller of the task's end.
        task = self._processes_of(node)
        for pid in [*({parent(pid) for pid in task} - {1} - task), *task]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _processes_of(self, node):
        marks = {f"SLURMD_NODENAME={node}", f"SLURM_CONF={self.folder}/slurm.conf"}
        processes = set()
        for pid in running():
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if marks <= {os.fsdecode(entry) for entry in environment}:
                    processes.add(pid)
        return processes

    def run(self, *command, **variables):
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**self._environment(), **variables},
            cwd=self.folder,
        )
        assert done.returncode == 0, (command, done.stderr, self._logs())
        return done.stdout.strip()

    def _start(self, program, *options, name=""):
        with (self.folder / f"{name or program}.out").open("ab") as log:
            self._daemons[name or program] = subprocess.Popen(
                [shutil.which(program), *options], env=self._environment(), stdout=log, stderr=log
            )

    def _environment(self):
        tools = Path(sys.executable).parent
        return {
            **os.environ,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{tools}:{os.environ['PATH']}",
        }

    def _logs(self):
        return [path.read_text()[-1500:] for path in self.folder.glob("*.log")]


@pytest.fixture
def slurm(tmp_path_factory):
    # Names of sockets are short.
    folder = Path(tmp_path_factory.mktemp("slurm"))
    with Slurm(folder) as slurm:
        yield slurm


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for label in ("real", "fake"):
        (root / label).mkdir()
        for number in range(6):
            frames = [face_frame([(10 * number + 4 * n, 40, 0.9)]) for n in range(3)]
            write_video(root / label / f"{label}{number}.mp4", frames)
    return root


@pytest.mark.timeout(1200)
def test_a_job_array_on_two_nodes_extracts_what_one_process_does(slurm, data, tmp_path, capfd):
    """With a node that is lost meanwhile, whose task is requeued."""
    output, whole = tmp_path / "out", tmp_path / "whole"
    variables = {"DATA": str(data), "OUTPUT": str(output), "DEEPFAKE_PARTS": "4"}
    job = slurm.run("sbatch", "--parsable", "--export=ALL", "--array=0-3", str(SCRIPT), **variables)
    until(lambda: "n2" in slurm.run("squeue", "-h", "-o", "%N"), "a task runs on each node", 300)
    until((output / "parts").is_dir, "a part has begun", 300)
    slurm.kill_node("n2")
    until(lambda: slurm.run("sinfo", "-h", "-n", "n2", "-o", "%t").startswith("down"), "it is down")
    slurm.start_node("n2")
    until(lambda: not slurm.run("squeue", "-h", "-j", job), "the array has ended", 900)
    tasks = slurm.run("scontrol", "show", "job", job)
    assert tasks.count("JobState=COMPLETED") == 4, tasks
    assert "Restarts=1" in tasks, "the task of the lost node was requeued"

    assert main(["extract", "--data", str(data), "--output", str(output), "--status"]) == 0
    assert "12 clips: 12 done with faces" in capfd.readouterr().out
    assert main(["extract", "--data", str(data), "--output", str(output)]) == 0
    assert main(["extract", "--data", str(data), "--output", str(whole)]) == 0
    assert shards(output / "faces") == shards(whole / "faces")
