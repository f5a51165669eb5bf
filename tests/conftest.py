"""Fixtures that more than one folder of tests needs."""

import os
import re
from pathlib import Path

import pytest

# So that assertions of the shared cases say what differs.
pytest.register_assert_rewrite(
    "cases.backbone_case", "cases.layout_case", "cases.node_case", "processes"
)


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real clips; tests that need it skip where there is none."""
    folder = os.environ.get("DEEPFAKE_TEST_MEDIA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("DEEPFAKE_TEST_MEDIA names no folder of real clips")
    return Path(folder)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out the modules in which `-m` selects no test: each worker imports all the others.

    The markers of an expression with `and` and `not` alone are looked for in the module's text.
    """
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text()
    of_all = re.search(r"^pytestmark = (\[.*?^\]|.*?$)", text, re.MULTILINE | re.DOTALL)
    for term in re.split(r"\s+and\s+", config.option.markexpr):
        if term.isidentifier() and f"mark.{term}" not in text:
            return True
        refused = re.fullmatch(r"not (\w+)", term)
        if refused and of_all and f"mark.{refused[1]}" in of_all[1]:
            return True
    return None


# Session fixtures that take minutes: the tests that ask for the same one stay in one worker, so
# that it is made once. All other tests stay together by file.
_SHARED = ("newest", "demo", "workspace", "podman", "workbench", "server")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups the tests for pytest-xdist's `--dist loadgroup`, the longest groups first.

    A group that takes minutes and starts last would run while the other workers have ended.
    """
    for item in items:
        shared = [name for name in _SHARED if name in item.fixturenames]
        group = shared[0] if shared else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    group = item.get_closest_marker("xdist_group").args[0]
    if group in _SHARED:
        return _SHARED.index(group)
    return len(_SHARED) + (item.get_closest_marker("integration") is None)


@pytest.fixture
def searches(monkeypatch):
    """A list that grows by one with each clip that is searched for faces."""
    from preprocessing.faces.search import FaceSearch

    clips = []
    faces = FaceSearch.faces

    def counted(self, frames):
        clips.append(1)
        return faces(self, frames)

    monkeypatch.setattr(FaceSearch, "faces", counted)
    return clips
