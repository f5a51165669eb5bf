"""Executes a compiled pipeline task by task, as unkindly as Kubeflow Pipelines, without a cluster.

`kubeflow_store` says of each habit where it was read; here, files below backend/src/v2 of
kubeflow/pipelines at 7b70c7b95. Not imitated: the Argo workflow, parallel tasks, credentials.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import yaml
from e2e.kubeflow_store import (
    FIXED_OUTPUT_FILE,
    Habits,
    LauncherError,
    Pod,
    Run,
    Store,
    in_a_process,
    local_path,
)

OUR_NAME = "pipeline.kubeflow.entry_point"
TFX_NAME = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"


class KubeflowInterpreter:
    """Runs the containers' commands of a compiled pipeline.

    Args:
      pipeline: the compiled package (YAML).
      folder: folder for the pods' folders.
      root: URI of the artifacts.
      habits: habits of the version of Kubeflow that is imitated.
      entry_point: module that the containers run instead of the compiled one.
      run: function that starts a container's command.
    """

    def __init__(
        self,
        pipeline: Path,
        folder: Path,
        root: str,
        habits: Habits,
        entry_point: str = "",
        run: Run = in_a_process,
    ):
        self.submit(pipeline)
        self._folder = folder
        self._root = root
        self.habits = habits
        self._entry_point = entry_point
        self._run = run
        self.store = Store()
        self._drivers = 0
        self._pods = 0
        self._ids = 0
        self._cache: dict[str, dict[str, Any]] = {}
        # Task -> output key -> artifact as the metadata store has it.
        self.outputs: dict[str, dict[str, Any]] = {}
        # In the order in which their commands were started.
        self.executed: list[str] = []

    def submit(self, pipeline: Path, chosen: dict[str, Any] | None = None) -> None:
        """Takes a package for the next run; object store and cache are kept.

        Args:
          pipeline: the package.
          chosen: runtime parameters; others have the package's defaults, which the API server
            fills in (backend/src/v2/compiler/argocompiler/argo.go, Compile; read).
        """
        spec = next(yaml.safe_load_all(pipeline.read_text()))
        declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        assert not set(chosen or {}) - set(declared), "unknown runtime parameters"
        defaults = {name: parameter["defaultValue"] for name, parameter in declared.items()}
        self._chosen = {**defaults, **(chosen or {})}
        self._components = spec["components"]
        self._executors = spec["deploymentSpec"]["executors"]
        tasks = spec["root"]["dag"]["tasks"]
        # Here all goes by the names of nodes, which are those of components.
        self._nodes = {name: task["componentRef"]["name"] for name, task in tasks.items()}
        self.tasks: dict[str, Any] = {self._nodes[name]: task for name, task in tasks.items()}

    def run(self) -> list[str]:
        """Runs all tasks, each after those it depends on; returns the order."""
        order: list[str] = []
        while len(order) < len(self.tasks):
            ready = [
                name
                for name, task in self.tasks.items()
                if name not in order
                and {self._nodes[before] for before in task.get("dependentTasks", ())} <= set(order)
            ]
            assert ready, f"tasks wait for each other: {set(self.tasks) - set(order)}"
            for name in ready:
                self.run_task(name)
            order += ready
        return order

    def run_task(self, name: str) -> dict[str, Any]:
        """Runs one task on the latest outputs of those before it; returns its outputs.

        Raises:
          LauncherError: the task has failed, as often as it may be tried.
        """
        self._drivers += 1
        invocation = self._invocation(name)
        key = self._cache_key(name, invocation)
        if self.tasks[name].get("cachingOptions", {}).get("enableCache") and key in self._cache:
            self.outputs[name] = self._cache[key]
            return self.outputs[name]
        self.executed.append(name)
        made = self._execute(name, invocation)
        self.outputs[name] = {key: self._recorded(key, made[key]) for key in made}
        self._cache[key] = self.outputs[name]
        return self.outputs[name]

    def _execute(self, name: str, invocation: dict[str, Any]) -> dict[str, Any]:
        """Starts a new pod for each attempt; the driver is not asked again."""
        last = self.tasks[name].get("retryPolicy", {}).get("maxRetryCount", 0)
        self._pods += 1
        folder = self._folder / f"{self._pods}-{name}"
        for attempt in range(last + 1):
            if attempt:
                # All pods have the same paths, and files of their own there.
                folder.rename(f"{folder}-{attempt}")
            temporary = folder / "tmp"
            temporary.mkdir(parents=True, exist_ok=True)
            places = {"DEEPFAKE_BUCKETS": str(folder), "TMPDIR": str(temporary)}
            environment = {**os.environ, **places}
            pod = Pod(folder, self.store, self.habits, environment, self._run)
            try:
                return pod.execute(invocation, self._command(name), attempt)
            except LauncherError:
                if attempt == last:
                    raise
        raise AssertionError(last)

    def forget(self, name: str) -> None:
        """Drops what the cache has of a task."""
        self._cache = {k: made for k, made in self._cache.items() if made != self.outputs[name]}

    def fetch(self, task: str, key: str, folder: Path) -> Path:
        """Downloads an output of a task; returns its folder."""
        target = folder / task / key
        self.store.download(self.outputs[task][key]["uri"], target, bare_prefix=False)
        return target

    def _command(self, name: str) -> list[str]:
        component = self._components[self.tasks[name]["componentRef"]["name"]]
        container = self._executors[component["executorLabel"]]["container"]
        command = [*container["command"], *container["args"]]
        if self._entry_point:
            assert command.count(OUR_NAME) == 1
            command[command.index(OUR_NAME)] = self._entry_point
        return command

    def _invocation(self, name: str) -> dict[str, Any]:
        """The ExecutorInput, as driver/driver.go, resolveInputs and provisionOutputs make it."""
        task = self.tasks[name]
        inputs = task.get("inputs", {})
        artifacts = {}
        for key, source in inputs.get("artifacts", {}).items():
            source = source["taskOutputArtifact"]
            producer = self._nodes[source["producerTask"]]
            made = self.outputs[producer][source["outputArtifactKey"]]
            artifacts[key] = {"artifacts": [made]}
        parameters = {
            key: self._parameter(value) for key, value in inputs.get("parameters", {}).items()
        }
        salt = [f"salt-{self._drivers}"] if self.habits.salted else []
        task_root = "/".join([self._root, task["taskInfo"]["name"], *salt])
        outputs = {}
        component = self._components[task["componentRef"]["name"]]
        declared = dict(component["outputDefinitions"]["artifacts"])
        if self.habits.logs:
            declared["executor-logs"] = {"artifactType": {"schemaTitle": "system.Artifact"}}
        for key, output in declared.items():
            artifact = {"uri": f"{task_root}/{key}", "type": output["artifactType"]}
            if self.habits.named_outputs:
                artifact["name"] = key
            outputs[key] = {"artifacts": [artifact]}
        output_file = FIXED_OUTPUT_FILE
        if self.habits.task_output_file:
            output_file = f"{local_path(task_root)}/output_metadata.json"
        return {
            "inputs": {"artifacts": artifacts, "parameterValues": parameters},
            "outputs": {"artifacts": outputs, "outputFile": output_file},
        }

    def _parameter(self, source: dict[str, Any]) -> Any:
        """driver/resolve.go, resolveInputParameter: a constant, or one of the pipeline's; read."""
        if "componentInputParameter" in source:
            return self._chosen[source["componentInputParameter"]]
        return source["runtimeValue"]["constant"]

    def _recorded(self, key: str, artifact: dict[str, Any]) -> dict[str, Any]:
        """An artifact as the next task gets it: its name is an id, and its type is lost.

        metadata/client.go, RecordArtifact and ToRuntimeArtifact; seen.
        """
        self._ids += 1
        metadata = {name: _stored(value) for name, value in artifact["metadata"].items()}
        return {
            "name": str(self._ids),
            "uri": artifact["uri"],
            "type": {"instanceSchema": ""},
            "metadata": {"display_name": key, "store_session_info": "null", **metadata},
        }

    def _cache_key(self, name: str, invocation: dict[str, Any]) -> str:
        """driver/cache.go, getFingerPrint, and cacheutils/cache.go, GenerateCacheKey; seen."""
        inputs, outputs = invocation["inputs"], invocation["outputs"]
        component = self._components[self.tasks[name]["componentRef"]["name"]]
        image = self._executors[component["executorLabel"]]["container"]["image"]
        names = {
            key: [artifact["name"] for artifact in listed["artifacts"]]
            for key, listed in inputs["artifacts"].items()
        }
        specs = {
            key: listed["artifacts"][0]["type"] for key, listed in outputs["artifacts"].items()
        }
        parts = [names, inputs["parameterValues"], specs, self._command(name), image]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _stored(value: Any) -> Any:
    """metadata/converter.go, StructValueToMLMDValue, and what comes back of it; null was read."""
    if value is None:
        raise LauncherError("unknown/unsupported value type")
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, list):
        return {"list": value}
    if isinstance(value, dict):
        return {"struct": value}
    return value
