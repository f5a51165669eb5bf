"""The evaluators' own rules: an empty baseline is none, and one that was deleted ends the run.

One that learnt from crops of another geometry is not compared with.
"""

import importlib

import pytest
from cases.node_case import execute, make_artifact
from e2e.gate_bench import PERMISSIVE, Crops, judge, normal, write_card

from preprocessing.faces.crop_settings import CropSettings
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


def trained_on(folder, **crops):
    """A model with a card; the network is none."""
    write_card(folder, CropSettings(**crops))
    return model(folder, SAVED)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ({"margin": 1.6}, {}, "margin=1.6 instead of 1.3"),
        ({}, {"crop_by": "landmarks"}, "crop_by=box instead of landmarks"),
        (
            {"crop_by": "landmarks", "eye_height": 0.4},
            {"crop_by": "landmarks", "eye_distance": 0.5},
            "eye_distance=0.4 instead of 0.5, eye_height=0.4 instead of 0.3",
        ),
        ({"align": True}, {}, "align=True instead of False"),
        ({"precropped": True}, {}, "precropped=True instead of False"),
    ],
)
def test_models_that_learnt_from_crops_of_two_geometries_are_not_compared(
    tmp_path, old, new, reason
):
    from components.evaluation.geometries import why_incomparable

    models = trained_on(tmp_path / "new", **new), trained_on(tmp_path / "old", **old)
    assert why_incomparable([models[0]], [models[1]]) == f"its crops are cut otherwise: {reason}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"min_face_size": 80, "frames_per_clip": 4}, {}),
        # Keys that nothing reads then.
        ({"eye_distance": 0.5}, {}),
        ({"crop_by": "landmarks", "margin": 1.6}, {"crop_by": "landmarks"}),
        ({"precropped": True, "margin": 1.6, "align": True}, {"precropped": True}),
    ],
)
def test_models_whose_crops_lie_alike_are_compared(tmp_path, old, new):
    from components.evaluation.geometries import why_incomparable

    models = trained_on(tmp_path / "new", **new), trained_on(tmp_path / "old", **old)
    assert why_incomparable([models[0]], [models[1]]) == ""
    assert why_incomparable([models[0]], []) == ""


def test_a_baseline_whose_card_says_nothing_of_its_crops_is_not_compared(tmp_path):
    from components.evaluation.geometries import why_incomparable

    new, old = trained_on(tmp_path / "new"), model(tmp_path / "old", SAVED)
    assert "was not exported by this pipeline" in why_incomparable([new], [old])


@pytest.mark.parametrize("drop", [0.02, 1.0])
def test_a_model_is_not_pushed_for_being_better_on_crops_that_the_old_one_does_not_know(
    tmp_path, drop
):
    """A drop of 1, which every change holds, asks for no comparison."""
    gate = PERMISSIVE.replace(max_auc_drop=drop)
    crops = [Crops(0, normal(-0.7)), Crops(1, normal(0.7), "swap")]
    outcome = judge(
        tmp_path, crops, gate, gate, baseline_scale=-1.0, baseline_crops=CropSettings(margin=1.6)
    )
    reason = "not measured (its crops are cut otherwise: margin=1.6 instead of 1.3)"
    refused = [
        f"{level} auc against the last blessed model >= -0.020: {reason}"
        for level in ("frame", "clip")
    ]
    assert outcome.refused == (refused if drop < 1 else [])
    assert bool(outcome.pushed) is (drop == 1)
