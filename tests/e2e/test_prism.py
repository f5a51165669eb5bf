"""Extraction and the pipeline's Beam nodes on a portable runner, whose workers have only the wheel.

Pools of workers live in namespaces of mounts that hide the checkout and this process' temporary
folders, but for the folders of data and output: all else goes through Beam's job API.
"""

import functools
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from e2e.prism import JobServer, find_prism, reason_not_to_run
from e2e.wheel_environment import ROOT, make_environment
from e2e.workspace import Workspace, executed
from extraction import shards
from made_media import portrait, write_image
from processes import descendants
from serving_support.gateway import until
from serving_support.models import model_of_crops

from pipeline.cli import main
from preprocessing.datasets.demo import make_demo_data

pytestmark = pytest.mark.slow

# Transform traces its graph in place: nothing in it needs statistics of the data.
JOBS = ("FaceExtractor", "StatisticsGen", "Evaluator")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of what workers see; the rest of this process' temporary folder is hidden."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def space(folder):
    space = Workspace(folder / "data", folder / "out")
    make_demo_data(space.data, space.config().data.demo)
    space.output.mkdir()
    return space


@pytest.fixture(scope="module")
def server(tmp_path_factory, pytestconfig, space):
    if os.environ.get("DEEPFAKE_TEST_PRISM") != "1":
        pytest.skip("builds a program in Go and takes minutes: asked for by DEEPFAKE_TEST_PRISM=1")
    if reason := reason_not_to_run():
        pytest.skip(reason)
    program = find_prism(pytestconfig.cache.mkdir("prism"))
    private = tmp_path_factory.mktemp("private")
    python = make_environment(private)
    secret = private / "secret.txt"
    secret.touch()
    server = JobServer(
        program,
        python,
        shown=[space.data, space.output, private / "environment", Path(sys.prefix)],
        hidden=[Path(tempfile.gettempdir()), tmp_path_factory.getbasetemp(), ROOT],
        gone=[secret, ROOT / "setup.py"],
        folder=private,
        pools=2,
    )
    with server as started:
        yield started


def command(space, output, *more):
    texts = [f"--set={text}" for text in space.config_texts()]
    places = ["--data", str(space.data), "--output", str(output)]
    return ["extract", "--preset", "demo", *places, *texts, *more]


def start(space, *more):
    code = "import sys; from pipeline.cli import main; sys.exit(main())"
    arguments = command(space, space.output, *more)
    # Who starts tests in the background may have Ctrl-C ignored.
    heeded = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, preexec_fn=heeded)


def finished(space):
    return list((space.output / "face-store").rglob("*.tfrecord"))


@pytest.mark.timeout(1200)
def test_two_workers_extract_what_one_process_does(server, space, tmp_path):
    """Each with a part of the clips; one of them is killed, and its part started again."""
    texts = [server.text(pool) for pool in range(2)]
    parts = [start(space, "--part", f"{n + 1}/2", "--beam", texts[n]) for n in range(2)]
    # A child of the worker decodes: it is at work on a clip.
    until(lambda: any(map(descendants, server.workers(1))), "the second worker decodes", 300)
    for worker in server.workers(1):
        subprocess.run(["kill", "-KILL", str(worker)], check=True)
    assert parts[0].wait(600) == 0
    # Prism does not start the worker's bundles again, nor does it fail the job.
    parts[1].send_signal(signal.SIGINT)
    assert parts[1].wait(300) != 0
    assert main(command(space, space.output, "--part", "2/2", "--beam", texts[1])) == 0
    assert main(command(space, space.output, "--status")) == 0

    before = {path: path.stat().st_mtime_ns for path in finished(space)}
    assert main(command(space, space.output, "--beam", texts[0])) == 0
    assert {path: path.stat().st_mtime_ns for path in finished(space)} == before
    assert main(command(space, tmp_path / "whole")) == 0
    assert shards(space.output / "faces") == shards(tmp_path / "whole" / "faces")
    assert not list(space.output.rglob("*.tmp"))


@pytest.mark.timeout(1200)
def test_all_beam_nodes_of_the_pipeline_run_there(server, space):
    before = server.started(0)
    status, summary = space.run(f"beam=['{server.text()}']")
    assert status == 0
    assert executed(summary) >= set(JOBS)
    assert summary["extraction"]["clips"] == summary["extraction"]["clips_with_faces"]
    # A worker for each job.
    assert server.started(0) - before == len(JOBS)


@pytest.mark.timeout(600)
def test_scores_are_those_of_this_process(server, space):
    folder = space.output / "scoring"
    model = model_of_crops(folder / "model" / "1")
    (folder / "pictures").mkdir()
    for number in range(5):
        crop = portrait()[number : number + 64, 2 * number : 2 * number + 64]
        write_image(folder / "pictures" / f"{number}.png", crop)
    tables = {}
    for name, more in {"here": [], "there": ["--beam", server.text(1)]}.items():
        output = folder / f"{name}.parquet"
        arguments = ["score", "--model", str(model), "--data", str(folder / "pictures")]
        assert main([*arguments, "--precropped", "--output", str(output), *more]) == 0
        tables[name] = pd.read_parquet(output)
    pd.testing.assert_frame_equal(tables["here"], tables["there"])
    assert tables["there"]["score"].notna().all()
