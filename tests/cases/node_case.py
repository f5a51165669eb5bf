"""What holds for every node of ours, and how its executor is called on real artifacts.

    class TestMine(NodeCase):
        component = "components.mine.component.Mine"

TFX is imported where it is used: collecting tests costs the unit tests nothing.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.cache_keys import ENTRY_POINTS, node_code
from preprocessing.support.beam_args import local_args

if TYPE_CHECKING:
    from tfx.dsl.components.base import base_executor
    from tfx.types import artifact as tfx_artifact

_IN_MEMORY = (*local_args(), "--direct_running_mode=in_memory")


def make_artifact(
    kind: type[tfx_artifact.Artifact], folder: Path, splits: tuple[str, ...] = ()
) -> tfx_artifact.Artifact:
    """An artifact of a type of TFX at a folder, which need not exist."""
    from tfx.types import artifact_utils

    made = kind()
    made.uri = str(folder)
    if splits:
        made.split_names = artifact_utils.encode_split_names(list(splits))
    return made


def execute(
    executor: type[base_executor.BaseExecutor],
    folder: Path,
    inputs: dict[str, list[tfx_artifact.Artifact]],
    outputs: dict[str, list[tfx_artifact.Artifact]],
    properties: dict[str, Any],
) -> None:
    """Calls an executor as TFX's launcher does.

    Args:
      executor: its class; one that runs Beam gets the in-memory runner.
      folder: for temporary files.
      inputs: artifacts by the channel's name.
      outputs: the same.
      properties: parameters of the node, those that are no strings or numbers as JSON.
    """
    arguments: dict[str, Any] = {"tmp_dir": str(folder / "tmp"), "unique_id": "1"}
    if "beam_pipeline_args" in inspect.signature(executor.Context.__init__).parameters:
        arguments["beam_pipeline_args"] = list(_IN_MEMORY)
    executor(executor.Context(**arguments)).Do(inputs, outputs, properties)


@pytest.mark.integration
class ExtendedNodeCase:
    """The checks of a node of TFX with an executor of ours.

    The name of its class is a key of `pipeline.cache_keys.ENTRY_POINTS`.

    Attributes:
      component: the module and name of the class.
    """

    component: str

    @pytest.fixture
    def node(self) -> type:
        """The class."""
        module, _, name = self.component.rpartition(".")
        return getattr(importlib.import_module(module), name)

    def test_its_executor_is_ours_and_takes_part_in_its_key(self, node):
        executor = node.EXECUTOR_SPEC.executor_class
        assert executor.__module__ == f"{node.__module__.removesuffix('.component')}.executor"
        assert executor.__module__ in ENTRY_POINTS[node.__name__]
        assert node_code(node.__name__)
        assert "code" in inspect.signature(node.__init__).parameters


class NodeCase(ExtendedNodeCase):
    """The checks of a node with a specification of its own."""

    def test_parameters_are_of_types_that_tfx_keeps(self, node):
        """Strings and numbers: what is more comes as JSON."""
        kinds = {name: p.type for name, p in node.SPEC_CLASS.PARAMETERS.items()}
        assert set(kinds.values()) <= {str, int, float}, kinds

    def test_it_says_what_its_outputs_are(self, node):
        for name in node.SPEC_CLASS.OUTPUTS:
            assert f"`{name}`: Channel of type" in node.__doc__
