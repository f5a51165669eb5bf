"""The simulation of verdicts' error rates, and the area under risk and coverage."""

import numpy as np
import pytest

from benchmarks import _verdicts_real
from benchmarks._crops import Crops
from benchmarks._verdicts_real import demo_model, risk_under_coverage
from benchmarks.verdicts import simulated, too_few
from pipeline.config import load_config
from serving.model import card


def test_realised_rates_stay_below_the_chosen_ones(monkeypatch):
    monkeypatch.setattr("benchmarks.verdicts._CALIBRATIONS", 60)
    monkeypatch.setattr("benchmarks.verdicts._SIZES", (20, 100))
    figures = {**simulated(), **too_few()}
    assert len(figures) == 11
    for name, figure in figures.items():
        assert figure.met, (name, figure)
    # Not because nothing is ever called fake.
    assert figures["simulated_fpr_100_clips_at_0.1"].value > 0.03


def test_risk_under_coverage_by_hand():
    wrong = np.array([True, False, False, True])
    # Most confident first: right, right, wrong, wrong.
    best = np.mean([0, 0, 1 / 3, 2 / 4])
    assert risk_under_coverage(wrong, np.array([1.0, 4.0, 3.0, 2.0])) == pytest.approx(best)
    # Who cannot tell them apart is half wrong at every coverage.
    assert risk_under_coverage(wrong, np.ones(4)) == pytest.approx(0.5)


def test_the_demos_model_is_trained_anew_for_other_settings(tmp_path, monkeypatch):
    """The training itself takes minutes."""
    trained = []

    def train(config, folder, *_):
        assert not (folder / "model").exists(), "nothing of another model is left"
        trained.append(config.training.epochs)
        path = folder / "model" / card.FILE
        path.parent.mkdir(parents=True)
        path.write_text("{}")

    monkeypatch.setattr(_verdicts_real, "train", train)
    config = load_config("demo")
    for epochs in (2, 2, 3):
        changed = config.replace(training=config.training.replace(epochs=epochs))
        model = demo_model(changed, Crops(tmp_path, tmp_path), tmp_path / "demo-model")
        assert model == tmp_path / "demo-model" / "model"
    assert trained == [2, 3]
