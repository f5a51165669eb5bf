"""Callbacks of `fit`: learning rate, validation, progress."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from components.trainer.crop_store import CropTable
from components.trainer.hardware import inner_optimizer, learning_rate
from preprocessing.support import progress
from preprocessing.support.errors import UsageError
from serving.model.aggregation import aggregate

# Seconds between two lines of progress.
_REPORT_EVERY = 5.0


class NonFiniteTraining(UsageError):
    """The loss of a training, or a logit of its network, is NaN or infinite."""


def warmup_cosine(step: int, steps: int, peak: float, warmup_fraction: float) -> float:
    """A rate that rises linearly, then falls to zero along a cosine (Loshchilov, Hutter, 2017).

    Args:
      step: number of the step, from 0.
      steps: steps in all.
      peak: highest rate.
      warmup_fraction: share of the steps with a rising rate.

    Returns:
      The rate of this step; above zero for every step below `steps`.
    """
    warmup = round(steps * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def warmup_constant(step: int, steps: int, peak: float, warmup_fraction: float) -> float:
    """A rate that rises linearly and stays; arguments as of `warmup_cosine`."""
    return peak * min(1.0, (step + 1) / (round(steps * warmup_fraction) + 1))


class RateSchedule(keras.callbacks.Callback):
    """Sets the optimizer's rate before every step.

    A schedule inside the graph could not be changed to rate zero for recalibration without
    tracing the training step again.

    Args:
      rate: from number of the step to rate.
      start: number of the first step.
    """

    def __init__(self, rate: Callable[[int], float], start: int = 0):
        super().__init__()
        self._rate = rate
        self._step = start

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the rate of the step that begins."""
        inner_optimizer(self.model).learning_rate = self._rate(self._step)
        self._step += 1


@dataclasses.dataclass(frozen=True)
class Validation:
    """How well logits fit the labels of a split; the AUCs are NaN where a class is missing.

    Attributes:
      loss: mean binary cross-entropy per crop.
      accuracy: per crop, at logit 0.
      auc: area under the ROC curve, per crop.
      clip_accuracy: accuracy per clip, at logit 0.
      clip_auc: area under the ROC curve, per clip.
    """

    loss: float
    accuracy: float
    auc: float
    clip_accuracy: float
    clip_auc: float

    @classmethod
    def of(cls, logits: np.ndarray, table: CropTable) -> Validation:
        """Measures logits [crops]; clips are scored by `serving.model.aggregation`.

        Raises:
          NonFiniteTraining: a logit is NaN or infinite.
        """
        from sklearn.metrics import roc_auc_score

        labels = table.labels
        if not np.isfinite(logits).all():
            broken = ~np.isfinite(logits)
            name = table.clip_names[table.clips[np.argmax(broken)]].decode(errors="replace")
            raise NonFiniteTraining(
                f"{broken.sum()} of {len(logits)} logits of val's crops are NaN or infinite, the "
                f"first of them in {name}; lower training.learning_rate or set training.clip_norm"
            )
        clips = aggregate(logits, table.clips, table.tracks)
        clip_labels = table.clip_labels[clips.clips]

        def area(labels: np.ndarray, scores: np.ndarray) -> float:
            return float(roc_auc_score(labels, scores)) if len(np.unique(labels)) == 2 else math.nan

        return cls(
            loss=float(np.mean(np.logaddexp(0.0, logits) - labels * logits)),
            accuracy=float(np.mean((logits > 0) == labels)),
            auc=area(labels, logits),
            clip_accuracy=float(np.mean((clips.logits > 0) == clip_labels)),
            clip_auc=area(clip_labels, clips.logits),
        )


@dataclasses.dataclass(frozen=True)
class EpochCheckpoint:
    """The weights of an epoch, and what they measured.

    Attributes:
      validation: what it measured.
      weights: of the model.
      logits: float64 [crops], that the weights gave in validation.
    """

    validation: Validation
    weights: list[np.ndarray]
    logits: np.ndarray

    def arrays(self, name: str) -> dict[str, list[np.ndarray]]:
        """The arrays that `of` needs, under names that begin with `name`."""
        return {f"{name} weights": self.weights, f"{name} logits": [self.logits]}

    @classmethod
    def of(
        cls, name: str, arrays: dict[str, list[np.ndarray]], values: dict[str, Any]
    ) -> EpochCheckpoint:
        """The reverse of `arrays`; `values` are those of the validation."""
        (logits,) = arrays[f"{name} logits"]
        return cls(Validation(**values), arrays[f"{name} weights"], logits)


