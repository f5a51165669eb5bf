"""How training runs.

Killed and gone on with, spread over devices, at lower precision, out of numbers and out of memory.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from trainer_workbench import MODEL, history_rows, load_network

from components.trainer import run_fn, setup
from components.trainer.callbacks import BestEpoch, Validation
from components.trainer.config import ModelConfig, TrainingConfig
from components.trainer.hardware import check_batch_size, dtype_policy, out_of_memory, use_xla
from components.trainer.optimizer import build_optimizer
from components.trainer.training_state import TrainingState
from preprocessing.support.errors import UsageError
from serving.model import card

pytestmark = pytest.mark.integration

# Everything that has a state: dropout's random numbers, moving averages, both phases.
_STATEFUL = {"head_epochs": 1, "epochs": 3, "steps_per_epoch": 30, "ema_momentum": 0.9}


def _history(output: Path) -> list[dict[str, float]]:
    return [
        {key: float(value) for key, value in row.items() if key not in ("phase", "seconds")}
        for row in history_rows(output)
    ]


def _train_elsewhere(
    workbench, output: Path, state_dir: Path, training: dict, before: str = ""
) -> subprocess.Popen:
    """Starts a training in a process of its own."""
    program = f"""
import sys
from pathlib import Path
sys.path[:0] = {[str(Path(__file__).parents[1]), *sys.path]!r}
import tensorflow as tf
{before}
from trainer_workbench import Workbench
bench = Workbench(Path({str(workbench.records)!r}), {workbench.transform_graph!r})
bench.train(Path({str(output)!r}), model={{"dropout": 0.3}}, training={training!r},
            state_dir={str(state_dir)!r})
