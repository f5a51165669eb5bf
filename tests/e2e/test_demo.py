"""The demo as the README runs it: a gate passed on merit.

`python -m benchmarks.demo_seeds` repeats it on three seeds.
"""

from pathlib import Path

import numpy as np
import pytest
from trainer_workbench import load_network, losses_by_mode

from components.trainer.crop_store import CropStore
from components.trainer.model import batch_norms, build_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def test_pushes_a_model_with_auc_over_the_gate(demo):
    config, status, summary = demo
    print(summary["metrics"])
    assert config.evaluation.gate.min_auc >= 0.80
    assert config.model.backbone == "nasnet_mobile"
    assert status == 0
    assert summary["metrics"]["auc"] >= 0.80
    assert summary["pushed"]


def test_losses_in_training_and_inference_mode_agree(demo):
    """On the same crops, in batches of the demo's size: batch statistics against moving ones.

    NASNet from scratch, with Keras' own momentum for the moving ones, would be far off.
    """
    config, _, summary = demo
    examples = Path(summary["report"]).parents[1] / "examples"
    (model_run,) = Path(summary["report"]).parents[2].glob("Trainer/model_run/*")
    network = load_network(model_run, config.model)
    with CropStore([str(examples / "*" / "Split-train" / "*.gz")], "train") as store:
        rng, labels = np.random.default_rng(0), store.table.labels
        sides = [rng.choice(np.flatnonzero(labels == label), (4, 8), False) for label in (0, 1)]
        batches = [(store.read(numbers), labels[numbers]) for numbers in np.hstack(sides)]
    training, inference = losses_by_mode(network, batches)
    print(f"loss in training mode {training:.3f}, in inference mode {inference:.3f}")
    assert abs(training - inference) < 0.15

    # What the bound catches: the same weights with the statistics that a network begins with.
    begun = build_model(config.model)
    for layer, fresh in zip(batch_norms(network), batch_norms(begun), strict=True):
        layer.moving_mean.assign(fresh.moving_mean)
        layer.moving_variance.assign(fresh.moving_variance)
    training, inference = losses_by_mode(network, batches)
    print(f"with the first statistics {training:.3f} and {inference:.3f}")
    assert abs(training - inference) > 0.15
