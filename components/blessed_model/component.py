"""BlessedModel: the last pushed model, for orchestrators without resolver nodes.

Open-source Kubeflow Pipelines refuses resolver nodes. What was pushed was blessed, so the highest
version in the push destination is the baseline there.
"""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.blessed_model import executor


class BlessedModelSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of BlessedModel."""

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
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

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
