"""Starts the tasks of a compiled pipeline in an environment that has the project's wheel alone."""

import os
import signal
import time
from functools import partial
from pathlib import Path

from e2e.kubeflow_store import in_a_process
from e2e.task_server import TaskServer


class Containers:
    """Starts the containers' commands in the environment of the wheel; kills some of them once.

    Args:
      python: Python of the environment.
      folder: folder for what the processes print.

    Attributes:
      from_nothing: tasks that are started once as a container does it, by a Python of their own.
      signs: task -> what tells that it works; then it is killed.
      killed: the tasks that were.
    """

    def __init__(self, python: Path, folder: Path):
        self.python = python
        self.tasks = TaskServer(python, folder)
        self.from_nothing = ["ImportSchemaGen"]
        self.signs = {}
        self.killed = []

    def __call__(self, command, environment, folder):
        # A checkout that the tests themselves may have on their path.
        environment = {key: environment[key] for key in environment if key != "PYTHONPATH"}
        _, _, task = folder.name.partition("-")
        if task in self.from_nothing:
            self.from_nothing.remove(task)
            return in_a_process([str(self.python), *command[1:]], environment, folder)
        sign = self.signs.pop(task, None)
        watch = partial(self._kill, task, sign) if sign else None
        return self.tasks(command, environment, folder, watch)

    def _kill(self, task, sign, number):
        while not sign():
            assert Path(f"/proc/{number}").exists(), f"{task} ended before it was killed"
            time.sleep(0.02)
        os.kill(number, signal.SIGKILL)
        self.killed.append(task)
