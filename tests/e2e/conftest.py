"""One small trained pipeline for all end-to-end tests; runs share one process and its imports."""

from pathlib import Path

import pytest
from e2e.workspace import Workspace

from preprocessing.datasets.demo import make_demo_data


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    folder = tmp_path_factory.mktemp("e2e")
    space = Workspace(folder / "data", folder / "out")
    make_demo_data(space.data, space.config().data.demo)
    return space


@pytest.fixture(scope="session")
def first_run(workspace) -> tuple[int, dict]:
    """Status and summary of the first run of the session's workspace."""
    return workspace.run()


@pytest.fixture(scope="session")
def pushed_model(first_run) -> Path:
    status, summary = first_run
    assert status == 0
    return Path(summary["pushed"])
