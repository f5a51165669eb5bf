"""What is made once for all tests of the components."""

from pathlib import Path

import pytest
from trainer_workbench import SIZE, Workbench, make_transform_graph, write_split


@pytest.fixture(scope="session")
def workbench(tmp_path_factory) -> Workbench:
    folder = tmp_path_factory.mktemp("trainer")
    for seed, (split, clips) in enumerate({"train": 24, "val": 10, "test": 16}.items()):
        write_split(folder / "records", split, clips, seed)
    return Workbench(folder / "records", make_transform_graph(folder, SIZE))


@pytest.fixture(scope="session")
def trained(workbench, tmp_path_factory) -> Path:
    """A model trained once, by the node's own function; its folder."""
    return workbench.train(tmp_path_factory.mktemp("trained"))
