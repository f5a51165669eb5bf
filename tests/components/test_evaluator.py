"""The evaluators' own rule: an empty baseline is none, and one that was deleted ends the run."""

import importlib

import pytest
from cases.node_case import execute, make_artifact

from preprocessing.support.errors import UsageError

# TFX is imported where it is used: collecting these tests costs the unit tests nothing.
pytestmark = pytest.mark.integration


@pytest.fixture
def handed_on():
    """What reaches TFX's executor; what that does with it is shown end to end."""
    from components.evaluator.executor import without_empty_baselines

    return without_empty_baselines


def model(folder, *files):
    from tfx.types import standard_artifacts

    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return make_artifact(standard_artifacts.Model, folder)


SAVED = "Format-Serving/saved_model.pb"


def test_baseline_with_a_model_is_kept(tmp_path, handed_on):
    inputs = {
        "model": [model(tmp_path / "new", SAVED)],
        "baseline_model": [model(tmp_path / "old", SAVED)],
    }
    assert handed_on(inputs) == inputs


def test_empty_baseline_is_dropped_and_nothing_else(tmp_path, handed_on):
    (tmp_path / "old").mkdir()
    inputs = {"model": [model(tmp_path / "empty")], "examples": ["any"]}
    assert handed_on({**inputs, "baseline_model": [model(tmp_path / "old")]}) == inputs


def test_no_baseline_stays_none(tmp_path, handed_on):
    inputs = {"model": [model(tmp_path / "new", SAVED)]}
    assert handed_on(inputs) == inputs


@pytest.mark.parametrize("left", [(), ("Format-Serving/variables/variables.index",)])
@pytest.mark.parametrize("evaluator", ["evaluator", "clip_evaluator"])
def test_baseline_that_was_deleted_ends_the_evaluator(tmp_path, evaluator, left):
    """Also where a part of it is left."""
    executor = importlib.import_module(f"components.{evaluator}.executor").Executor
    inputs = {
        "model": [model(tmp_path / "new", SAVED)],
        "baseline_model": [model(tmp_path / "old", *left)],
    }
    words = f"is not in {tmp_path / 'old'} any more.*another machine.*put either back"
    with pytest.raises(UsageError, match=words):
        execute(executor, tmp_path, inputs, {}, {})


@pytest.mark.parametrize("evaluator", ["evaluator", "clip_evaluator"])
def test_pushed_version_that_was_deleted_ends_the_evaluator(tmp_path, evaluator):
    """An object store keeps no empty folder: the property tells it from a first run."""
    executor = importlib.import_module(f"components.{evaluator}.executor").Executor
    (tmp_path / "old").mkdir()
    baseline = model(tmp_path / "old")
    baseline.set_string_custom_property("pushed_version", "17")
    inputs = {"model": [model(tmp_path / "new", SAVED)], "baseline_model": [baseline]}
    with pytest.raises(UsageError, match=r"does not hold the pushed version 17 .*--no-cache"):
        execute(executor, tmp_path, inputs, {}, {})
