"""The Evaluator's own rule: a baseline without a model is none."""

import pytest

# TFX is imported where it is used: collecting these tests costs the unit tests nothing.
pytestmark = pytest.mark.integration


@pytest.fixture
def handed_on():
    """What reaches TFX's executor; what that does with it is shown end to end."""
    from components.evaluator.executor import without_empty_baselines

    return without_empty_baselines


def model(folder, *files):
    from tfx.types import standard_artifacts

    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    for name in files:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return artifact


def test_baseline_with_a_model_is_kept(tmp_path, handed_on):
    inputs = {
        "model": [model(tmp_path / "new", "x")],
        "baseline_model": [model(tmp_path / "old", "x")],
    }
    assert handed_on(inputs) == inputs


@pytest.mark.parametrize("exists", [True, False])
def test_empty_baseline_is_dropped_and_nothing_else(tmp_path, handed_on, exists):
    if exists:
        (tmp_path / "old").mkdir()
    inputs = {"model": [model(tmp_path / "empty")], "examples": ["any"]}
    assert handed_on({**inputs, "baseline_model": [model(tmp_path / "old")]}) == inputs


def test_no_baseline_stays_none(tmp_path, handed_on):
    inputs = {"model": [model(tmp_path / "new", "x")]}
    assert handed_on(inputs) == inputs
