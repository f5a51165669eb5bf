"""`deepfake run`: its time, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.run import elapsed

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


def test_a_failure_ends_with_status_1_and_its_traceback_in_the_log(tmp_path):
    code = f"""
import sys
import pipeline.run
def fail(config, say):
    raise RuntimeError("planted")
pipeline.run.prepare = fail
from pipeline.cli import main
sys.exit(main(["run", "--preset", "demo", "--output", {str(tmp_path)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    *_, error, where, end = done.stdout.splitlines()
    assert error == "error: RuntimeError: planted"
    log = Path(where.removeprefix("the traceback is at the end of "))
    assert "Traceback (most recent call last)" in log.read_text()
    assert end.endswith("with status 1")
