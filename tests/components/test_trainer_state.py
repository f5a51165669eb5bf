"""The state of a killed training: what it holds, and which training resumes from it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from trainer_workbench import SIZE, Workbench, make_transform_graph, write_split

from components.trainer import run_fn
from components.trainer.training_state import TrainingState

pytestmark = pytest.mark.integration


@pytest.fixture
def state_key(workbench, tmp_path, monkeypatch):
    """Starts a training on records and a graph; gives the key of its state, and stops there."""

    class Stopped(Exception):
        """Carries the key."""

    def stop(_, key):
        raise Stopped(key)

    def key_of(records=workbench.records, graph=workbench.transform_graph) -> str:
        with pytest.raises(Stopped) as stopped:
            Workbench(Path(records), str(graph)).train(tmp_path)
        return stopped.value.args[0]

    monkeypatch.setattr(run_fn, "TrainingState", stop)
    return key_of


def test_state_of_another_precision_is_not_resumed(state_key, monkeypatch):
    """`auto` is float16 on a machine with a GPU, and the optimizer has more variables there."""
    keys = []
    for policy in ("float32", "float32", "mixed_float16"):
        monkeypatch.setattr(run_fn, "dtype_policy", lambda _, policy=policy: policy)
        keys.append(state_key())
    assert keys[0] == keys[1] != keys[2]


def test_state_is_resumed_when_its_crops_move(workbench, state_key, tmp_path):
    """Nodes that run again write what they wrote, and their folders bear other numbers."""
    shutil.copytree(workbench.records, tmp_path / "2" / "examples")
    again = make_transform_graph(tmp_path / "2", SIZE)
    key = state_key()
    assert state_key(tmp_path / "2" / "examples", again) == key
    assert state_key(graph=make_transform_graph(tmp_path / "3", 2 * SIZE)) != key


def test_state_of_other_crops_is_not_resumed(workbench, state_key, tmp_path):
    """As many crops of the same clips, under the same names; in one folder after the other."""
    key, keys = state_key(), set()
    for split, clips in (("train", 24), ("val", 10)):
        records = tmp_path / split
        shutil.copytree(workbench.records, records)
        assert state_key(records) == key
        shutil.rmtree(records / f"Split-{split}")
        write_split(records, split, clips, seed=77)
        keys.add(state_key(records))
    assert len(keys | {key}) == 3


def test_a_state_is_read_only_by_the_training_that_left_it(tmp_path, caplog):
    state = TrainingState(str(tmp_path / "new" / "folder"), "one")
    assert state.load() is None
    arrays = {"model": [np.arange(3.0), np.float32(2)], "best": []}
    state.save(arrays, {"phase": "head", "loss": float("nan")})
    found, values = state.load()
    assert list(found) == ["model"]
    assert values["phase"] == "head"
    assert np.isnan(values["loss"])
    np.testing.assert_array_equal(found["model"][0], arrays["model"][0])
    path = tmp_path / "new" / "folder" / "training-state-one.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert state.load() is None
    assert "cannot be read; training starts anew" in caplog.text
    state.clear()
    assert state.load() is None
    assert not path.exists()
    TrainingState("", "one").save(arrays, {})


def test_a_training_leaves_the_states_of_others_alone(tmp_path, caplog):
    caplog.set_level("INFO")
    killed, other = (TrainingState(str(tmp_path), key * 32) for key in ("0a", "1b"))
    killed.save({"model": [np.arange(3.0)]}, {"epochs": 7})
    assert "states of other trainings" not in caplog.text
    assert other.load() is None
    assert f"other data, settings or code: training-state-{'0a' * 8}.npz. " in caplog.text
    other.save({"model": [np.arange(9.0)]}, {"epochs": 1})
    other.clear()
    arrays, values = killed.load()
    np.testing.assert_array_equal(arrays["model"][0], np.arange(3.0))
    assert values == {"epochs": 7}
