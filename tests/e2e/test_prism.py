"""Extraction and the pipeline's Beam nodes on a portable runner, whose workers have only the wheel.

Pools of workers live in namespaces of mounts that hide the checkout and this process' temporary
folders, but for the folders of data and output: all else goes through Beam's job API.
"""

import functools
import itertools
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
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
def server(tmp_path_factory, pytestconfig, space, excerpt):
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
        shown=[space.data, space.output, excerpt.folder, private / "environment", Path(sys.prefix)],
        hidden=[Path(tempfile.gettempdir()), tmp_path_factory.getbasetemp(), ROOT],
        gone=[secret, ROOT / "setup.py"],
        folder=private,
        pools=2,
    )
    with server as started:
        yield started


def extract(arguments, output, *more):
    """A command that runs beside others."""
    code = "import sys; from pipeline.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "extract", *arguments, "--output", str(output), *more]
    # Who starts tests in the background may have Ctrl-C ignored.
    heeded = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, cwd=ROOT, preexec_fn=heeded)


@pytest.mark.timeout(1800)
def test_two_workers_extract_what_one_process_does(server, space, excerpt, tmp_path):
    """In eight parts, half of them for each; one worker is killed, and its part started again."""
    output = space.output / "parts"
    # A clip without a face is said by the status.
    done = 4 if excerpt.without else 0

    def start(part):
        beam = ["--beam", server.text(part % 2)]
        return extract(excerpt.arguments, output, "--part", f"{part}/8", *beam)

    def run(parts):
        return [start(part).wait(600) for part in parts]

    first, second = start(1), start(2)
    # A child of the worker decodes: it is at work on a clip.
    until(lambda: any(map(descendants, server.workers(1))), "the worker decodes", 300)
    for worker in server.workers(1):
        subprocess.run(["kill", "-KILL", str(worker)], check=True)
    assert second.wait(600) == 0
    # Prism does not start the worker's bundles again, nor does it fail the job.
    first.send_signal(signal.SIGINT)
    assert first.wait(300) not in (0, done)
    with ThreadPoolExecutor() as threads:
        statuses = threads.map(run, [(1, 3, 5, 7), (4, 6, 8)])
    assert set(itertools.chain(*statuses)) <= {0, done}

    def here(place, *more):
        return main(["extract", *excerpt.arguments, "--output", str(place), *more])

    assert here(output, "--status") == 0
    entries = list((output / "face-store").rglob("*.tfrecord"))
    assert len(entries) == excerpt.with_faces + excerpt.without
    before = {path: path.stat().st_mtime_ns for path in entries}
    assert here(output) == here(tmp_path) == done
    assert {path: path.stat().st_mtime_ns for path in entries} == before
    assert shards(output / "faces") == shards(tmp_path / "faces")
    assert not list(output.rglob("*.tmp"))


@pytest.mark.timeout(1200)
def test_all_beam_nodes_of_the_pipeline_run_there(server, space, tmp_path):
    before = server.started(0)
    status, summary = space.run(f"beam=['{server.text()}']")
    assert status == 0
    assert executed(summary) >= set(JOBS)
    assert summary["extraction"]["clips"] == summary["extraction"]["clips_with_faces"]
    (faces,) = space.output.glob("artifacts/FaceExtractor/examples/*")
    texts = [f"--set={text}" for text in space.config_texts()]
    places = ["--data", str(space.data), "--output", str(tmp_path)]
    assert main(["extract", "--preset", "demo", *places, *texts]) == 0
    expected = shards(tmp_path / "faces")
    assert shards(faces) == {f"Split-{name}": digest for name, digest in expected.items()}
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
