"""BlessedModel: the last pushed model, for orchestrators without resolver nodes.

Open-source Kubeflow Pipelines refuses resolver nodes. What was pushed was blessed, so the highest
version in the push destination is the baseline there.
"""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, channel_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, path_utils


class Executor(base_executor.BaseExecutor):
    """Copies the highest pushed version into the artifact; leaves it empty where there is none."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(output_dict["model"])
        fileio.makedirs(model.uri)
        pushed = exec_properties["push_destination"]
        # rstrip: object stores list folders with a trailing slash.
        names = [n.rstrip("/") for n in fileio.listdir(pushed)] if fileio.exists(pushed) else []
        # Pusher copies saved_model.pb last: without it a push is under way, or was broken off.
        versions = [
            name
            for name in names
            if name.isascii()
            and name.isdigit()
            and fileio.exists(f"{pushed}/{name}/saved_model.pb")
        ]
        if versions:
            latest = max(versions, key=int)
            io_utils.copy_dir(f"{pushed}/{latest}", path_utils.serving_model_dir(model.uri))
            model.set_string_custom_property("pushed_version", latest)


class BlessedModelSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "push_destination": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    # The candidate is not read. It makes the cache key: a new candidate looks for the baseline
    # anew, an unchanged one keeps the baseline it was judged against.
    INPUTS = {"candidate": component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class BlessedModel(base_component.BaseComponent):
    """Finds the model that a candidate is compared with.

    Component `outputs` contains:
     - `model`: Channel of type `standard_artifacts.Model`; an empty folder when nothing was
       pushed yet.
    """

    SPEC_CLASS = BlessedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, candidate: types.BaseChannel, push_destination: str, code: str):
        """Constructs the component.

        Args:
          candidate: Channel of type `standard_artifacts.Model`: the model to be judged.
          push_destination: folder of the pushed versions.
          code: digest of the search's code.
        """
        spec = BlessedModelSpec(
            candidate=candidate,
            push_destination=push_destination,
            code=code,
            model=channel_utils.as_channel([standard_artifacts.Model()]),
        )
        super().__init__(spec=spec)