"""
    log = (output.parent / f"{output.name}.log").open("w")
    return subprocess.Popen([sys.executable, "-c", program], stdout=log, stderr=log)


def _best_epoch(scores: list[tuple[float, float]], phases: int = 1) -> tuple[int, int]:
    """Trains an epoch for each (AUC per clip, loss per crop) that the validation then gives.

    Args:
      scores: of the epochs.
      phases: among which these are divided.

    Returns:
      The epoch whose weights are restored and the one whose logits are, which must be the same.
    """
    weights, validations = [], iter(enumerate(scores))
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile(build_optimizer(model, 0.1), loss="mse", metrics=["accuracy"])

    def validate() -> tuple[Validation, np.ndarray]:
        epoch, (clip_auc, loss) = next(validations)
        weights.append(model.get_weights())
        return Validation(loss, 0.5, math.nan, 0.5, clip_auc), np.array([epoch])

    kept = None
    for phase in range(phases):
        best = BestEpoch(validate, patience=0, rows=[], phase=str(phase), earlier=kept)
        epochs = len(scores) // phases
        model.fit(np.ones([8, 2]), np.ones([8, 1]), epochs=epochs, callbacks=[best], verbose=0)
        kept = best.restore(model)
    (logits,) = kept.logits
    (restored,) = (
        epoch
        for epoch, values in enumerate(weights)
        if all(map(np.array_equal, values, model.get_weights()))
    )
    return restored, int(logits)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(0.7, 0.1), (0.9, 0.5), (0.8, 0.2)], 1),  # The AUC decides, whatever the loss.
        ([(0.9, 0.5), (0.9, 0.3), (0.9, 0.4)], 1),  # Of equal AUCs the lowest loss.
        ([(0.9, 0.3), (0.9, 0.3), (0.8, 0.1)], 0),  # Of equal epochs the first.
        ([(math.nan, 0.5), (math.nan, 0.3), (math.nan, 0.4)], 1),  # One class: no AUC at all.
    ],
)
def test_the_best_epoch_has_the_highest_auc_and_then_the_lowest_loss(scores, best):
    assert _best_epoch(scores) == (best, best)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(0.7, 0.1), (0.9, 0.5), (0.8, 0.1), (0.7, 0.1)], 1),
        ([(0.7, 0.1), (0.8, 0.5), (0.7, 0.1), (0.9, 0.6)], 3),
        ([(0.7, 0.1), (0.9, 0.5), (0.9, 0.5), (0.7, 0.1)], 1),
    ],
)
def test_the_best_epoch_is_that_of_all_phases(scores, best):
    assert _best_epoch(scores, phases=2) == (best, best)


def test_the_best_epoch_of_the_head_is_kept_where_all_layers_get_worse(
    workbench, trained, tmp_path, monkeypatch
):
    """As by a training that was killed after its first epoch of all layers."""

    class Killed(TrainingState):
        def save(self, arrays, values):
            super().save(arrays, values)
            if values["phase"] == "all layers":
                raise KeyboardInterrupt

    training = {
        "batch_norm": "freeze",
        "head_epochs": 1,
        "head_learning_rate": 0.1,
        "steps_per_epoch": 3,
        "learning_rate": 0.3,
        "schedule": "constant",
    }
    model, state = {"weights": str(trained)}, tmp_path / "state"
    with monkeypatch.context() as patch:
        patch.setattr(run_fn, "TrainingState", Killed)
        with pytest.raises(KeyboardInterrupt):
            workbench.train(tmp_path / "again", model, training, state_dir=state)
    for name, folder in (("again", state), ("whole", "")):
        workbench.train(tmp_path / name, model, training, state_dir=folder)
        head, *others = _history(tmp_path / name)
        assert head["val_clip_auc"] > max(row["val_clip_auc"] for row in others)
        validation = card.read(tmp_path / name / "Format-Serving").validation
        assert validation["clip_auc"] == pytest.approx(head["val_clip_auc"])
    weights = [
        load_network(tmp_path / name / "logs", ModelConfig(**MODEL)).get_weights()
        for name in ("again", "whole")
    ]
    for again, whole in zip(*weights, strict=True):
        np.testing.assert_allclose(again, whole, atol=1e-5)


def test_a_killed_training_ends_as_if_it_had_not_been(workbench, tmp_path):
    state = tmp_path / "state"
    process = _train_elsewhere(workbench, tmp_path / "killed", state, _STATEFUL)
    try:
        deadline = time.monotonic() + 300
        while not _epochs_done(state):
            assert process.poll() is None, (tmp_path / "killed.log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = _epochs_done(state)
    assert 0 < len(done) < 4
    assert not (tmp_path / "killed" / "Format-Serving").exists()

    process = _train_elsewhere(workbench, tmp_path / "again", state, _STATEFUL)
    # Beside it, one that nothing stops.
    workbench.train(tmp_path / "whole", model={"dropout": 0.3}, training=_STATEFUL)
    assert process.wait(timeout=300) == 0, (tmp_path / "again.log").read_text()[-2000:]
    assert not any(state.iterdir()), "a finished training leaves no state"
    again, whole = (_history(tmp_path / name) for name in ("again", "whole"))
    assert len(again) == len(whole) == 4
    for row, expected in zip(again, whole, strict=True):
        assert row == pytest.approx(expected, abs=2e-3)
    # And it went on instead of starting anew: these epochs took the time that they took then.
    for row, stored_row in zip(history_rows(tmp_path / "again"), done, strict=False):
        assert float(row["seconds"]) == pytest.approx(stored_row["seconds"])
    scores = [_scores(workbench, tmp_path / name) for name in ("again", "whole")]
    np.testing.assert_allclose(*scores, atol=5e-3)


def _epochs_done(folder: Path) -> list[dict]:
    """Rows of the history in the one stored state; none where there is no state yet."""
    for path in folder.glob("training-state-*.npz"):
        with np.load(path) as stored:
            return json.loads(str(stored["values"]))["rows"]
    return []


def _scores(workbench, output: Path) -> np.ndarray:
    crops, _, _ = workbench.crops("test")
    model = tf.saved_model.load(str(output / "Format-Serving"))
    return model.signatures["serving_default"](image=tf.constant(crops))["score"].numpy()


def test_two_devices_learn_what_one_learns(workbench, tmp_path):
    """Two logical CPUs stand for two GPUs."""
    devices = """
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from components.trainer import hardware, setup
setup.build_strategy = lambda: hardware.build_strategy(["CPU:0", "CPU:1"])
"""
    training = {"epochs": 1, "steps_per_epoch": 20, "head_epochs": 1}
    process = _train_elsewhere(workbench, tmp_path / "two", "", training, devices)
    workbench.train(tmp_path / "one", model={"dropout": 0.3}, training=training)
    assert process.wait(timeout=400) == 0, (tmp_path / "two.log").read_text()[-3000:]
    one, two = _history(tmp_path / "one"), _history(tmp_path / "two")
    assert len(two) == 2
    assert two[-1]["val_loss"] < two[0]["val_loss"]
    # In the first phase no statistics of batches matter: two halves of a batch are the batch.
    assert two[0]["val_loss"] == pytest.approx(one[0]["val_loss"], abs=0.02)


@pytest.mark.parametrize("precision", ["mixed_float16"])
def test_lower_precision_is_exported_as_float32(workbench, tmp_path, precision):
    folder = workbench.train(
        tmp_path, training={"precision": precision, "epochs": 1, "steps_per_epoch": 20}
    )
    assert keras.config.dtype_policy().name == "float32"
    model = tf.saved_model.load(str(folder))
    assert {variable.dtype for variable in model.model_variables} == {tf.float32}
    graph = model.signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    half = [node.name for node in nodes if node.attr["T"].type == tf.float16.as_datatype_enum]
    assert not half
    crops, _, _ = workbench.crops("val")
    scores = model.signatures["serving_default"](image=tf.constant(crops))["score"]
    assert np.isfinite(scores).all()
    assert _history(tmp_path)[0]["loss"] < 1.0


def test_a_loss_that_is_no_number_names_step_and_batch(workbench, tmp_path):
    with pytest.raises(UsageError) as caught:
        workbench.train(
            tmp_path, training={"learning_rate": 10.0, "schedule": "constant", "weight_decay": 1.0}
        )
    message = str(caught.value)
    assert "in phase all layers, epoch " in message
    assert "whose batch shows fake/train" in message
    assert "training.learning_rate" in message


def test_no_memory_says_which_batch_size_to_try(workbench, tmp_path, monkeypatch):
    def too_much(config):
        inputs = keras.Input((64, 64, 3))
        # Half a petabyte: no allocator gives it, so it fails as a full GPU does.
        huge = keras.layers.Lambda(
            lambda x: x[:, 0, 0, :1]
            + keras.ops.sum(keras.ops.ones((2**23, 2**24)) * x[0, 0, 0, 0]),
            output_shape=(1,),
        )
        backbone = keras.Model(inputs, keras.layers.Identity()(inputs), name="backbone")
        pooled = keras.layers.GlobalAveragePooling2D(name="pool")(backbone(inputs))
        return keras.Model(inputs, keras.layers.Dense(1)(huge(inputs)) + 0 * pooled[:, :1])

    monkeypatch.setattr(setup, "build_model", too_much)
    with pytest.raises(UsageError, match=r"batch of 8 crops: try training.batch_size=4"):
        workbench.train(tmp_path)


def test_advice_of_a_batch_of_two_is_another():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nmore")
    assert "try training.batch_size=6 (OOM" in str(out_of_memory(12, error))
    assert "try a smaller model.backbone" in str(out_of_memory(2, error))


@pytest.mark.parametrize("killed", [False, True])
def test_tensorboard_reads_the_same_as_the_table(workbench, tmp_path, monkeypatch, killed):
    """Also where a training goes on that was killed after its last epoch."""

    def stop(*_):
        raise KeyboardInterrupt

    training = {"head_epochs": 1, "epochs": 2, "steps_per_epoch": 2}
    state = tmp_path / "state"
    if killed:
        with monkeypatch.context() as patch:
            patch.setattr(run_fn, "calibrate", stop)
            with pytest.raises(KeyboardInterrupt):
                workbench.train(tmp_path / "killed", training=training, state_dir=state)
    trained = workbench.train(tmp_path / "trained", training=training, state_dir=state)
    logs = trained.parent / "logs"
    seen: dict[tuple[int, str], float] = {}
    for group in ("train", "val"):
        for file in (logs / group).iterdir():
            for event in tf.compat.v1.train.summary_iterator(str(file)):
                for value in event.summary.value:
                    name = f"val_{value.tag}" if group == "val" else value.tag
                    assert (event.step, name) not in seen
                    seen[event.step, name] = float(tf.make_ndarray(value.tensor))
    rows = _history(trained.parent)
    assert {step for step, _ in seen} == {row["epoch"] for row in rows}
    assert any(name == "seconds" for _, name in seen)
    for (step, name), value in seen.items():
        if name == "seconds":
            continue
        assert rows[step - 1][name] == pytest.approx(value, rel=1e-5)
    assert {"loss", "val_loss", "val_clip_auc", "learning_rate"} <= {name for _, name in seen}


def test_without_a_gpu_nothing_is_compiled_or_rounded():
    config = TrainingConfig()
    assert not tf.config.list_physical_devices("GPU")
    assert dtype_policy(config) == "float32"
    assert not use_xla(config)
    assert use_xla(TrainingConfig(xla="on"))
    assert dtype_policy(TrainingConfig(precision="mixed_float16")) == "mixed_float16"


def test_batches_are_divided_in_pairs():
    check_batch_size(6, 1)
    check_batch_size(8, 2)
    with pytest.raises(UsageError, match="make it a multiple of 4"):
        check_batch_size(6, 2)


def test_only_the_blocks_from_the_named_one_on_are_trained(workbench, tmp_path):
    from components.trainer.model import build_model, network_of

    weights = tmp_path / "tiny.weights.h5"
    source = network_of(build_model(ModelConfig(**MODEL)))
    source.save_weights(weights)
    model = {"weights": str(weights)}
    training = {"epochs": 1, "steps_per_epoch": 3, "unfreeze_from": "cell_1"}
    folder = workbench.train(tmp_path, model, training)
    tuned = network_of(load_network(folder.parent / "logs", ModelConfig(**MODEL)))
    for before, after in zip(source.variables, tuned.variables, strict=True):
        frozen = "_0/" in before.path
        assert np.array_equal(before, after) == frozen, before.path
