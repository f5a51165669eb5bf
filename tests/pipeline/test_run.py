"""`deepfake run`: its time, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.run import elapsed
from preprocessing.support.command_line import INTERRUPTED

HOUR = 3600.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0:00:00"),
        (61.6, "0:01:02"),
        (2 * HOUR, "2:00:00"),
        (24 * HOUR, "1 day, 0:00:00"),
        (26 * HOUR, "1 day, 2:00:00"),
        (75 * HOUR + 61, "3 days, 3:01:01"),
    ],
)
def test_elapsed_time_knows_days(seconds, text):
    assert elapsed(1000.0, 1000.0 + seconds) == text


def run_that_raises(error, output):
    """`deepfake run` whose preparation raises the error."""
    code = f"""
import sys
import pipeline.run
def fail(config, say):
    raise {error}
pipeline.run.prepare = fail
from pipeline.cli import main
sys.exit(main(["run", "--preset", "demo", "--output", {str(output)!r}]))
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_a_failure_ends_with_status_1_and_its_traceback_in_the_log(tmp_path):
    done = run_that_raises('RuntimeError("planted")', tmp_path)
    assert done.returncode == 1, done.stderr
    *_, error, where, end = done.stdout.splitlines()
    assert error == "error: RuntimeError: planted"
    log = Path(where.removeprefix("the traceback is at the end of "))
    assert "Traceback (most recent call last)" in log.read_text()
    assert end.endswith("with status 1")


def test_an_interrupted_run_ends_with_the_status_of_all_commands(tmp_path):
    done = run_that_raises("KeyboardInterrupt", tmp_path)
    assert done.returncode == INTERRUPTED, done.stderr
    *_, said, end = done.stdout.splitlines()
    assert said.startswith("interrupted; what was finished is kept")
    assert end.endswith("with status 130")
