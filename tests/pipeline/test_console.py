"""The console, in processes of its own: what reaches the terminal, and what the log file."""

import os
import subprocess
import sys

import pytest

PROLOGUE = """
import logging, os, subprocess, sys, time
from pathlib import Path
from pipeline.console import Console
from preprocessing.support import progress
log = Path(sys.argv[1])
"""
NOISE = """
os.write(1, b"native out\\n")
os.write(2, b"native err\\n")
print("python out", flush=True)
print("python err", file=sys.stderr)
logging.warning("logged")
subprocess.run(["echo", "child out"])
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script inside Console(log); returns the process and the log's text."""

    def run(body, before="", after="", stdout=subprocess.PIPE):
        log = tmp_path / "logs" / "run.log"
        indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
        script = f"{PROLOGUE}\n{before}\nwith Console(log) as console:\n{indented}\n{after}\n"
        done = subprocess.run(
            [sys.executable, "-c", script, str(log)],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        return done, log.read_text()

    return run


def test_only_our_lines_reach_the_terminal(run):
    done, log = run(f'console.say("ours: ä")\n{NOISE}\nconsole.say("ours again")')
    assert done.returncode == 0
    assert done.stdout == "ours: ä\nours again\n"
    assert done.stderr == ""
    for line in ("native out", "native err", "python out", "python err", "logged", "child out"):
        assert line in log
    assert "ours: ä" in log, "the log tells the whole story"


def test_output_goes_to_the_terminal_again_afterwards(run):
    done, log = run('print("inside")', before='print("before")', after=NOISE)
    assert done.stdout.splitlines() == ["before", "native out", "python out", "child out"]
    assert "native err" in done.stderr
    assert "python err" in done.stderr
    assert log.splitlines() == ["inside"]


def test_output_comes_back_after_an_exception(run):
    done, log = run('print("inside")\nraise ValueError("boom")')
    assert done.returncode == 1
    assert "ValueError: boom" in done.stderr
    assert log.splitlines() == ["inside"]


def test_nothing_is_left_open_or_changed(run):
    before = 'fds = len(os.listdir("/proc/self/fd")); level = logging.getLogger().level'
    after = """
assert len(os.listdir("/proc/self/fd")) == fds
assert logging.getLogger().level == level
progress.report("stage", 1, 2)  # To nobody: the console is closed.
"""
    done, _ = run('progress.report("stage", 0, 2)', before=before, after=after)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "  stage: 0/2\n"


def test_log_of_an_earlier_run_is_kept(run):
    run('print("first")')
    assert run('print("second")')[1].splitlines() == ["first", "second"]


CLOCK = """
import pipeline.console
class Clock:
    now = 1000.0
    def monotonic(self): return self.now
clock = pipeline.console.time = Clock()
"""


def test_progress_without_a_terminal_is_a_line_in_ten_seconds(run):
    body = """
for done in range(1000):
    progress.report("extract", done, 4000, "clips")
    clock.now += 1 / 32
progress.report("train", 1, 0, "steps")
"""
    lines = run(body, before=CLOCK)[0].stdout.splitlines()
    assert [line.split(" clips")[0] for line in lines] == [
        "  extract: 0/4000",
        "  extract: 320/4000",
        "  extract: 640/4000",
        "  extract: 960/4000",
        "  train: 1/? steps",
    ]
    # 3040 are left, 32 are done in a second.
    assert lines[3].endswith(", about 0:01:35 left")


def test_progress_on_a_terminal_moves_in_place(run):
    main, terminal = os.openpty()
    body = """
for done in range(1001):
    progress.report("extract", done, 1000, "clips")
console.say("done")
"""
    try:
        run(body, stdout=terminal)
        shown = os.read(main, 65536).decode()
    finally:
        os.close(main)
        os.close(terminal)
    drawn = shown.split("\r\033[K")
    assert 3 <= len(drawn) < 50, "the first, the last, and few between"
    assert drawn[1] == "  extract: 0/1000 clips"
    assert drawn[-1].split() == ["extract:", "1000/1000", "clips", "done"]
    assert "clips\r\ndone" in drawn[-1], "a line of text starts on a line of its own"
