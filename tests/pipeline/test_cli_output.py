"""What is printed never ends a command: closed pipes, and names that a terminal cannot show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")


def run(arguments, **environment):
    """Status, standard output and standard error of a command."""
    done = subprocess.run(
        [DEEPFAKE, *arguments],
        capture_output=True,
        env={**os.environ, **environment},
        timeout=240,
    )
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["index", "."]], ids=lambda found: found[0])
def test_a_closed_pipe_ends_quietly(arguments, unbuffered, tmp_path):
    for name in ("real/a.mp4", "fake/b.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(name.encode())
    arguments = [str(tmp_path) if argument == "." else argument for argument in arguments]
    reader, writer = os.pipe()
    os.close(reader)  # It is gone before the first line.
    try:
        done = subprocess.run(
            [DEEPFAKE, *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            timeout=240,
        )
    finally:
        os.close(writer)
    complaint = done.stderr.decode()
    assert done.returncode == 141
    # What else is wrong, as with this small dataset, is still said.
    assert "Traceback" not in complaint
    assert "BrokenPipe" not in complaint


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_names_that_cannot_be_shown_are_escaped(tmp_path, encoding):
    folder = tmp_path / "folder"
    for name in (b"real/bad\xff name.mp4", "fake/你好.mp4".encode()):
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    missing = os.fsdecode(b"no\xff such ") + "你.mp4"
    status, shown, complaint = run(["index", str(folder)], PYTHONIOENCODING=encoding)
    assert "Traceback" not in complaint
    assert shown
    status, _, complaint = run(
        ["predict", missing, "--model", str(tmp_path)], PYTHONIOENCODING=encoding
    )
    assert status == 2
    assert "there is no file" in complaint
    assert "Traceback" not in complaint
