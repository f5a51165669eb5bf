"""Executes a compiled pipeline task by task, as a Kubeflow backend would, without a cluster."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml


class KubeflowInterpreter:
    """Runs the containers' commands of a compiled pipeline as processes here.

    Args:
      pipeline: the compiled pipeline (YAML).
      root: folder of the artifacts.
    """

    def __init__(self, pipeline: Path, root: Path):
        spec = yaml.safe_load(pipeline.read_text())
        self._components = spec["components"]
        self._executors = spec["deploymentSpec"]["executors"]
        self._root = root
        self._runs = 0
        self.tasks: dict[str, Any] = spec["root"]["dag"]["tasks"]
        # Task -> output key -> artifact, with the metadata that its executor gave it.
        self.outputs: dict[str, dict[str, Any]] = {}

    def run(self) -> list[str]:
        """Runs all tasks, each after those it depends on; returns the order."""
        order: list[str] = []
        while len(order) < len(self.tasks):
            ready = [
                name
                for name, task in self.tasks.items()
                if name not in order and set(task.get("dependentTasks", ())) <= set(order)
            ]
            assert ready, f"tasks wait for each other: {set(self.tasks) - set(order)}"
            for name in ready:
                self.run_task(name)
            order += ready
        return order

    def run_task(self, name: str) -> dict[str, Any]:
        """Runs one task on the latest outputs of those before it; returns its outputs."""
        self._runs += 1
        folder = self._root / name / str(self._runs)
        invocation = json.dumps(self._invocation(name, folder))
        component = self._components[self.tasks[name]["componentRef"]["name"]]
        container = self._executors[component["executorLabel"]]["container"]
        command = [*container["command"], *container["args"]]
        assert command[0] == "python"
        command = [argument.replace("{{$}}", invocation) for argument in command[1:]]
        done = subprocess.run(
            [sys.executable, *command], cwd=self._root, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{name}: {done.stderr[-4000:]}"
        answer = json.loads((folder / "executor_output.json").read_text())
        declared = self._invocation(name, folder)["outputs"]["artifacts"]
        # The executor answers name, uri and metadata; the type stays as declared.
        self.outputs[name] = {
            key: {**declared[key]["artifacts"][0], **answer["artifacts"][key]["artifacts"][0]}
            for key in declared
        }
        return self.outputs[name]

    def _invocation(self, name: str, folder: Path) -> dict[str, Any]:
        """The ExecutorInput that the backend puts in the place of {{$}}."""
        task = self.tasks[name]
        inputs = task.get("inputs", {})
        artifacts = {}
        for key, source in inputs.get("artifacts", {}).items():
            source = source["taskOutputArtifact"]
            made = self.outputs[source["producerTask"]][source["outputArtifactKey"]]
            artifacts[key] = {"artifacts": [made]}
        component = self._components[task["componentRef"]["name"]]
        made_here = {
            key: {
                "artifacts": [
                    {
                        "name": f"{folder.name}-{name}-{key}",
                        "uri": str(folder / key),
                        "type": output["artifactType"],
                        "metadata": {},
                    }
                ]
            }
            for key, output in component["outputDefinitions"]["artifacts"].items()
        }
        parameters = {
            key: value["runtimeValue"]["constant"]
            for key, value in inputs.get("parameters", {}).items()
        }
        return {
            "inputs": {"artifacts": artifacts, "parameterValues": parameters},
            "outputs": {
                "artifacts": made_here,
                "outputFile": str(folder / "executor_output.json"),
            },
        }
