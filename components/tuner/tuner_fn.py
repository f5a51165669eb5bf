"""The Tuner node's function: short trainings that look for better values, by Keras Tuner."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, NoReturn

import keras_tuner
from tfx.components.tuner.component import TunerFnResult

from components.trainer.callbacks import NonFiniteTraining, Validation
from components.trainer.setup import make_training, open_crops, read_config
from components.tuner.config import TunerConfig
from preprocessing.support import progress
from preprocessing.support.errors import UsageError

if TYPE_CHECKING:
    from keras_tuner.engine.trial import Trial
    from tfx.components.trainer.fn_args_utils import FnArgs

_LOG = logging.getLogger(__name__)

OBJECTIVE = "val_clip_auc"
# The AUC of a trial whose loss or logits became NaN or infinite.
_WORST = 0.0


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Prepares the search.

    Args:
      fn_args: of TFX's Tuner: `train_files`, `eval_files`, `transform_graph_path`, `working_dir`,
        and `custom_config`: `model`, `training` without `epochs`, `seed`, `metadata` with
        `extraction` alone, `weights` and `code`, as of the Trainer, and `tuner` (a section of the
        configuration).

    Returns:
      The search, and nothing else that it needs.

    Raises:
      UsageError: a value of the section is wrong. What a trial refuses, the search raises as
        FatalError with the UsageError as its cause, see `Search.run_trial`.
    """
    config = TunerConfig.from_dict(fn_args.custom_config["tuner"], key="tuner")
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        objective=keras_tuner.Objective(OBJECTIVE, "max"),
        max_trials=config.trials,
        # Half of the trials are drawn at random, before a model of the results chooses.
        num_initial_points=max(1, math.ceil(config.trials / 2)),
        hyperparameters=search_space(config),
        tune_new_entries=False,
        # A trial that fails has a cause that others share: wrong data, too little memory.
        max_consecutive_failed_trials=1,
        seed=int(fn_args.custom_config.get("seed", 0)),
    )
    return TunerFnResult(
        tuner=Search(fn_args, config, oracle=oracle, directory=fn_args.working_dir, overwrite=True),
        fit_kwargs={},
    )


def search_space(config: TunerConfig) -> keras_tuner.HyperParameters:
    """What is searched; the names are those of keys in `model` and `training`.

    Keys that are not searched are left out, so that a trial keeps the configuration's value.
    """
    space = keras_tuner.HyperParameters()
    low, high = config.learning_rate
    if low < high:
        space.Float("learning_rate", low, high, sampling="log")
    else:
        space.Fixed("learning_rate", low)
    low, high = config.dropout
    if low < high:
        space.Float("dropout", low, high)
    else:
        space.Fixed("dropout", low)
    if config.unfreeze_from:
        space.Choice("unfreeze_from", list(config.unfreeze_from))
    space.Choice("augmentation", list(config.augmentation))
    return space


class Search(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs each trial as a training of its own, the Trainer's but for its values and its epochs.

    Args:
      fn_args: see `tuner_fn`.
      config: the section `tuner`.
      **kwargs: of Keras Tuner's BaseTuner.
    """

    def __init__(self, fn_args: FnArgs, config: TunerConfig, **kwargs: Any):
        # Before the base class, which calls `reload` or sets up folders.
        self._fn_args = fn_args
        self._config = config
        self._done = 0
        super().__init__(**kwargs)

    def run_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Trains with a trial's values; returns the best epoch's AUC per clip of val.

        Values with which the loss or a logit becomes NaN or infinite have the worst AUC.

        Raises:
          keras_tuner.errors.FatalError: alone ends a search with its cause. The UsageError is one
            of `components.trainer.setup` or `Training.run`; or val lacks a class, so that no AUC
            says which trial is the best.
        """
        try:
            return {OBJECTIVE: self._auc(trial)}
        except NonFiniteTraining as error:
            _LOG.warning("trial %d: %s", self._done, error)
            return {OBJECTIVE: _WORST}
        except UsageError as error:
            raise keras_tuner.errors.FatalError(str(error)) from error

    def _auc(self, trial: Trial) -> float:
        values = trial.hyperparameters.values
        self._done += 1
        text = ", ".join(f"{name} {value}" for name, value in values.items())
        progress.report("tune", self._done, self._config.trials, text)
        settings = self._fn_args.custom_config
        model_config, training_config = read_config(settings, values)
        training_config = training_config.replace(epochs=self._config.epochs)
        seed = int(settings.get("seed", 0))
        with open_crops(self._fn_args, training_config, seed) as crops:
            training, _ = make_training(self._fn_args, crops, model_config, training_config, seed)
            validation = Validation.of(training.run(), crops[1].table)
        if math.isnan(validation.clip_auc):
            raise UsageError(
                "tuner: the val split lacks real or fake clips, so no AUC says which values are "
                "better; give it both, or set tuner.enabled=false"
            )
        return validation.clip_auc

    def load_model(self, trial: Trial) -> NoReturn:
        """Not used: the Trainer trains anew with the best values."""
        raise NotImplementedError("trials keep no model; the Trainer trains with the best values")
