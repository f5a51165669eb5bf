"""The phases of training: the head alone, then all layers."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.trainer.callbacks import (
    BestEpoch,
    EpochCheckpoint,
    Progress,
    RateSchedule,
    Validation,
    warmup_constant,
    warmup_cosine,
)
from components.trainer.config import TrainingConfig
from components.trainer.crop_store import CropStore
from components.trainer.export import Detector
from components.trainer.hardware import out_of_memory, use_xla
from components.trainer.history import EpochSummaries
from components.trainer.input import evaluation_dataset, training_dataset
from components.trainer.model import prepare_phase, rate_factors
from components.trainer.optimizer import build_optimizer
from components.trainer.recalibration import Recalibration
from components.trainer.sampling import Sampler, build_sampler
from components.trainer.training_state import TrainingState

_LOG = logging.getLogger(__name__)

# The file of the network's weights as they were trained.
WEIGHTS = "network.weights.h5"
# The largest batch of inference: what follows from it is memory, not the result.
_EVALUATION_BATCH = 32
_HEAD, _ALL_LAYERS = "head", "all layers"
_SCHEDULES = {"cosine": warmup_cosine, "constant": warmup_constant}


class Training:
    """Trains a detector's network on one store and validates it on another.

    Args:
      model: of `build_model`, built in the scope of `strategy`.
      detector: the module around the model, or around `float32_model`.
      train: crops to learn from.
      val: crops that choose the epoch.
      config: how to train.
      seed: of sampling and augmentation.
      state: of this training; where a killed one left its state, training resumes from it.
      strategy: over which devices; None for a single one.
      log_dir: for TensorBoard; empty writes nothing.
      float32_model: where the model computes at lower precision, the same in float32: what is
        validated is then what will be exported.

    Attributes:
      history: one dict per epoch, see `BestEpoch`.
    """

    def __init__(
        self,
        model: keras.Model,
        detector: Detector,
        train: CropStore,
        val: CropStore,
        config: TrainingConfig,
        seed: int,
        state: TrainingState | None = None,
        strategy: tf.distribute.Strategy | None = None,
        log_dir: str = "",
        float32_model: keras.Model | None = None,
    ):
        self.history: list[dict[str, Any]] = []
        self._model = model
        self._detector = detector
        self._train = train
        self._val = val
        self._config = config
        self._seed = seed
        self._state = state or TrainingState("", "")
        self._strategy = strategy or tf.distribute.get_strategy()
        # One for both phases: it knows which rows are written.
        self._summaries = [EpochSummaries(log_dir, self.history)] if log_dir else []
        self._float32_model = float32_model

    def run(self) -> np.ndarray:
        """Trains; the model ends with the weights of its best epoch, of whichever phase.

        Returns:
          float64 [crops], the logits of the validation crops, not yet calibrated.

        Raises:
          NonFiniteTraining: a UsageError, the loss or a validation logit is NaN or infinite.
          UsageError: the memory is too small, or a name is wrong.
        """
        config = self._config
        stored = self._state.load()
        best: EpochCheckpoint | None = None
        with without_grappler(), self._strategy.scope():
            # A state of the phase after the head holds the head's best epoch.
            if config.head_epochs and not (stored and stored[1]["phase"] == _ALL_LAYERS):
                constant = lambda step, steps: config.head_learning_rate  # noqa: E731
                best = self._phase(_HEAD, config.head_epochs, constant, stored)
            schedule = _SCHEDULES[config.schedule]
            rate = lambda step, steps: schedule(  # noqa: E731
                step, steps, config.learning_rate, config.warmup_fraction
            )
            best = self._phase(_ALL_LAYERS, config.epochs, rate, stored, best)
        for summaries in self._summaries:
            # A training that was killed after its last epoch runs no other.
            summaries.write()
        self._copy_weights_to_float32()
        return best.logits

    def validation_logits(self) -> np.ndarray:
        """Logits of the validation crops, float64 [crops], in the store's order."""
        self._copy_weights_to_float32()
        crops = evaluation_dataset(self._val, self._detector.pixels, _EVALUATION_BATCH)
        logits = [self._detector.network(pixels)[0].numpy() for pixels in crops]
        return np.concatenate(logits).astype(np.float64)

    def save_weights(self, folder: str) -> None:
        """Writes the network's weights as they were trained, before they are folded for serving.

        Args:
          folder: gets `network.weights.h5`, which a model of `build_model` with the same
            configuration loads; may be remote.
        """
        self._copy_weights_to_float32()
        with tempfile.TemporaryDirectory() as local:
            path = f"{local}/{WEIGHTS}"
            (self._float32_model or self._model).save_weights(path)
            tf.io.gfile.makedirs(folder)
            tf.io.gfile.copy(path, f"{folder}/{WEIGHTS}", overwrite=True)

    def _copy_weights_to_float32(self) -> None:
        if self._float32_model is not None:
            self._float32_model.set_weights(self._model.get_weights())

    def _phase(
        self,
        name: str,
        epochs: int,
        rate: Callable[[int, int], float],
        stored: tuple[dict[str, list[np.ndarray]], dict[str, Any]] | None,
        earlier: EpochCheckpoint | None = None,
    ) -> EpochCheckpoint:
        """Trains; returns the best epoch of this phase and `earlier`, which the model ends with.

        Args:
          name: of the phase.
          epochs: of the phase.
          rate: gives the rate of a step of so many.
          stored: state to go on from, where it is of this phase.
          earlier: the best epoch of the phase before.
        """
        config, model = self._config, self._model
        # The number of epochs before tells the phases' draws apart.
        draws = 0 if name == _HEAD else config.head_epochs
        sampler = self._sampler(draws)
        steps = config.steps_per_epoch or sampler.steps_per_pass
        total = epochs * steps
        self._compile(name, rate(0, total))
        done = 0
        best = BestEpoch(lambda: validate(), config.patience, self.history, name, earlier)
        if stored and stored[1]["phase"] == name:
            done = self._restore(best, *stored)
            _LOG.info("phase %s goes on after epoch %d", name, done)
        recalibrate = self._recalibration(name, done)

        def validate() -> tuple[Validation, np.ndarray]:
            if recalibrate is not None:
                recalibrate()
            logits = self.validation_logits()
            return Validation.of(logits, self._val.table), logits

        callbacks = [
            RateSchedule(lambda step: rate(step, total), done * steps),
            best,
            Progress(name, epochs, steps, self.history, lambda step: self._clips_of(sampler, step)),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: self._save(best, epoch)),
        ]
        callbacks += self._summaries
        if not best.finished:
            try:
                model.fit(
                    self._batches(draws, done * steps),
                    epochs=epochs,
                    initial_epoch=done,
                    steps_per_epoch=steps,
                    callbacks=callbacks,
                    verbose=0,
                )
            except tf.errors.ResourceExhaustedError as error:
                raise out_of_memory(config.batch_size, error) from error
        checkpoint = best.restore(model)
        _LOG.info("after phase %s the best epoch has %s", name, checkpoint.validation)
        return checkpoint

    def _recalibration(self, phase: str, done: int) -> Recalibration | None:
        """What follows each epoch of a phase, of which some are done; None where nothing does."""
        steps = self._config.recalibration_steps
        if phase == _HEAD or self._config.batch_norm != "momentum" or not steps:
            return None
        return Recalibration(self._model, iter(self._batches(-1, done * steps)), steps)

    def _compile(self, phase: str, rate: float) -> None:
        config, model = self._config, self._model
        prepare_phase(
            model,
            phase == _HEAD,
            config.batch_norm,
            config.batch_norm_momentum,
            config.unfreeze_from,
        )
        optimizer = build_optimizer(
            model,
            rate,
            config.weight_decay,
            config.clip_norm,
            config.ema_momentum,
            rate_factors(model, config.layer_decay) if config.layer_decay < 1 else None,
        )
        model.compile(
            optimizer,
            keras.losses.BinaryCrossentropy(
                from_logits=True, label_smoothing=config.label_smoothing
            ),
            metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
            # "auto", the default, would use XLA on a CPU too, which compiles NASNet for minutes.
            jit_compile=use_xla(config),
        )
        # Keras may have wrapped it for float16; what it adds must be there before `fit`, too.
        model.optimizer.build(model.trainable_variables)

    def _sampler(self, draws: int) -> Sampler:
        return build_sampler(self._train.table, self._config, self._draw_seed(draws))

    def _batches(self, draws: int, start: int) -> tf.data.Dataset:
        dataset = training_dataset(
            self._train,
            self._sampler(draws),
            self._detector.pixels,
            self._config.augmentation,
            self._draw_seed(draws),
            start,
        )
        return self._strategy.experimental_distribute_dataset(dataset)

    def _draw_seed(self, draws: int) -> int:
        # SeedSequence mixes; neighbouring seeds and phases have nothing in common.
        return int(np.random.SeedSequence([self._seed, draws + 1]).generate_state(1)[0] >> 1)

    def _clips_of(self, sampler: Sampler, step: int) -> str:
        """Names some clips that the batch of a step shows."""
        batch = next(sampler.batches(step))
        table = self._train.table
        crops = np.where(batch < 0, -1 - batch, batch)  # Pseudo-fakes have their original's name.
        names = sorted({name.decode() for name in table.clip_names[table.clips[crops]]})
        others = f" and {len(names) - 4} more" if len(names) > 4 else ""
        return ", ".join(names[:4]) + others

    def _save(self, best: BestEpoch, epoch: int) -> None:
        model = self._model
        self._state.save(
            {
                "model": [variable.numpy() for variable in model.variables],
                "optimizer": [variable.numpy() for variable in model.optimizer.variables],
                **best.arrays(),
            },
            {"phase": best.phase, "epochs": epoch + 1, "rows": self.history, **best.values()},
        )

    def _restore(
        self, best: BestEpoch, arrays: dict[str, list[np.ndarray]], values: dict[str, Any]
    ) -> int:
        """Brings everything to where the state was saved; returns the epochs that were done."""
        for name, owner in (("model", self._model), ("optimizer", self._model.optimizer)):
            for variable, value in zip(owner.variables, arrays[name], strict=True):
                variable.assign(value)
        self.history[:] = values["rows"]
        best.load_state(arrays, values)
        return values["epochs"]


@contextlib.contextmanager
def without_grappler() -> Iterator[None]:
    """Skips grappler, which works longer on NASNet's graph than its result saves.

    Measured for NASNetMobile: 38 of 85 seconds to the first step, and no faster steps.
    """
    disabled = tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": disabled})
