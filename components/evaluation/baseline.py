"""The model that a candidate is compared with, as both evaluators take it."""

from __future__ import annotations

from tfx import types
from tfx.dsl.io import fileio
from tfx.utils import path_utils

from preprocessing.support.errors import UsageError

# On BlessedModel's artifact: the version that it copied. Absent where nothing was pushed.
PUSHED_VERSION_PROPERTY = "pushed_version"


def baselines(input_dict: dict[str, list[types.Artifact]]) -> list[types.Artifact]:
    """The models of the channel `baseline_model`, which may be absent: one, or none.

    An empty folder says that there is none. BlessedModel leaves it where nothing was pushed; object
    stores do not keep it, and the entry point of Kubeflow's tasks makes it again.

    Raises:
      UsageError: the model was deleted. Without it the gate would bless what is worse.
    """
    return [model for model in input_dict.get("baseline_model", []) if _holds_model(model)]


def _holds_model(model: types.Artifact) -> bool:
    if fileio.exists(f"{path_utils.serving_model_dir(model.uri)}/saved_model.pb"):
        return True
    if version := model.get_string_custom_property(PUSHED_VERSION_PROPERTY):
        raise UsageError(
            f"{model.uri} does not hold the pushed version {version} any more, with which the new "
            "model is compared: submit the pipeline with --no-cache, which copies the last "
            "pushed version anew"
        )
    if fileio.exists(model.uri) and not fileio.listdir(model.uri):
        return False
    raise UsageError(
        f"the last blessed model, with which the new one is compared, is not in {model.uri} any "
        "more, or it lies on another machine's disk, and the version that was pushed of it is not "
        "there either, or cannot be copied: put either back from a backup or that machine; or make "
        "that folder an empty one, for a gate without a comparison; or begin anew with "
        "another `output` and `metadata`"
    )
