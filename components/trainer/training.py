"""The phases of training: the head alone, then all layers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.trainer.callbacks import (
    BestEpoch,
    Progress,
    RateSchedule,
    Validation,
    warmup_cosine,
)
from components.trainer.crop_store import CropStore
from components.trainer.export import Detector
from components.trainer.input import evaluation_dataset, training_dataset
from components.trainer.model import prepare_phase
from components.trainer.optimizer import build_optimizer
from components.trainer.recalibration import Recalibration
from components.trainer.sampling import build_sampler
from pipeline.config import TrainingConfig

_LOG = logging.getLogger(__name__)

# The largest batch of inference: what follows from it is memory, not the result.
_EVALUATION_BATCH = 32


class Training:
    """Trains a detector's network on one store and validates it on another.

    Args:
      model: of `build_model`.
      detector: the module around the model.
      train: crops to learn from.
      val: crops that choose the epoch.
      config: how to train.
      seed: of sampling and augmentation.

    Attributes:
      rows: the history, one dict per epoch.
    """

    def __init__(
        self,
        model: keras.Model,
        detector: Detector,
        train: CropStore,
        val: CropStore,
        config: TrainingConfig,
        seed: int,
    ):
        self._model = model
        self._detector = detector
        self._train = train
        self._val = val
        self._config = config
        self._seed = seed
        self.rows: list[dict[str, Any]] = []

    def run(self) -> np.ndarray:
        """Trains; the model ends with the weights of its best epoch.

        Returns:
          float64 [crops], the logits of the validation crops, not yet calibrated.
        """
        config = self._config
        with fast_graphs():
            if config.head_epochs:
                self._phase("head", config.head_epochs, lambda step, _: config.head_learning_rate)
            return self._phase(
                "all layers",
                config.epochs,
                lambda step, steps: warmup_cosine(
                    step, steps, config.learning_rate, config.warmup_fraction
                ),
            )

    def validation_logits(self) -> np.ndarray:
        """Logits of the validation crops, float64 [crops], in the store's order."""
        crops = evaluation_dataset(self._val, self._detector.pixels, _EVALUATION_BATCH)
        logits = [self._detector.raw_logits(pixels).numpy() for pixels in crops]
        return np.concatenate(logits).astype(np.float64)

    def _phase(self, name: str, epochs: int, rate: Callable[[int, int], float]) -> np.ndarray:
        """Trains; `rate` gives the rate of a step of so many. Returns what `run` does."""
        config, model = self._config, self._model
        prepare_phase(model, name == "head", config.batch_norm, config.batch_norm_momentum)
        batches, pass_steps = self._batches(phase=len(self.rows))
        steps = config.steps_per_epoch or pass_steps
        total = epochs * steps
        optimizer = build_optimizer(
            model, rate(0, total), config.weight_decay, config.clip_norm, config.ema_momentum
        )
        model.compile(
            optimizer,
            keras.losses.BinaryCrossentropy(
                from_logits=True, label_smoothing=config.label_smoothing
            ),
            metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
            # XLA on a CPU compiles NASNet for minutes; "auto", the default, would use it.
            jit_compile=False,
        )
        learns_statistics = name != "head" and config.batch_norm == "momentum"
        recalibrate = None
        if learns_statistics and config.recalibration_steps:
            fresh = iter(self._batches(phase=-1)[0])
            recalibrate = Recalibration(model, fresh, config.recalibration_steps)

        def validate() -> tuple[Validation, np.ndarray]:
            if recalibrate is not None:
                recalibrate()
            logits = self.validation_logits()
            return Validation.of(logits, self._val.table), logits

        best = BestEpoch(validate, config.patience, self.rows, name)
        callbacks = [
            RateSchedule(lambda step: rate(step, total)),
            best,
            Progress(name, epochs, steps, self.rows),
        ]
        model.fit(batches, epochs=epochs, steps_per_epoch=steps, callbacks=callbacks, verbose=0)
        logits = best.restore()
        _LOG.info("phase %s: best epoch has %s", name, best.best)
        return logits

    def _batches(self, phase: int) -> tuple[tf.data.Dataset, int]:
        # SeedSequence mixes; neighbouring seeds and phases have nothing in common.
        seed = int(np.random.SeedSequence([self._seed, phase + 1]).generate_state(1)[0] >> 1)
        sampler = build_sampler(self._train.table, self._config, seed)
        dataset = training_dataset(
            self._train, sampler, self._detector.pixels, self._config.augmentation, seed
        )
        return dataset, sampler.steps_per_pass


@contextlib.contextmanager
def fast_graphs() -> Iterator[None]:
    """Skips grappler, which works longer on NASNet's graph than its result saves.

    Measured for NASNetMobile: 38 of 85 seconds to the first step, and no faster steps.
    """
    before = tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})
