"""Input pipeline (tf.data): from numbers of crops, through the Transform graph, to batches."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from components.trainer.augmentation import augment
from components.trainer.crop_store import CropStore
from components.trainer.pseudo_fakes import encoded_pair
from components.trainer.sampling import Sampler
from preprocessing.extraction.face_example import FAKE

# Seconds without a call into Python after which a dataset has filled its buffers, and seconds after
# which an ending process waits no longer for that.
_QUIET, _PATIENCE = 1.0, 10.0

# Traced once for all datasets of a strength: the two phases of a training, the trials of a tuner.
_augment = tf.function(augment, autograph=False)

# encoded crops: string [batch] -> pixels: float32 [batch, size, size, 3]
Transform = Callable[[tf.Tensor], tf.Tensor]


def training_dataset(
    store: CropStore,
    sampler: Sampler,
    transform: Transform,
    augmentation: str,
    seed: int,
    start: int = 0,
) -> tf.data.Dataset:
    """Endless augmented batches.

    Args:
      store: the crops.
      sampler: decides the batches. With a paired one real and fake crops alternate, so that the
        parts of a batch that is divided among replicas hold whole pairs.
      transform: decodes and scales.
      augmentation: name of a strength, see augmentation.py; a pair shares each draw.
      seed: of the augmentation and the pseudo-fakes.
      start: number of the first batch. A training that goes on after `start` steps sees what it
        would have seen; the crops before are not read.

    Returns:
      A dataset of (float32 [batch, size, size, 3], float32 [batch, 1] with 1 = fake), and float32
      [batch] sample weights as a third where the sampler has weights. The same store, sampler and
      seed give the same elements, however many threads work on them.
    """
    numbers = tf.data.Dataset.from_generator(
        lambda: sampler.batches(start), output_signature=tf.TensorSpec([None], tf.int64)
    )

    def fetch(step: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        crops = np.where(batch < 0, -1 - batch, batch)
        labels = np.where(batch < 0, FAKE, store.table.labels[crops])
        weights = np.ones(len(batch)) if sampler.weights is None else sampler.weights[labels]
        encoded = _encoded(store, batch, [seed, int(step)])
        landmarks = store.landmarks(crops)
        return encoded, landmarks, labels.astype(np.float32), weights.astype(np.float32)

    # AutoGraph would rewrite the source of all libraries that are called, for half a minute.
    @tf.autograph.experimental.do_not_convert
    def load(step: tf.Tensor, batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        encoded, landmarks, labels, weights = tf.numpy_function(
            _calls.count(fetch), [step, batch], [tf.string, tf.float32, tf.float32, tf.float32]
        )
        pixels = transform(tf.ensure_shape(encoded, [None]))
        landmarks = tf.ensure_shape(landmarks, [None, 5, 2])
        draw_seed = tf.stack([seed, step])
        pixels = _augment(pixels, augmentation, draw_seed, sampler.paired, landmarks)
        labels = tf.ensure_shape(labels, [None])[:, tf.newaxis]
        if sampler.weights is None:
            return pixels, labels
        return pixels, labels, tf.ensure_shape(weights, [None])

    steps = numbers.enumerate(start)
    return steps.map(load, tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def evaluation_dataset(store: CropStore, transform: Transform, batch_size: int) -> tf.data.Dataset:
    """Every crop once, in the store's order, untouched.

    Returns:
      A dataset of float32 [batch, size, size, 3]; the last batch may be smaller.
    """

    def fetch(batch: np.ndarray) -> np.ndarray:
        return np.array(store.read(batch), object)

    @tf.autograph.experimental.do_not_convert
    def load(batch: tf.Tensor) -> tf.Tensor:
        return transform(
            tf.ensure_shape(tf.numpy_function(_calls.count(fetch), [batch], tf.string), [None])
        )

    numbers = tf.data.Dataset.range(len(store.table)).batch(batch_size)
    return numbers.map(load, tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def _encoded(store: CropStore, batch: np.ndarray, seed: list[int]) -> np.ndarray:
    """The encoded crops of a batch; a pseudo-fake stands behind the real crop it is made of."""
    pseudo = np.flatnonzero(batch < 0)
    encoded = np.empty(len(batch), object)
    plain = np.setdiff1d(np.arange(len(batch)), pseudo)
    encoded[plain] = store.read(batch[plain])
    for place, landmarks in zip(pseudo, store.landmarks(batch[pseudo - 1]), strict=True):
        rng = np.random.default_rng([*seed, int(place)])
        encoded[[place - 1, place]] = encoded_pair(
            encoded[place - 1], landmarks, rng, store.extraction.jpeg_quality
        )
    return encoded


class _Calls:
    """Knows when datasets call into Python.

    A process that ends (an error, an interrupt) while a dataset is filling its buffers would be
    aborted, or hang: TensorFlow's threads would call into an interpreter that is gone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._last = -_QUIET
        atexit.register(self.settle)

    def count(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its calls counted."""

        def counted(*arguments: Any) -> Any:
            with self._lock:
                self._running += 1
            try:
                return function(*arguments)
            finally:
                with self._lock:
                    self._running -= 1
                    self._last = time.monotonic()

        return counted

    def settle(self) -> None:
        """Returns when all buffers are full; at once where no dataset was read a moment ago."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and (self._running or time.monotonic() - self._last < _QUIET):
            time.sleep(0.02)


_calls = _Calls()
