"""NASNetLarge at 331 pixels through the whole pipeline: a few steps, and what comes of them."""

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from e2e.workspace import Workspace
from trainer_workbench import load_network

from components.trainer.model import batch_norms
from preprocessing.datasets.demo import make_demo_data
from serving.model import card

pytestmark = pytest.mark.slow

# As few crops as have both classes in every split; two steps, one of them with gradients only
# just begun. The network is the one of the presets, with batch statistics learnt from scratch.
_LARGE = (
    "data.demo.train_identities=3",
    "data.demo.val_identities=1",
    "data.demo.test_identities=2",
    "extraction.frames_per_clip=1",
    "model.backbone=nasnet_large",
    "model.input=rgb",
    "training.batch_size=4",
    "training.steps_per_epoch=2",
    "training.recalibration_steps=1",
)


@pytest.mark.timeout(1800)
def test_trains_exports_loads_and_scores(tmp_path, capsys):
    space = Workspace(tmp_path / "data", tmp_path / "out", _LARGE)
    make_demo_data(space.data, space.config().data.demo)
    started = time.monotonic()
    status, summary = space.run()
    seconds = time.monotonic() - started
    assert status == 0
    pushed = Path(summary["pushed"])
    metadata = card.read(pushed)
    assert metadata.backbone == "nasnet_large"
    assert metadata.input_size == 331

    began = time.monotonic()
    model = tf.saved_model.load(str(pushed))
    loading = time.monotonic() - began
    parameters = sum(int(np.prod(v.shape)) for v in model.model_variables)
    artifacts = Path(summary["report"]).parents[2]
    (model_run,) = artifacts.glob("Trainer/model_run/*")
    network = load_network(model_run, space.config().model)
    # 84,916,818 of the network without its top, 4,032 features and one bias of the head.
    assert network.count_params() == 84_916_818 + 4_032 + 1
    # Of the four values a channel of batch normalisation one is left, the bias that it became.
    normalised = sum(layer.gamma.shape[0] for layer in batch_norms(network))
    assert parameters == network.count_params() - 3 * normalised

    examples = Path(summary["report"]).parents[1] / "examples"
    files = sorted(map(str, examples.glob("*/Split-test/*.gz")))
    records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    began = time.monotonic()
    answer = model.signatures["serving_examples"](examples=tf.constant(records))
    scoring = time.monotonic() - began
    scores = answer["score"].numpy()
    assert len(scores) == len(records) >= 4
    assert np.isfinite(scores).all()
    assert ((scores > 0) & (scores < 1)).all()
    assert _scores_of_the_evaluation(summary) == pytest.approx(sorted(scores), abs=1e-4)

    size = sum(path.stat().st_size for path in pushed.rglob("*") if path.is_file())
    with capsys.disabled():
        print(
            f"\nNASNetLarge 331: {parameters:,} parameters, {size / 2**20:.0f} MiB pushed; "
            f"pipeline {seconds:.0f} s, loading {loading:.0f} s, scoring {len(records)} crops "
            f"{scoring:.1f} s (the first time)"
        )


def _scores_of_the_evaluation(summary: dict) -> list[float]:
    """Scores of the test split's crops, as ClipEvaluator wrote them, sorted."""
    with (Path(summary["clip_evaluation"]) / "test_crops.csv").open() as file:
        return sorted(float(row["score"]) for row in csv.DictReader(file))
