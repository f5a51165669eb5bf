"""The job file of Slurm, submitted to two nodes that run on this machine.

Debian's packages `slurm-wlm` and `munge`; nothing of the system's configuration is used.
"""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from e2e.excerpt import make_excerpt
from e2e.workspace import Workspace
from extraction import shards
from processes import parent, running

from benchmarks._slurm import Slurm, reason_not_to_run
from pipeline.cli import main
from preprocessing.datasets.demo import make_demo_data

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(reason_not_to_run()), reason=reason_not_to_run()),
]


class FailingSlurm(Slurm):
    """A Slurm whose nodes can be lost."""

    def kill_node(self, node):
        """Ends the node, and what runs on it, as a machine that loses its power."""
        self._daemons[node].kill()
        self._daemons.pop(node).wait()
        # What runs a task is no child of the node's daemon. It goes first, or it would tell the
        # controller of the task's end.
        task = self._processes_of(node)
        parents = {parent(pid) for pid in task} - task
        for pid in [*filter(_runs_a_task, parents), *task]:
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


def _runs_a_task(pid):
    """Whether a process is a `slurmstepd`; other parents than these are not of the node."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("slurmstepd")
    return False


@pytest.fixture
def slurm(tmp_path_factory):
    # Names of sockets are short.
    folder = Path(tmp_path_factory.mktemp("slurm"))
    with FailingSlurm(folder) as slurm:
        yield slurm


@pytest.fixture
def demo_clips(tmp_path):
    """The clips of a small demo, as `excerpt`."""
    space = Workspace(tmp_path / "demo", tmp_path)
    demo = space.config().data.demo
    make_demo_data(space.data, demo)
    data = {"layout": "demo", "split": "official", "demo": demo.to_dict()}
    return make_excerpt(tmp_path, space.data, data, 36, 0)


@pytest.mark.timeout(1800)
def test_a_job_array_on_two_nodes_extracts_what_one_process_does(slurm, excerpt, tmp_path, capfd):
    """In eight parts, with a node that is lost meanwhile, whose task is requeued."""
    output = tmp_path / "out"
    job = submit(slurm, excerpt, output)
    nodes = ("squeue", "-h", "-o", "%N")
    slurm.until(lambda: "n2" in slurm.run(*nodes), "a task runs on each node", 300)
    slurm.until((output / "parts").is_dir, "a part has begun", 300)
    slurm.kill_node("n2")
    state = ("sinfo", "-h", "-n", "n2", "-o", "%t")
    slurm.until(lambda: slurm.run(*state).startswith("down"), "it is down")
    slurm.start_node("n2")
    tasks = slurm.wait(job, 900)
    assert tasks.count("JobState=COMPLETED") == 8, tasks
    assert "Restarts=1" in tasks, "the task of the lost node was requeued"
    assert_complete(output, excerpt, tmp_path / "whole", capfd)


@pytest.mark.timeout(900)
def test_the_demo_is_extracted_so_too(slurm, demo_clips, tmp_path, capfd):
    tasks = slurm.wait(submit(slurm, demo_clips, tmp_path / "out"), 600)
    assert tasks.count("JobState=COMPLETED") == 8, tasks
    assert_complete(tmp_path / "out", demo_clips, tmp_path / "whole", capfd)


def submit(slurm, clips, output):
    preset, data = clips.arguments[1::2]
    variables = {"DATA": data, "OUTPUT": str(output), "PRESET": preset}
    return slurm.submit("--array=0-7", DEEPFAKE_PARTS="8", **variables)


def assert_complete(output, clips, whole, capfd):
    """Nothing is missing, nothing is done again, and the records are those of one process."""

    def extract(place, *more):
        status = main(["extract", *clips.arguments, "--output", str(place), *more])
        return status, capfd.readouterr().out

    status, said = extract(output, "--status")
    assert status == 0
    counts = f"{clips.with_faces} done with faces, {clips.without} done without, 0 failed, 0 to do"
    assert f"{clips.with_faces + clips.without} clips: {counts}" in said
    before = len(list((output / "face-store").rglob("*.tfrecord")))
    done = 4 if clips.without else 0
    assert extract(output)[0] == done
    assert len(list((output / "face-store").rglob("*.tfrecord"))) == before
    assert extract(whole)[0] == done
    assert shards(output / "faces") == shards(whole / "faces")
