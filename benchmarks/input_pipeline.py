"""Training fed from records with augmentation, against the same steps on tensors in memory.

    python -m benchmarks.input_pipeline [--quick]

NASNetMobile trains on the crops of real clips where DEEPFAKE_TEST_MEDIA names some, else on the
demo's: TFRecords -> CropStore -> Transform graph -> augmentation `standard` -> one compiled step,
the one that `fit` runs. The same step on a batch that lies in memory is what feeding can reach at
best. The two take turns in one process, because other work on a machine comes and goes.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks._crops import Crops, extract_crops, make_crops
from benchmarks._harness import Figure, finish, media, parser
from components.trainer.config import ModelConfig, TrainingConfig, image_size_of
from preprocessing.datasets.demo_config import DemoConfig

if TYPE_CHECKING:
    import keras

    from components.trainer.crop_store import CropStore
    from components.trainer.export import Detector

BACKBONE = "nasnet_mobile"
BATCH = 16
AUGMENTATION = "standard"
# What takes the input's time: `none` is reading, decoding and resizing alone.
STRENGTHS = ("none", "light", "standard", "strong")
# Steps at the start of a turn that are not counted: the fed side's buffers filled while the other
# one worked, and go on doing so at its expense.
WARM = 3


def main() -> None:
    """Measures, and prints what was found."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    turns, steps = (4, 4) if options.quick else (12, 6)
    batches = 8 if options.quick else 30
    with tempfile.TemporaryDirectory() as folder:
        crops = _crops(Path(folder))
        figures = measure(crops, turns, steps, batches)
    finish("input_pipeline", figures)


def _crops(folder: Path) -> Crops:
    size = image_size_of(ModelConfig(backbone=BACKBONE))
    if clips := media("faceforensics_mini"):
        return extract_crops(folder, clips, "faceforensics", frames=4, image_size=size)
    demo = DemoConfig(train_identities=24, val_identities=2, test_identities=2)
    return make_crops(folder, demo, frames=4, image_size=size)


def measure(crops: Crops, turns: int, steps: int, batches: int) -> dict[str, Figure]:
    """All figures.

    Args:
      crops: to train on.
      turns: of each side.
      steps: of a turn.
      batches: over which the input alone is measured.
    """
    import tensorflow_transform as tft

    from components.trainer.crop_store import CropStore
    from components.trainer.export import Detector
    from components.trainer.model import build_model
    from components.trainer.training import without_grappler

    model = build_model(ModelConfig(backbone=BACKBONE, weights="none"))
    detector = Detector(model, tft.TFTransformOutput(str(crops.transform_graph)))
    with CropStore(crops.files("train"), "train") as store, without_grappler():
        sizes = [len(crop) for crop in store.read(np.arange(len(store.table)))]
        print(f"{len(sizes)} crops of {np.mean(sizes) / 1024:.0f} KiB, {os.cpu_count()} cores")
        fed = _batches(store, detector, AUGMENTATION)
        synthetic = tf.data.Dataset.from_tensors(next(iter(fed))).repeat()
        seconds = _take_turns(model, {"synthetic": synthetic, "fed": fed}, turns, steps)
        print(f"\n{'input alone':12}{'images/s':>9}{'CPU ms an image':>17}")
        rates = {}
        for strength in STRENGTHS:
            rates[strength], cpu = _alone(_batches(store, detector, strength), batches)
            print(f"{strength:12}{rates[strength]:>9.0f}{1000 * cpu:>17.2f}", flush=True)
    # Of turns that are neighbours: what else the machine does is much the same for both.
    ratios = np.divide(seconds["synthetic"], seconds["fed"])
    print(f"\nratios of the turns: {' '.join(f'{ratio:.3f}' for ratio in sorted(ratios))}")
    return {
        "fed_over_synthetic_step_rate": Figure(float(np.median(ratios)), ">= 0.95"),
        "input_images_per_second": Figure(rates[AUGMENTATION]),
        "fed_images_per_second": Figure(BATCH / float(np.median(seconds["fed"]))),
        "synthetic_images_per_second": Figure(BATCH / float(np.median(seconds["synthetic"]))),
    }


def _batches(store: CropStore, detector: Detector, strength: str) -> tf.data.Dataset:
    """The training input, its static shape that of a batch in memory."""
    from components.trainer.input import training_dataset
    from components.trainer.sampling import build_sampler

    sampler = build_sampler(store.table, TrainingConfig(batch_size=BATCH), seed=1)
    dataset = training_dataset(store, sampler, detector.pixels, strength, seed=1)
    shapes = [[BATCH, *spec.shape[1:]] for spec in dataset.element_spec]
    return dataset.map(lambda *both: tuple(map(tf.ensure_shape, both, shapes)))


def _take_turns(
    model: keras.Model, sides: dict[str, tf.data.Dataset], turns: int, steps: int
) -> dict[str, list[float]]:
    """Seconds of a step, on average over each turn, by side."""
    import keras

    from components.trainer.model import prepare_phase
    from components.trainer.optimizer import build_optimizer

    training = TrainingConfig()
    prepare_phase(model, False, "momentum", training.batch_norm_momentum)
    model.compile(
        build_optimizer(model, training.learning_rate, training.weight_decay),
        keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(sides["fed"], steps_per_epoch=1, verbose=0)
    # Traced once for both sides, since their elements have equal shapes.
    step = model.train_function
    iterators = {side: iter(dataset) for side, dataset in sides.items()}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(-1, turns):
        for side, iterator in iterators.items():
            for _ in range(WARM):
                float(step(iterator)["loss"])
            start = time.perf_counter()
            for _ in range(steps):
                # A number: without it the next step would be started before this one's end.
                float(step(iterator)["loss"])
            if turn >= 0:
                seconds[side].append((time.perf_counter() - start) / steps)
    return seconds


def _alone(dataset: tf.data.Dataset, batches: int) -> tuple[float, float]:
    """Images a second, and seconds of CPU time an image."""
    iterator = iter(dataset)
    for _ in range(WARM):
        next(iterator)
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        next(iterator)
    images = batches * BATCH
    return images / (time.perf_counter() - start), (time.process_time() - cpu) / images


if __name__ == "__main__":
    main()
