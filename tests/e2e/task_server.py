"""Starts commands in processes that have TFX already: importing it takes up to half a minute.

A process is a fork of one that has imported TFX and nothing of the project, and runs the command's
module as `python -m` does. This file is that first process, too, in the environment of its Python:

    python -I task_server.py < requests > answers
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path


class TaskServer:
    """Starts processes in the environment of a Python; a `Run` of `kubeflow_store`.

    Args:
      python: Python of the environment.
      folder: folder for what the processes print.
    """

    def __init__(self, python: Path, folder: Path):
        self._said = folder / "said.txt"
        self._process = subprocess.Popen(
            [python, "-I", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self,
        command: list[str],
        environment: dict[str, str],
        folder: Path,
        watch: Callable[[int], None] | None = None,
    ) -> tuple[int, str]:
        """Runs a command.

        Args:
          command: `[PYTHON, "-m", MODULE, ARGUMENT, ...]`, or `"-c", CODE` in its place; which
            Python it names is not looked at.
          environment: environment of the process, beside what TFX's modules have set.
          folder: folder in which it runs.
          watch: function that is called with the process's number when it has started.

        Returns:
          The exit status, negative for a signal, and what the process has printed.
        """
        request = {"command": command[1:], "environment": environment}
        request |= {"folder": str(folder), "said": str(self._said)}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        number = int(self._process.stdout.readline())
        if watch:
            watch(number)
        return int(self._process.stdout.readline()), self._said.read_text(errors="replace")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)


def serve() -> None:
    """Answers each request with the number of its process and, at its end, its exit status."""
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        number = os.fork()
        if not number:
            _become(request)
        print(number, flush=True)
        _, status = os.waitpid(number, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict) -> None:
    """Runs a command in this process, and ends it."""
    status = 1
    try:
        said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (said, 1), (said, 2)):
            os.dup2(source, target)
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        # Known from the first process's environment.
        tempfile.tempdir = None
        kind, program, *arguments = request["command"]
        sys.argv = [kind, *arguments]
        # As Python does for both.
        sys.path.insert(0, request["folder"])
        if kind == "-c":
            exec(program, {"__name__": "__main__"})  # noqa: S102 - as Python's own option.
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    else:
        status = 0
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    serve()
