"""The search for better values, by real trainings of a tiny network."""

import json
from pathlib import Path

import pytest
from tfx.components.tuner import executor
from tfx.types import artifact_utils, standard_artifacts
from trainer_workbench import MODEL, TRAINING, write_split

from components.tuner.config import TunerConfig
from components.tuner.tuner_fn import search_space, tuner_fn
from preprocessing.support.errors import UsageError, cause
from serving.model import card

pytestmark = pytest.mark.integration

_TUNER = {
    "trials": 3,
    "epochs": 1,
    # Nothing is learnt at the lower end, all that there is at the upper one.
    "learning_rate": [1e-9, 1e-2],
    "unfreeze_from": ["", "cell_1"],
    "augmentation": ["none", "light"],
}


def _arguments(workbench, folder, records=None, training=(), tuner=()):
    import types

    records = records or workbench.records
    return types.SimpleNamespace(
        train_files=[f"{records}/Split-train/*"],
        eval_files=[f"{records}/Split-val/*"],
        transform_graph_path=workbench.transform_graph,
        working_dir=str(folder),
        custom_config={
            "model": MODEL,
            "training": {**TRAINING, "epochs": 7, "steps_per_epoch": 15, **dict(training)},
            "tuner": {**_TUNER, **dict(tuner)},
            "seed": 2,
        },
    )


def test_best_values_are_found_and_trained_with(workbench, tmp_path):
    result = tuner_fn(_arguments(workbench, tmp_path / "work"))
    result.tuner.search(**result.fit_kwargs)
    outputs = {}
    for key, kind in (
        ("best_hyperparameters", standard_artifacts.HyperParameters),
        ("tuner_results", standard_artifacts.TunerResults),
    ):
        artifact = kind()
        artifact.uri = str(tmp_path / key)
        outputs[key] = [artifact]
    executor.write_best_hyperparameters(result.tuner, outputs)
    folder = artifact_utils.get_single_uri(outputs["tuner_results"])
    trials = json.loads(Path(folder, "tuner_results.json").read_text())
    assert len(trials) == 3
    assert all(0.0 <= trial["score"] <= 1.0 for trial in trials)
    assert len({trial["learning_rate"] for trial in trials}) == 3
    best = max(trials, key=lambda trial: trial["score"])

    best_file = tmp_path / "best_hyperparameters" / "best_hyperparameters.txt"
    hyperparameters = json.loads(best_file.read_text())
    values = hyperparameters["values"]
    assert values["learning_rate"] == best["learning_rate"]
    model = workbench.train(
        tmp_path, training={"epochs": 1, "steps_per_epoch": 2}, hyperparameters=hyperparameters
    )
    metadata = card.read(model).to_dict()
    for key in ("learning_rate", "unfreeze_from", "augmentation"):
        assert metadata["training"][key] == values[key]
    assert metadata["model"]["dropout"] == values["dropout"]


def test_what_is_not_searched_is_fixed():
    space = search_space(TunerConfig(learning_rate=(1e-4, 1e-4), dropout=(0.0, 0.0)))
    assert space.values["learning_rate"] == 1e-4
    assert space.values["dropout"] == 0.0


def test_the_depth_is_searched_where_blocks_are_named_and_kept_where_none_is():
    """A value of the search replaces the configuration's, also where there is one to choose."""
    from components.trainer.setup import read_config

    settings = {"model": MODEL, "training": {**TRAINING, "unfreeze_from": "cell_1"}}
    for blocks, trained in (((), "cell_1"), (("",), ""), (("cell_0",), "cell_0")):
        space = search_space(TunerConfig(unfreeze_from=blocks))
        names = {entry.name for entry in space.space}
        assert names - {"unfreeze_from"} == {"learning_rate", "dropout", "augmentation"}
        assert ("unfreeze_from" in names) is bool(blocks)
        assert read_config(settings, space.values)[1].unfreeze_from == trained


def test_without_a_class_in_val_no_search(workbench, tmp_path):
    write_split(tmp_path, "train", clips=2, seed=0)
    write_split(tmp_path, "val", clips=2, seed=0, labels=(1,))
    message = _refusal(_arguments(workbench, tmp_path / "work", tmp_path))
    assert "the val split lacks real or fake clips" in message


def test_what_a_trial_refuses_is_an_error_of_the_user(workbench, tmp_path):
    message = _refusal(_arguments(workbench, tmp_path, training={"batch_size": 4000}))
    assert "4000 is more than the" in message


def test_values_with_which_training_diverges_are_the_worst(workbench, tmp_path):
    # Weights grow ninefold a step.
    training = {"schedule": "constant", "weight_decay": 1.0, "steps_per_epoch": 60}
    tuner = {"trials": 1, "learning_rate": [10.0, 10.0], "unfreeze_from": [""]}
    result = tuner_fn(_arguments(workbench, tmp_path, training=training, tuner=tuner))
    result.tuner.search(**result.fit_kwargs)
    (trial,) = result.tuner.oracle.trials.values()
    assert (trial.status, trial.score) == ("COMPLETED", 0.0)


def _refusal(arguments) -> str:
    """The message with which a search ends."""
    result = tuner_fn(arguments)
    with pytest.raises(Exception) as caught:  # noqa: PT011  Its cause is looked at.
        result.tuner.search(**result.fit_kwargs)
    error = cause(caught.value, UsageError)
    assert error is not None
    return str(error)
