"""An object store and Kubeflow's launcher, as far as a task can tell.

Each habit is followed by where it was read, in kubeflow/pipelines at 7b70c7b95 unless another
version is named (paths below backend/src/v2), and by "seen" where KFP's own programs did it.
"""

import copy
import dataclasses
import json
import posixpath
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# component/launcher_v2.go, LocalPathForURI; seen.
FOLDERS = {"gs://": "gcs", "s3://": "s3", "minio://": "minio"}
# component/launcher_v2.go, OutputMetadataFilepath; seen in 2.5.0.
FIXED_OUTPUT_FILE = "tmp/kfp_outputs/output_metadata.json"
# Runs a command with these variables in this folder; returns exit status and what it has printed.
Run = Callable[[list[str], dict[str, str], Path], tuple[int, str]]


@dataclasses.dataclass(frozen=True)
class Habits:
    """What differs between versions of Kubeflow Pipelines.

    Attributes:
      logs: the driver adds the output `executor-logs` (driver/driver.go, provisionOutputs; seen in
        2.5.0 and 2.17.0; read for 2.0.5, which does not).
      log_of_attempt: the number of the attempt is appended to its URI (component/launcher_v2.go,
        qualifyExecutorLogsURI; seen in 2.17.0).
      log_of_failure: the log is stored even if the command fails (component/launcher_v2.go,
        uploadOutputArtifacts; seen in 2.17.0; 2.5.0 stores nothing then, read).
      task_output_file: the output file lies beside the artifacts (driver/driver.go,
        provisionOutputs; seen in 2.17.0) instead of at one fixed place for all tasks.
      salted: URIs of outputs hold a random part (the same; seen in 2.5.0 and 2.17.0; read for
        2.0.5, whose do not).
      named_outputs: outputs have their key as a name (the same; seen in 2.17.0).
      bare_prefix: a download takes every object whose key begins like the artifact's
        (objectstore/object_store.go, DownloadBlob, 2.0.5 and 2.5.0; seen in 2.5.0).
    """

    logs: bool
    log_of_attempt: bool
    log_of_failure: bool
    task_output_file: bool
    salted: bool
    named_outputs: bool
    bare_prefix: bool


KFP_2_0 = Habits(False, False, False, False, False, False, True)
KFP_2_5 = Habits(True, False, False, False, True, False, True)
KFP_NEWEST = Habits(True, True, True, True, True, True, False)
VERSIONS = {"2.0": KFP_2_0, "2.5": KFP_2_5, "newest": KFP_NEWEST}


class LauncherError(Exception):
    """The launcher gives up before or after the task's command."""


class Store:
    """Objects by URI. There are no folders, and a key may end in a slash."""

    def __init__(self):
        self.objects: dict[str, bytes] = {}

    def upload(self, path: Path, uri: str) -> bool:
        """Files of a folder, or one file; folders without files leave nothing.

        objectstore/object_store.go, UploadBlob; seen. What does not exist is not an error
        (component/launcher_v2.go, uploadOutputArtifacts; seen).
        """
        if path.is_file():
            self.objects[uri] = path.read_bytes()
        for inner in sorted(path.rglob("*")) if path.is_dir() else ():
            if inner.is_file():
                self.objects[f"{uri}/{inner.relative_to(path).as_posix()}"] = inner.read_bytes()
        return path.exists()

    def download(self, uri: str, path: Path, bare_prefix: bool) -> None:
        """objectstore/object_store.go, DownloadBlob and downloadFile; seen.

        Raises:
          LauncherError: an object stands in the way of a folder, as the mark of a folder does.
        """
        for key in sorted(self.objects):
            within = key == uri or key.startswith(f"{uri}/")
            if not within and not (bare_prefix and key.startswith(uri)):
                continue
            # filepath.Rel and filepath.Join drop a slash at the end: the mark of a folder, an
            # object without content, becomes a file.
            target = Path(posixpath.normpath(path / posixpath.relpath(key, uri)))
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.objects[key])
            except OSError as error:
                raise LauncherError(f"failed to download input artifact: {error}") from error


