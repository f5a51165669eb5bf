"""ServingCheck: a model is pushed only when a real server answers with it as evaluated."""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.serving_check import executor


class ServingCheckSpec(component_spec.ComponentSpec):
    """The parameters of the executor; everything is a reason to run again."""

    PARAMETERS = {
        "limits": component_spec.ExecutionParameter(type=str),
        "crops": component_spec.ExecutionParameter(type=int),
        "split": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "evaluation": component_spec.ChannelParameter(type=simple_artifacts.File),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": component_spec.ChannelParameter(
            type=standard_artifacts.InfraBlessing, optional=True
        ),
    }
    OUTPUTS = {
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
        "report": component_spec.ChannelParameter(type=simple_artifacts.File),
    }


class ServingCheck(base_component.BaseComponent):
    """Starts the embedded server on the candidate and asks it over gRPC and REST.

    It replays the model's warm-up requests, compares served logits of real crops with those that
    evaluation wrote down, and measures latency. A model that the gate or TFX's InfraValidator
    refused is not served, and not blessed.

    Component `outputs` contains:
     - `blessing`: Channel of type `standard_artifacts.InfraBlessing`, for Pusher's
       `infra_blessing`.
     - `report`: Channel of type `File`: `report.json` with differences, latencies and problems.
    """

    SPEC_CLASS = ServingCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        evaluation: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel | None = None,
        limits: dict[str, Any] | None = None,
        crops: int = 32,
        split: str = "test",
        code: str = "",
    ):
        """Constructs the component.

        Args:
          model: Channel of type `standard_artifacts.Model`: the candidate.
          examples: Channel of type `standard_artifacts.Examples`: what evaluation read.
          evaluation: Channel of type `File`: ClipEvaluator's, with its scores of crops.
          model_blessing: Channel of type `standard_artifacts.ModelBlessing`: the last word of the
            gates.
          infra_blessing: Channel of type `standard_artifacts.InfraBlessing`: InfraValidator's.
            Pusher takes one such blessing, so this component's stands for both.
          limits: fields of `serving_check.check.ServingLimits` that differ from the defaults.
          crops: how many examples are compared.
          split: of the examples.
          code: digest of the check's code.
        """
        spec = ServingCheckSpec(
            model=model,
            examples=examples,
            evaluation=evaluation,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            limits=json.dumps(limits or {}, sort_keys=True),
            crops=crops,
            split=split,
            code=code,
            blessing=channel_utils.as_channel([standard_artifacts.InfraBlessing()]),
            report=channel_utils.as_channel([simple_artifacts.File()]),
        )
        super().__init__(spec=spec)
