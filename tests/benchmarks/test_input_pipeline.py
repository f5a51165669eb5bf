"""The benchmark of the training input on a tiny network: what it measures is there."""

import pytest

from benchmarks import input_pipeline
from benchmarks._crops import make_crops
from preprocessing.datasets.demo_config import DemoConfig

# Makes data and trains.
pytestmark = pytest.mark.integration


def test_measures_both_sides_and_the_input_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(input_pipeline, "BACKBONE", "tiny")
    crops = make_crops(
        tmp_path,
        DemoConfig(train_identities=3, val_identities=1, test_identities=1),
        frames=2,
        image_size=64,
    )
    figures = input_pipeline.measure(crops, turns=2, steps=2, batches=2)
    assert figures["fed_over_synthetic_step_rate"].goal == ">= 0.95"
    assert all(figure.value > 0 for figure in figures.values())
    assert "standard" in capsys.readouterr().out

    marker = (tmp_path / "done.txt").stat().st_mtime_ns
    assert (
        make_crops(
            tmp_path,
            DemoConfig(train_identities=3, val_identities=1, test_identities=1),
            frames=2,
            image_size=64,
        )
        == crops
    )
    assert (tmp_path / "done.txt").stat().st_mtime_ns == marker, "made again"