class BestEpoch(keras.callbacks.Callback):
    """Validates after every epoch, keeps the best weights, stops when nothing gets better.

    Best is the highest AUC per clip; of equal ones, and where the split has one class only, the
    lowest loss per crop. Patience counts epochs of this phase alone: one that begins to train other
    layers may fall behind the phase before it at first.

    Args:
      validate: measures the model's weights, and gives the logits too; may change statistics of
        batch normalisation.
      patience: epochs without improvement before training stops; 0 never stops.
      rows: each epoch appends a row for the history to it.
      phase: name of the phase, for the rows.
      earlier: the best epoch of the phases before; None where there are none.

    Attributes:
      phase: as given.
    """

    def __init__(
        self,
        validate: Callable[[], tuple[Validation, np.ndarray]],
        patience: int,
        rows: list[dict[str, Any]],
        phase: str,
        earlier: EpochCheckpoint | None = None,
    ):
        super().__init__()
        self._validate = validate
        self._patience = patience
        self._rows = rows
        self.phase = phase
        self._stale = 0
        self._earlier = earlier
        self._kept: EpochCheckpoint | None = None
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._started = time.monotonic()

    @property
    def finished(self) -> bool:
        """Whether early stopping has triggered: `patience` epochs without improvement."""
        return bool(self._patience) and self._stale >= self._patience

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measures the epoch, and keeps its weights where it is the best."""
        optimizer = inner_optimizer(self.model)
        rate = learning_rate(self.model)
        weights = None
        if optimizer.use_ema:
            weights = self.model.get_weights()
            optimizer.finalize_variable_values(self.model.trainable_variables)
        validation, logits = self._validate()
        if self._kept is None or _rank(validation) > _rank(self._kept.validation):
            self._stale = 0
            self._kept = EpochCheckpoint(validation, self.model.get_weights(), logits)
        else:
            self._stale += 1
            if self.finished:
                self.model.stop_training = True
        if weights is not None:
            self.model.set_weights(weights)
        self._rows.append(
            {
                "phase": self.phase,
                "epoch": len(self._rows) + 1,
                "steps": int(tf.convert_to_tensor(optimizer.iterations)),
                "learning_rate": rate,
                "loss": float(logs["loss"]),
                "accuracy": float(logs["accuracy"]),
                **{f"val_{key}": value for key, value in dataclasses.asdict(validation).items()},
                "seconds": round(time.monotonic() - self._started, 2),
            }
        )

    def restore(self, model: keras.Model) -> EpochCheckpoint:
        """Gives the model the weights of the best epoch of all phases so far; returns the epoch."""
        epochs = [epoch for epoch in (self._earlier, self._kept) if epoch is not None]
        # Of equal ones the first.
        best = max(epochs, key=lambda epoch: _rank(epoch.validation))
        model.set_weights(best.weights)
        return best

    def arrays(self) -> dict[str, list[np.ndarray]]:
        """The arrays that `load_state` needs."""
        earlier = self._earlier.arrays("earlier") if self._earlier else {}
        return {**cast("EpochCheckpoint", self._kept).arrays("best"), **earlier}

    def values(self) -> dict[str, Any]:
        """The plain values that `load_state` needs."""
        best, earlier = (
            dataclasses.asdict(epoch.validation) if epoch else None
            for epoch in (self._kept, self._earlier)
        )
        return {"stale": self._stale, "best": best, "earlier": earlier}

    def load_state(self, arrays: dict[str, list[np.ndarray]], values: dict[str, Any]) -> None:
        """Takes over the state of a BestEpoch of the same training; `rows` are the caller's."""
        self._stale = values["stale"]
        self._kept = EpochCheckpoint.of("best", arrays, values["best"])
        if values["earlier"]:
            self._earlier = EpochCheckpoint.of("earlier", arrays, values["earlier"])


class Progress(keras.callbacks.Callback):
    """Reports epoch, step, loss and validation, and stops where the loss is NaN or infinite.

    Args:
      phase: name of the phase, for the line.
      epochs: epochs of the phase.
      steps: steps per epoch.
      rows: of BestEpoch, which must stand before this callback.
      clips_of: what names the clips in the batch of a step of the phase.
    """

    def __init__(
        self,
        phase: str,
        epochs: int,
        steps: int,
        rows: list[dict[str, Any]],
        clips_of: Callable[[int], str],
    ):
        super().__init__()
        self._phase = phase
        self._epochs = epochs
        self._steps = steps
        self._rows = rows
        self._clips_of = clips_of
        self._epoch = 0
        self._done = 0
        self._reported = 0.0
        self._losses: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Reports that the first step is traced, which takes a while."""
        self._report("building the graph of the training step")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch's number."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Reports; refuses (NonFiniteTraining) a NaN or infinite loss."""
        self._done = self._epoch * self._steps + batch + 1
        # Not looked at here: a GPU would wait at every step.
        self._losses.append(logs["loss"])
        now = time.monotonic()
        last = batch + 1 == self._steps
        if not last and now - self._reported < _REPORT_EVERY:
            return
        losses = [float(loss) for loss in self._losses]
        for step, loss in enumerate(losses, batch + 1 - len(losses)):
            if not math.isfinite(loss):
                clips = self._clips_of(self._epoch * self._steps + step)
                raise NonFiniteTraining(
                    f"the loss became {loss} in phase {self._phase}, epoch {self._epoch + 1}, step "
                    f"{step + 1}, whose batch shows {clips}; lower training.learning_rate or set "
                    "training.clip_norm"
                )
        self._losses.clear()
        self._reported = now
        if not last:  # on_epoch_end reports the last one, with its validation.
            self._report(f"loss {losses[-1]:.4f}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Reports what validation found."""
        row = self._rows[-1]
        self._report(
            f"loss {row['loss']:.4f}, val loss {row['val_loss']:.4f}, val AUC per clip "
            f"{row['val_clip_auc']:.4f}"
        )

    def _report(self, detail: str) -> None:
        epoch = f"{self._phase} epoch {self._epoch + 1}/{self._epochs}, "
        progress.report("train", self._done, self._epochs * self._steps, epoch + detail)


def _rank(validation: Validation) -> tuple[float, float]:
    return 0.0 if math.isnan(validation.clip_auc) else round(
        validation.clip_auc, 6
    ), -validation.loss
