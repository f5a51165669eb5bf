"""Report: one page on which a run can be judged, and the same as JSON."""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.report import executor


class ReportSpec(component_spec.ComponentSpec):
    """The parameters of the executor; everything is a reason to run again."""

    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "manifest": component_spec.ExecutionParameter(type=str),
        "root": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "extraction": component_spec.ChannelParameter(type=simple_artifacts.File),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "clip_evaluation": component_spec.ChannelParameter(type=simple_artifacts.File),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "serving_check": component_spec.ChannelParameter(type=simple_artifacts.File),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=simple_artifacts.File)}


class Report(base_component.BaseComponent):
    """Draws a run: verdict, measures, slices, mistakes, data, training, model card.

    Component `outputs` contains:
     - `report`: Channel of type `File`: `report.html`, which needs nothing from elsewhere, and
       `report.json`.
    """

    SPEC_CLASS = ReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        config: dict[str, Any],
        manifest: str,
        root: str,
        code: str,
        **inputs: types.BaseChannel,
    ):
        """Constructs the component.

        Args:
          config: the run's configuration as plain values.
          manifest: path of the manifest.
          root: folder that the clips' paths start from.
          code: digest of the report's code.
          **inputs: the channels of `ReportSpec.INPUTS`.
        """
        spec = ReportSpec(
            config=json.dumps(config, sort_keys=True),
            manifest=manifest,
            root=root,
            code=code,
            report=channel_utils.as_channel([simple_artifacts.File()]),
            **inputs,
        )
        super().__init__(spec=spec)
