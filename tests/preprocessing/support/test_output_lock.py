"""Two processes and one output folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.support.errors import UsageError
from preprocessing.support.output_lock import FILE, locked

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from pathlib import Path
from preprocessing.support.output_lock import locked
with locked(Path(sys.argv[1]), "the run of 'mine'"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that writes into the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=60)


def test_a_second_process_is_refused_and_told_who_is_there(holder, tmp_path):
    words = rf"the run of 'mine', process {holder.pid} on \S+, since \d{{4}}-.* name another"
    with pytest.raises(UsageError, match=words), locked(tmp_path, "another"):
        pass


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_goes_with_its_process(holder, tmp_path, end):
    os.kill(holder.pid, end)
    holder.wait(timeout=60)
    with locked(tmp_path, "the next run"):
        assert f"the next run, process {os.getpid()} on" in (tmp_path / FILE).read_text()


def test_the_lock_goes_with_the_work(tmp_path):
    for number in range(2):
        # The work has several steps, of which the last one fails.
        with pytest.raises(ZeroDivisionError), locked(tmp_path, f"run {number}"):  # noqa: PT012
            assert (tmp_path / FILE).read_text().startswith(f"run {number}, process")
            number // 0
    assert (tmp_path / FILE).read_text() == ""
