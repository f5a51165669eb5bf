"""Copies the highest pushed version, which is the baseline where no resolver can find one."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.evaluation.baseline import PUSHED_VERSION_PROPERTY


class Executor(base_executor.BaseExecutor):
    """Copies the highest pushed version into the artifact; leaves it empty where there is none."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Looks for it; see the class."""
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
            model.set_string_custom_property(PUSHED_VERSION_PROPERTY, latest)
