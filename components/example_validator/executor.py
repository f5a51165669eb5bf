"""Validates the statistics, and ends the run where there are anomalies."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.example_validator import executor as tfx_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from preprocessing.support.errors import UsageError


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
        problems = [
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
        if problems:
            raise UsageError(
                "the extracted faces do not follow pipeline/schema/schema.pbtxt:\n  "
                + "\n  ".join(problems)
            )
        return result


def _anomalies(artifacts: list[types.Artifact]) -> dict[str, Any]:
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    anomalies = {}
    artifact = artifact_utils.get_single_instance(artifacts)
    for split in artifact_utils.decode_split_names(artifact.split_names):
        uri = io_utils.get_only_uri_in_dir(artifact_utils.get_split_uri(artifacts, split))
        anomalies[split] = anomalies_pb2.Anomalies.FromString(io_utils.read_bytes_file(uri))
    return anomalies
