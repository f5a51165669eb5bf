"""ExampleValidator that stops the run: training on broken data wastes hours and hides the cause."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.example_validator import component
from tfx.components.example_validator import executor as tfx_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils
from tfx.utils import io_utils

from preprocessing.errors import UsageError


class Executor(tfx_executor.Executor):
    """TFX's executor, then an error that names each anomaly."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """Validates the statistics of every split against the schema.

        Raises:
          UsageError: there are anomalies; they are named with split and feature.
        """
        result = super().Do(input_dict, output_dict, exec_properties)
        found = [
            f"{split}: {name}: {info.short_description} ({info.description})"
            for split, anomalies in _anomalies(output_dict["anomalies"]).items()
            for name, info in (
                *sorted(anomalies.anomaly_info.items()),
                *(
                    [("dataset", anomalies.dataset_anomaly_info)]
                    if anomalies.HasField("dataset_anomaly_info")
                    else []
                ),
            )
        ]
        if found:
            raise UsageError(
                "the extracted faces do not follow pipeline/schema/schema.pbtxt:\n  "
                + "\n  ".join(found)
            )
        return result


def _anomalies(artifacts: list[types.Artifact]) -> dict[str, Any]:
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    found = {}
    artifact = artifact_utils.get_single_instance(artifacts)
    for split in artifact_utils.decode_split_names(artifact.split_names):
        uri = io_utils.get_only_uri_in_dir(artifact_utils.get_split_uri(artifacts, split))
        found[split] = anomalies_pb2.Anomalies.FromString(io_utils.read_bytes_file(uri))
    return found


class ExampleValidator(component.ExampleValidator):
    """TFX's ExampleValidator, except that anomalies fail the execution.

    Component `outputs` contains:
     - `anomalies`: Channel of type `standard_artifacts.ExampleAnomalies`.

    Args:
      code: digest of the validation's code.
      **parameters: those of TFX's ExampleValidator.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, code: str, **parameters: Any):
        super().__init__(**parameters)
        # TFX's component makes its own spec, which knows no digest of code.
        self.spec.exec_properties["code"] = code
