"""Writes the report of a run."""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.report.build import build
from components.report.data import Sources


class Executor(base_executor.BaseExecutor):
    """Executor of Report."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Gathers what the other nodes left and draws it.

        Args:
          input_dict: `examples`, `extraction`, `model`, `model_run`, `evaluation`,
            `clip_evaluation`, `blessing` and `serving_check`, one artifact each.
          output_dict: `report`.
          exec_properties: the parameters of ReportSpec.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        uri = {name: artifacts[0].uri for name, artifacts in input_dict.items() if artifacts}
        model = artifact_utils.get_single_instance(input_dict["model"])
        test = artifact_utils.get_split_uri(input_dict["examples"], "test")
        config = json.loads(exec_properties["config"])
        sources = Sources(
            name=config["name"],
            model=path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)),
            clip_evaluation=uri["clip_evaluation"],
            records=tuple(sorted(f"{test}/{name}" for name in fileio.listdir(test))),
            manifest=exec_properties["manifest"],
            root=exec_properties["root"],
            extraction=uri["extraction"],
            evaluation=uri["evaluation"],
            history=f"{uri['model_run']}/history.csv",
            blessed=model_utils.is_model_blessed(
                artifact_utils.get_single_instance(input_dict["blessing"])
            ),
            serving_check=uri["serving_check"],
            config=config,
        )
        build(sources, artifact_utils.get_single_uri(output_dict["report"]))
