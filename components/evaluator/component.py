"""TFX's Evaluator, for which an empty baseline means that there is none."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.evaluator import component
from tfx.components.evaluator import executor as tfx_executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio


class Executor(tfx_executor.Executor):
    """TFX's executor without the baselines that hold no model (see BlessedModel)."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        baselines = [
            model
            for model in input_dict.get("baseline_model", [])
            if fileio.exists(model.uri) and fileio.listdir(model.uri)
        ]
        inputs = {key: value for key, value in input_dict.items() if key != "baseline_model"}
        if baselines:
            inputs["baseline_model"] = baselines
        super().Do(inputs, output_dict, exec_properties)


class Evaluator(component.Evaluator):
    """See `tfx.components.Evaluator`; inputs, outputs and parameters are the same."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