def in_a_process(command: list[str], environment: dict[str, str], folder: Path) -> tuple[int, str]:
    """Runs a command; see `Run`."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    return done.returncode, f"{done.stdout}\n{done.stderr}"


@dataclasses.dataclass
class Pod:
    """A container with empty bucket folders (component/launcher_v2.go; seen).

    Attributes:
      folder: folder that stands for the container's root folder.
      store: store that the launcher downloads from and uploads to.
      habits: habits of the version.
      environment: environment of the command.
      run: function that starts the command.
    """

    folder: Path
    store: Store
    habits: Habits
    environment: dict[str, str]
    run: Run = in_a_process

    def local(self, uri: str) -> Path:
        """The path of a URI for the command."""
        return self.path(local_path(uri))

    def path(self, path: str) -> Path:
        """Where a path of the container is here."""
        return self.folder / path.lstrip("/")

    def execute(
        self, invocation: dict[str, Any], command: list[str], attempt: int = 0
    ) -> dict[str, Any]:
        """Downloads, runs, reads the answer, uploads (component/launcher_v2.go, execute; seen).

        Args:
          invocation: the ExecutorInput.
          command: command of the container.
          attempt: number of earlier starts of the task.

        Returns:
          The outputs of the invocation with what the command has answered.

        Raises:
          LauncherError: the launcher would end with an error.
        """
        invocation = copy.deepcopy(invocation)
        log = invocation["outputs"]["artifacts"].get("executor-logs")
        if log and self.habits.log_of_attempt:
            log["artifacts"][0]["uri"] += f"-{attempt}"
        invocation["outputs"]["outputFile"] = str(self.path(invocation["outputs"]["outputFile"]))
        for artifact in artifacts_of(invocation["inputs"]):
            uri = artifact["uri"]
            self.store.download(uri, self.local(uri), self.habits.bare_prefix)
        outputs = invocation["outputs"]
        for artifact in artifacts_of(outputs):
            self.local(artifact["uri"]).parent.mkdir(parents=True, exist_ok=True)
        # Placeholders are filled in arguments and in the command's first word (compileCmdAndArgs).
        text = json.dumps(invocation)
        words = [word.replace("{{$}}", text) for word in command]
        assert words[0] == "python"
        self._write_log(outputs, "")
        status, said = self.run([sys.executable, *words[1:]], self.environment, self.folder)
        self._write_log(outputs, said)
        if status:
            if log and self.habits.log_of_failure:
                uri = log["artifacts"][0]["uri"]
                self.store.upload(self.local(uri), uri)
            raise LauncherError(f"exit status {status}: {said[-4000:]}")
        answer = self._answer(outputs)
        made = {}
        for key, listed in outputs["artifacts"].items():
            made[key] = _merged(listed["artifacts"][0], answer.get(key))
            # The object store holds what lies at the path of the answered URI.
            self.store.upload(self.local(made[key]["uri"]), made[key]["uri"])
        return made

    def _write_log(self, outputs: dict[str, Any], said: str) -> None:
        """getLogWriter: the file is there while the command runs; kept if it fails."""
        if log := outputs["artifacts"].get("executor-logs"):
            self.local(log["artifacts"][0]["uri"]).write_text(said)

    def _answer(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """component/launcher_v2.go, getExecutorOutputFile: unknown fields are refused; read."""
        from google.protobuf import json_format
        from kfp.pipeline_spec import pipeline_spec_pb2

        path = Path(outputs["outputFile"])
        if not path.exists():
            return {}
        json_format.Parse(path.read_text(), pipeline_spec_pb2.ExecutorOutput())
        return json.loads(path.read_text()).get("artifacts", {})


def local_path(uri: str) -> str:
    """The path in the container (component/launcher_v2.go, LocalPathForURI; seen)."""
    for scheme, name in FOLDERS.items():
        if uri.startswith(scheme):
            return f"/{name}/{uri.removeprefix(scheme)}"
    raise LauncherError(f"failed to generate local path for URI {uri}")


def artifacts_of(side: dict[str, Any]) -> list[dict[str, Any]]:
    return [artifact for listed in side["artifacts"].values() for artifact in listed["artifacts"]]


def _merged(given: dict[str, Any], answered: dict[str, Any] | None) -> dict[str, Any]:
    """URI and metadata of the answer, and nothing else (mergeRuntimeArtifacts; read)."""
    artifact = answered["artifacts"][0] if answered else {}
    metadata = {**given.get("metadata", {}), **artifact.get("metadata", {})}
    return {**given, "uri": artifact.get("uri") or given["uri"], "metadata": metadata}
