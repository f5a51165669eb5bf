"""Runs TFX's Evaluator with our slices, and refuses what was not measured."""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as tfx_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, proto_utils

from components.evaluation.baseline import baselines
from components.evaluation.geometries import why_incomparable


class Executor(tfx_executor.Executor):
    """TFX's executor without the baselines that hold no model (see BlessedModel).

    Nor is a baseline shown crops of another geometry than its own.

    Beside TFMA's files the evaluation holds `verdict.json`, see evaluation/frame_gate.py.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Measures, and gates; see the class.

        Raises:
          UsageError: the model to compare with was deleted.
        """
        inputs = without_empty_baselines(input_dict)
        incomparable = why_incomparable(input_dict["model"], inputs.get("baseline_model", []))
        if incomparable:
            del inputs["baseline_model"]
        # Imported late: compiling a pipeline needs neither TFMA nor TensorFlow.
        from tensorflow_model_analysis.proto import config_pb2

        from components.evaluation import frame_gate
        from components.evaluator import slicing

        eval_config = config_pb2.EvalConfig()
        proto_utils.json_to_proto(exec_properties["eval_config"], eval_config)
        splits = json.loads(exec_properties["example_splits"])
        folders = [artifact_utils.get_split_uri(input_dict["examples"], split) for split in splits]
        files = [f"{folder}/{name}" for folder in folders for name in fileio.listdir(folder)]
        paired = slicing.add_methods(eval_config, slicing.scan_methods(sorted(files)))
        properties = {
            **exec_properties,
            "eval_config": proto_utils.proto_to_json(paired),
            "custom_extractors": "components.evaluator.slicing.custom_extractors",
        }
        super().Do(inputs, output_dict, properties)
        evaluation = artifact_utils.get_single_uri(output_dict["evaluation"])
        rows = frame_gate.judge_frames(evaluation, eval_config, incomparable)
        frame_gate.write(evaluation, rows)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        if not all(row.held for row in rows):
            _refuse(blessing)


def without_empty_baselines(
    input_dict: dict[str, list[types.Artifact]],
) -> dict[str, list[types.Artifact]]:
    """The inputs without the baselines that hold no model; TFX's executor would load them.

    Raises:
      UsageError: see `baselines`.
    """
    models = baselines(input_dict)
    inputs = {key: value for key, value in input_dict.items() if key != "baseline_model"}
    return {**inputs, "baseline_model": models} if models else inputs


def _refuse(blessing: types.Artifact) -> None:
    blessed = f"{blessing.uri}/{constants.BLESSED_FILE_NAME}"
    if fileio.exists(blessed):
        fileio.remove(blessed)
    io_utils.write_string_file(f"{blessing.uri}/{constants.NOT_BLESSED_FILE_NAME}", "")
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.NOT_BLESSED_VALUE
    )
