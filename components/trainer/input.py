"""tf.data: from numbers of crops, through the Transform graph, to batches for the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from components.trainer.augmentation import augment
from components.trainer.crop_store import CropStore
from components.trainer.sampling import BalancedSampler
from preprocessing.face_example import FAKE, REAL

# encoded crops: string [batch] -> pixels: float32 [batch, size, size, 3]
Transform = Callable[[tf.Tensor], tf.Tensor]


def training_dataset(
    store: CropStore,
    sampler: BalancedSampler,
    transform: Transform,
    augmentation: str,
    seed: int,
    start: int = 0,
) -> tf.data.Dataset:
    """Endless batches of half real, half fake crops.

    Args:
      store: the crops.
      sampler: decides the batches.
      transform: decodes and scales.
      augmentation: name of a strength, see augmentation.py; a pair shares each draw.
      seed: of the augmentation.
      start: number of the first batch; it is the one that would have followed `start` others.

    Returns:
      A dataset of (float32 [batch, size, size, 3], float32 [batch, 1] with 1 = fake). The same
      store, sampler and seed give the same elements, however many threads work on them.
    """
    numbers = tf.data.Dataset.from_generator(
        lambda: sampler.batches(start), output_signature=tf.TensorSpec([None], tf.int64)
    )

    def load(step, batch):
        pixels = augment(transform(_read(store, batch)), augmentation, tf.stack([seed, step]))
        half = tf.shape(batch)[0] // 2
        labels = tf.repeat([float(REAL), float(FAKE)], half)
        return pixels, labels[:, tf.newaxis]

    return numbers.enumerate(start).map(load, tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def evaluation_dataset(store: CropStore, transform: Transform, batch_size: int) -> tf.data.Dataset:
    """Every crop once, in the store's order, untouched.

    Returns:
      A dataset of float32 [batch, size, size, 3]; the last batch may be smaller.
    """
    numbers = tf.data.Dataset.range(len(store.table)).batch(batch_size)
    pixels = numbers.map(
        lambda batch: transform(_read(store, batch)), tf.data.AUTOTUNE, deterministic=True
    )
    return pixels.prefetch(2)


def _read(store: CropStore, numbers: tf.Tensor) -> tf.Tensor:
    encoded = tf.numpy_function(
        lambda batch: np.array(store.read(batch), object), [numbers], tf.string
    )
    return tf.ensure_shape(encoded, [None])
