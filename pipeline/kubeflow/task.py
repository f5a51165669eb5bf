"""One task as Kubeflow's driver and launcher describe it, translated for TFX and back.

The launcher hands over an `ExecutorInput` (api/v2alpha1/pipeline_spec.proto of Kubeflow Pipelines)
as JSON and reads an `ExecutorOutput`. Compared with what TFX expects, input artifacts come without
their types, URIs name object stores, whose content lies in folders, and artifacts that TFX does not
know (the log of the pod) are among the outputs.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.kubeflow import runtime_parameters
from pipeline.kubeflow.buckets import Buckets, has_folder, texts_changed
from preprocessing.support.errors import UsageError
from preprocessing.support.files import replacing

# What Kubeflow adds to the metadata of artifacts that it records.
ADDED_METADATA = ("display_name", "store_session_info")
# Metadata that holds the folders without a file, as JSON: object stores keep files only.
EMPTY_FOLDERS = "empty_folders"
_LOGS = re.compile(r"executor-logs(-\d+)?")
_SYSTEM = re.compile(r"title:\s*['\"]?system\.")


class Task:
    """What TFX's container entry point is told about a task, and what the launcher is answered.

    Args:
      invocation: the `ExecutorInput`.
      inputs_spec: the `ComponentInputsSpec`, which declares the types of the input artifacts.
      buckets: local folders in which the launcher keeps the artifacts of object stores.

    Raises:
      UsageError: a runtime parameter is refused.

    Attributes:
      document: the `ExecutorInput` for TFX: local paths, declared types, TFX's
        artifacts only, properties with the runtime parameters in their place.
      output_file: path of the `ExecutorOutput` that the launcher reads.
    """

    def __init__(
        self, invocation: Mapping[str, Any], inputs_spec: Mapping[str, Any], buckets: Buckets
    ):
        self._buckets = buckets
        inputs, outputs = invocation.get("inputs", {}), invocation.get("outputs", {})
        declared = inputs_spec.get("artifacts", {})
        self._inputs = _without_system_artifacts(inputs)
        self._outputs = _without_system_artifacts(outputs)
        self.output_file = Path(buckets.local(outputs["outputFile"]))
        # TFX reads a file that it finds there as the answer of a driver. In the same folder,
        # because TFX takes its temporary folder from there.
        self._tfx_output_file = self.output_file.with_name("tfx_executor_output.json")
        self.document: dict[str, Any] = {
            "inputs": {
                **inputs,
                "parameterValues": runtime_parameters.applied(inputs.get("parameterValues", {})),
                "artifacts": {
                    key: self._for_tfx(artifacts, declared.get(key, {}).get("artifactType"))
                    for key, artifacts in self._inputs.items()
                },
            },
            "outputs": {
                **outputs,
                "artifacts": {
                    key: self._for_tfx(artifacts, None) for key, artifacts in self._outputs.items()
                },
                "outputFile": str(self._tfx_output_file),
            },
        }

    def prepare(self) -> None:
        """Makes the folders of the inputs complete and those of the outputs empty.

        Raises:
          UsageError: the bucket of an output has no folder here.
        """
        for artifact in _all(self._inputs):
            if has_folder(artifact["uri"]):
                folder = Path(self._buckets.local(artifact["uri"]))
                _complete(folder, artifact.get("metadata", {}).get(EMPTY_FOLDERS, "[]"))
        for artifact in _all(self._outputs):
            bucket = self._buckets.bucket_folder(artifact["uri"])
            if bucket and not Path(bucket).is_dir():
                raise UsageError(
                    f"{artifact['uri']}: the folder {bucket} does not exist; Kubeflow's launcher "
                    "makes it and Vertex AI mounts it, so this container was started without either"
                )
            # An attempt that was killed may have left a part.
            shutil.rmtree(self._buckets.local(artifact["uri"]), ignore_errors=True)
        for path in (self.output_file, self._tfx_output_file):
            path.unlink(missing_ok=True)

    def answer(self, names: Mapping[int, str]) -> dict[str, Any]:
        """Writes what TFX has answered to the file that the launcher reads.

        Args:
          names: id of an artifact in TFX -> its name in Kubeflow.

        Returns:
          The `ExecutorOutput` as JSON values.
        """
        answer: dict[str, Any] = json.loads(self._tfx_output_file.read_text(encoding="utf-8"))
        for key, artifacts in answer.get("artifacts", {}).items():
            for artifact, given in zip(
                artifacts["artifacts"], self._outputs[key]["artifacts"], strict=True
            ):
                artifact["metadata"] = self._metadata(artifact.get("metadata", {}), names)
                if has_folder(given["uri"]):
                    artifact["uri"] = self._buckets.remote(artifact["uri"])
                    if empty := _empty_folders(Path(self._buckets.local(given["uri"]))):
                        artifact["metadata"][EMPTY_FOLDERS] = json.dumps(empty)
        with replacing(self.output_file) as file:
            json.dump(answer, file)
        self._tfx_output_file.unlink()
        return answer

    def _for_tfx(self, artifacts: Mapping[str, Any], declared: Any) -> dict[str, Any]:
        return {
            "artifacts": [
                {
                    **artifact,
                    "uri": self._buckets.local(artifact["uri"]),
                    "type": declared or artifact.get("type", {}),
                    "metadata": texts_changed(
                        {
                            key: value
                            for key, value in artifact.get("metadata", {}).items()
                            if value is not None and key not in (*ADDED_METADATA, EMPTY_FOLDERS)
                        },
                        self._buckets.local,
                    ),
                }
                for artifact in artifacts.get("artifacts", [])
            ]
        }

    def _metadata(self, metadata: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
        """Metadata that means the same in every pod: URIs, names for ids, and no nulls.

        TFX's ids are hashes of 63 bits, which a double rounds.
        """
        rounded = {float(number): name for number, name in names.items()}
        return {
            key: rounded.get(value, value)
            if key.endswith("_id") and isinstance(value, int | float)
            else texts_changed(value, self._buckets.remote)
            for key, value in metadata.items()
            if value is not None
        }


def _without_system_artifacts(side: Mapping[str, Any]) -> dict[str, Any]:
    """The artifact lists of inputs or outputs, without those that are Kubeflow's own."""
    return {
        key: artifacts
        for key, artifacts in side.get("artifacts", {}).items()
        if not _LOGS.fullmatch(key)
        and not any(_is_system(artifact) for artifact in artifacts.get("artifacts", []))
    }


def _is_system(artifact: Mapping[str, Any]) -> bool:
    kind = artifact.get("type", {})
    return str(kind.get("schemaTitle", "")).startswith("system.") or bool(
        _SYSTEM.match(kind.get("instanceSchema", ""))
    )


def _all(artifacts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [artifact for group in artifacts.values() for artifact in group.get("artifacts", [])]


def _complete(folder: Path, empty: str) -> None:
    """Makes the folders that an object store did not keep.

    Args:
      folder: folder of an input artifact.
      empty: JSON list of the paths, relative to it, of its empty folders.
    """
    for path in (folder, *(folder / name for name in json.loads(empty))):
        # The object `model/` that marks a folder in a store is downloaded as a file.
        if path.is_file() and not path.stat().st_size:
            path.unlink()
        path.mkdir(parents=True, exist_ok=True)


def _empty_folders(folder: Path) -> list[str]:
    """Paths of the folders without a file or folder in them, relative to `folder`, sorted."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_dir() and not any(path.iterdir())
    )
