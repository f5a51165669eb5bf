"""ClipEvaluator: the second gate, on clips instead of frames."""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.clip_evaluator import executor


class ClipEvaluatorSpec(component_spec.ComponentSpec):
    """The parameters of the executor; everything is a reason to run again."""

    PARAMETERS = {
        "gate": component_spec.ExecutionParameter(type=str),
        "resamples": component_spec.ExecutionParameter(type=int),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "baseline_model": component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS = {
        "evaluation": component_spec.ChannelParameter(type=simple_artifacts.File),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class ClipEvaluator(base_component.BaseComponent):
    """Scores val and test through the exported model, and measures clips.

    Component `outputs` contains:
     - `evaluation`: Channel of type `File`: scores of crops, tracks and clips (CSV), and
       `metrics.json` and `verdict.json` (see evaluation/results.py).
     - `blessing`: Channel of type `standard_artifacts.ModelBlessing`: given when the Evaluator
       blessed the model and every bound on clips holds.
    """

    SPEC_CLASS = ClipEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        gate: dict[str, Any],
        resamples: int,
        code: str,
        baseline_model: types.BaseChannel | None = None,
    ):
        """Constructs the component.

        Args:
          examples: Channel of type `standard_artifacts.Examples` with the splits val and test.
          model: Channel of type `standard_artifacts.Model`: the candidate.
          model_blessing: Channel of type `standard_artifacts.ModelBlessing`: the Evaluator's.
          gate: `components.evaluation.config.GateConfig` as plain values.
          resamples: of the bootstrap.
          code: digest of the evaluation's code.
          baseline_model: Channel of type `standard_artifacts.Model`: the last blessed model.
        """
        spec = ClipEvaluatorSpec(
            examples=examples,
            model=model,
            model_blessing=model_blessing,
            baseline_model=baseline_model,
            gate=json.dumps(gate, sort_keys=True),
            resamples=resamples,
            code=code,
            evaluation=channel_utils.as_channel([simple_artifacts.File()]),
            blessing=channel_utils.as_channel([standard_artifacts.ModelBlessing()]),
        )
        super().__init__(spec=spec)
