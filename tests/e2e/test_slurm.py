"""The job file of Slurm, submitted to two nodes that run on this machine.

Debian's packages `slurm-wlm` and `munge`; nothing of the system's configuration is used.
"""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from extraction import shards
from made_media import write_clips
from processes import parent, running

from benchmarks._harness import media
from benchmarks._slurm import Slurm, reason_not_to_run
from pipeline.cli import main

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


@pytest.fixture
def slurm(tmp_path_factory):
    # Names of sockets are short.
    folder = Path(tmp_path_factory.mktemp("slurm"))
    with FailingSlurm(folder) as slurm:
        yield slurm


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An excerpt of FaceForensics++; made clips, one without a face, where there is none.

    Folder, layout, split, how many clips have a face and how many have none.
    """
    if folder := media("faceforensics_mini"):
        return folder, "faceforensics", "official", 47, 0
    root = tmp_path_factory.mktemp("data")
    write_clips(root, 6, "{label}{number}.mp4")
    return root, "folder", "clip", 12, 1


@pytest.mark.timeout(1800)
def test_a_job_array_on_two_nodes_extracts_what_one_process_does(slurm, data, tmp_path, capfd):
    """In eight parts, with a node that is lost meanwhile, whose task is requeued."""
    folder, layout, split, with_faces, without = data
    few_frames = tmp_path / "few_frames.yaml"
    values = {"data": {"layout": layout, "split": split}, "extraction": {"frames_per_clip": 2}}
    few_frames.write_text(json.dumps({"name": "few", **values}))
    output, whole = tmp_path / "out", tmp_path / "whole"
    variables = {"DATA": str(folder), "OUTPUT": str(output), "PRESET": str(few_frames)}
    job = slurm.submit("--array=0-7", DEEPFAKE_PARTS="8", **variables)
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

    def extract(place, *more):
        given = ["--preset", str(few_frames), "--data", str(folder), "--output", str(place)]
        status = main(["extract", *given, *more])
        return status, capfd.readouterr().out

    status, said = extract(output, "--status")
    assert status == 0
    counts = f"{with_faces} done with faces, {without} done without, 0 failed, 0 to do"
    assert f"{with_faces + without} clips: {counts}" in said
    before = len(list((output / "face-store").rglob("*.tfrecord")))
    done = 4 if without else 0
    assert extract(output)[0] == done
    assert len(list((output / "face-store").rglob("*.tfrecord"))) == before
    assert extract(whole)[0] == done
    assert shards(output / "faces") == shards(whole / "faces")
