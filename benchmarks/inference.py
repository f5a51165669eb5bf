"""Crops a second of the exported signature, against the Keras model as a `tf.function`.

    python -m benchmarks.inference [--quick]

Plain is what people write: `tf.function(lambda x: model(x, training=False))`, with its variables
and its batch normalisation, on pixels that lie in memory. Optimised is the signature
`serving_default` of what the Trainer exports of the same model, loaded from disk: it folds batch
normalisation, and besides decodes the crops and measures how familiar they look, which its time
includes. `network_over_plain_rate` compares its network alone, on the same pixels. Weights are
random, statistics of batch normalisation too; logits of both must be equal. The sides take turns,
because other work on a machine comes and goes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks._crops import make_transform_graph
from benchmarks._harness import Figure, finish, parser
from benchmarks.serving import make_crops
from components.trainer.config import ModelConfig, image_size_of
from components.trainer.export import Detector, export
from components.trainer.image_facts import FACTS
from components.trainer.model import build_model
from components.trainer.nearest_crop_distance import NearestCropDistance

NETWORKS = {"mobile": "nasnet_mobile", "large": "nasnet_large"}
BATCHES = (1, 16)
# Fewer than a training keeps, whose search for the nearest is small beside a network all the same.
_REFERENCES = 512


class Sides(NamedTuple):
    """What takes turns, and the inputs of it.

    Attributes:
      plain: pixels -> logits of the Keras model.
      network: pixels -> logits of the exported network.
      signature: encoded crops -> logits of the exported signature.
      pixels: encoded crops -> pixels.
      loaded: the exported model, which its functions do not keep alive.
    """

    plain: Callable[[tf.Tensor], tf.Tensor]
    network: Callable[[tf.Tensor], tf.Tensor]
    signature: Callable[[tf.Tensor], tf.Tensor]
    pixels: Callable[[tf.Tensor], tf.Tensor]
    loaded: Any


def main() -> None:
    """Measures, and prints what was found."""
    quick = parser(__doc__.splitlines()[0]).parse_args().quick
    figures: dict[str, Figure] = {}
    crops = make_crops(max(BATCHES))
    head = f"{'network':9}{'batch':>5}{'plain':>9}{'network':>9}{'signature':>11}"
    print(f"crops a second on {os.cpu_count()} cores\n{head}")
    for name in ["mobile"] if quick else NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            sides = make_sides(NETWORKS[name], Path(folder))
        for batch in BATCHES:
            turns = 5 if quick or (name, batch) == ("large", 16) else 15
            figures |= {
                f"{name}_{batch}_{figure}": value
                for figure, value in measure(name, sides, crops[:batch], turns).items()
            }
        keras.backend.clear_session()
    finish("inference", figures)


def make_sides(backbone: str, folder: Path) -> Sides:
    """Builds a network, exports it, and loads what was exported.

    Args:
      backbone: name of the network.
      folder: for what is exported, and may be deleted afterwards.
    """
    import tensorflow_transform as tft

    keras.utils.set_random_seed(1)
    config = ModelConfig(backbone=backbone, weights="none", input="rgb")
    size = image_size_of(config)
    model = build_model(config)
    rng = np.random.default_rng(1)
    spread_statistics(model, rng)
    make_transform_graph(folder / "graph", size)
    detector = Detector(model, tft.TFTransformOutput(str(folder / "graph")))
    features = model.get_layer("logit").input.shape[-1]
    detector.familiarity = NearestCropDistance(
        rng.normal(0, 1, (_REFERENCES, features)), rng.uniform(1, 50, (_REFERENCES, len(FACTS)))
    )
    export(detector, str(folder / "model"), {"backbone": backbone})
    loaded = tf.saved_model.load(str(folder / "model"))
    signature = loaded.signatures["serving_default"]
    spec = tf.TensorSpec((None, size, size, 3), tf.float32)
    return Sides(
        tf.function(lambda x: model(x, training=False)[:, 0], input_signature=[spec]),
        lambda x: loaded.network(x)[0],
        lambda encoded: signature(image=encoded)["logit"],
        detector.pixels,
        loaded,
    )


def spread_statistics(model: keras.Model, rng: np.random.Generator) -> None:
    """Gives each channel of batch normalisation statistics, scale and offset of its own."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            spread_statistics(layer, rng)
        elif isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = rng.normal(0, 0.1, (4, layer.gamma.shape[0]))
            layer.set_weights([1 + gamma, beta, mean, np.exp(variance)])


def measure(name: str, sides: Sides, crops: list[bytes], turns: int) -> dict[str, Figure]:
    """The figures of one network and batch.

    Args:
      name: of the network.
      sides: of `make_sides`.
      crops: the batch, encoded.
      turns: of each side.
    """
    encoded = tf.constant(crops)
    pixels = sides.pixels(encoded)
    runs: dict[str, Callable[[], tf.Tensor]] = {
        "plain": lambda: sides.plain(pixels),
        "network": lambda: sides.network(pixels),
        "signature": lambda: sides.signature(encoded),
    }
    # The first run of a batch size is not counted.
    logits = {side: run().numpy() for side, run in runs.items()}
    difference = max(float(np.abs(logits[side] - logits["plain"]).max()) for side in runs)
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    for _ in range(turns):
        for side, run in runs.items():
            start = time.perf_counter()
            run().numpy()
            seconds[side].append(time.perf_counter() - start)
    rate = {side: len(crops) / statistics.median(values) for side, values in seconds.items()}
    print(
        f"{name:9}{len(crops):>5}{rate['plain']:>9.1f}{rate['network']:>9.1f}"
        f"{rate['signature']:>11.1f}",
        flush=True,
    )
    # Of turns that are neighbours: what else the machine does is much the same for all.
    ratios = {side: np.median(np.divide(seconds["plain"], seconds[side])) for side in runs}
    return {
        "optimised_over_plain_rate": Figure(float(ratios["signature"]), ">= 1.2"),
        "network_over_plain_rate": Figure(float(ratios["network"])),
        "largest_difference_of_logits": Figure(difference, "<= 1e-4"),
        "optimised_crops_per_second": Figure(rate["signature"]),
    }


if __name__ == "__main__":
    main()
