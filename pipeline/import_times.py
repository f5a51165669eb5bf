"""Where the start of a program goes: the time of its imports, by library."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from preprocessing.support.quiet import VERBOSE
from preprocessing.support.versions import has_pipeline

# What a program has imported when it answers, or when its first node runs.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "predict": (
        "pipeline.cli",
        "pipeline.prediction.run",
        "serving.model.predictor",
        "preprocessing.faces.face_cropper",
        "preprocessing.faces.mtcnn_networks",
    ),
    "gateway": ("serving.gateway.main", "serving.gateway.app", "serving.clients.grpc_scorer"),
    "serve": ("serving.server.main", "serving.server.server"),
    "run": ("pipeline.cli", "pipeline.run", "pipeline.pipeline", "components.trainer.run_fn"),
}
_SHOWN = 10
_CODE = """
import importlib, sys
from preprocessing.support.quiet import load_tensorflow
first, *others = sys.argv[1:]
importlib.import_module(first)
load_tensorflow()
for name in others:
    importlib.import_module(name)
"""
# A line of `python -X importtime`: microseconds of the module without those it imports, and with.
_LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\w+)", re.MULTILINE)


def import_times() -> list[str]:
    """Imports what each program that is installed does, in a process of its own.

    Returns:
      The lines of a table: a row a library, its seconds in each program; the longest first.

    Raises:
      RuntimeError: a program cannot be imported; the message ends with the reason.
    """
    programs = [name for name in PROGRAMS if name != "run" or has_pipeline()]
    seconds = {program: _seconds(PROGRAMS[program]) for program in programs}
    columns = list(seconds.values())
    names = {library for column in columns for library in column}
    libraries = sorted(names, key=lambda name: -sum(c.get(name, 0.0) for c in columns))
    rows = {name: [c.get(name, 0.0) for c in columns] for name in libraries[:_SHOWN]}
    rows["others"] = [sum(c.get(name, 0.0) for name in libraries[_SHOWN:]) for c in columns]
    rows["all"] = [sum(column.values()) for column in columns]
    head = f"{'seconds of import':24}" + "".join(f"{program:>10}" for program in seconds)
    return [head, *(_line(name, row) for name, row in rows.items())]


def _line(name: str, row: list[float]) -> str:
    return f"{name:24}" + "".join(f"{value:>10.2f}" for value in row)


def _seconds(modules: tuple[str, ...]) -> dict[str, float]:
    """Seconds by library, that of the modules themselves under the names of their packages."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", _CODE, *modules],
        capture_output=True,
        text=True,
        errors="replace",
        # The times are written to standard error, which is kept quiet otherwise.
        env={**os.environ, VERBOSE: "1"},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{modules[0]} cannot be imported: {done.stderr.strip()[-500:]}")
    seconds: dict[str, float] = {}
    for microseconds, library in _LINE.findall(done.stderr):
        seconds[library] = seconds.get(library, 0.0) + int(microseconds) / 1e6
    return seconds
