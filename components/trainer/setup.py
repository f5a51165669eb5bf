"""Setup of Trainer and Tuner: from TFX's arguments to a Training that can run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.trainer.config import ModelConfig, TrainingConfig, check_training, needs_fakes
from components.trainer.crop_store import CropStore
from components.trainer.export import Detector
from components.trainer.hardware import build_strategy, check_batch_size, dtype_policy
from components.trainer.model import build_model
from components.trainer.pseudo_fakes import self_blended_split
from components.trainer.sampling import check_crops
from components.trainer.training import Training
from components.trainer.training_state import TrainingState
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.support import progress
from preprocessing.support.errors import UsageError

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def read_config(
    settings: dict[str, Any], tuned: dict[str, Any] | None = None
) -> tuple[ModelConfig, TrainingConfig]:
    """The sections `model` and `training` of a node's `custom_config`, checked.

    Args:
      settings: the `custom_config`.
      tuned: values that replace the configuration's, by the name of their key.

    Raises:
      UsageError: a name that is not known, a value out of range, or values that contradict.
    """
    tuned = tuned or {}
    sections: list[Any] = []
    for name, section in (("model", ModelConfig), ("training", TrainingConfig)):
        better = {key: value for key, value in tuned.items() if key in section.model_fields}
        sections.append(section.from_dict({**settings[name], **better}, key=name))
    check_training(*sections)
    return sections[0], sections[1]


@contextlib.contextmanager
def open_crops(
    fn_args: FnArgs, training: TrainingConfig, seed: int
) -> Iterator[tuple[CropStore, CropStore]]:
    """The crops of train and val, as long as the context lasts.

    Args:
      fn_args: `train_files`, `eval_files` and `custom_config` are read.
      training: says whether fakes are needed, and whether val gets pseudo-fakes.
      seed: of val's pseudo-fakes.

    Raises:
      UsageError: a split is empty, or train lacks a class that training needs.
    """
    settings = fn_args.custom_config.get("metadata", {}).get("extraction", {})
    extraction = CropSettings.from_dict(settings, key="extraction")
    with contextlib.ExitStack() as stack:
        train = stack.enter_context(CropStore(fn_args.train_files, "train", extraction))
        check_crops(train.table, training)
        val = stack.enter_context(CropStore(fn_args.eval_files, "val", extraction))
        if not needs_fakes(training):
            # No fake of the data has a say then, not even in which epoch is the best.
            val = stack.enter_context(self_blended_split(val, seed))
            if not len(val.table):
                raise UsageError(
                    "the val split holds no real crop, of which its pseudo-fakes are made "
                    "(training.pseudo_fakes=self_blended, training.pseudo_fake_share=1); put real "
                    "clips into val, or set a share below 1"
                )
        yield train, val


def make_training(
    fn_args: FnArgs,
    crops: tuple[CropStore, CropStore],
    model_config: ModelConfig,
    training_config: TrainingConfig,
    seed: int,
    state: TrainingState | None = None,
    log_dir: str = "",
) -> tuple[Training, Detector]:
    """Builds the network and all that trains it.

    Args:
      fn_args: `transform_graph_path` is read.
      crops: of `open_crops`.
      model_config: the network.
      training_config: how it is trained.
      seed: of weights, sampling and augmentation; set before the network is built.
      state: see Training.
      log_dir: see Training.

    Raises:
      UsageError: see `build_model`; a batch that cannot be divided over the GPUs.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    progress.report("train", 0, 0, f"building {model_config.backbone}")
    strategy = build_strategy()
    check_batch_size(training_config.batch_size, strategy.num_replicas_in_sync)
    model, float32_model = _build(model_config, training_config, strategy)
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    detector = Detector(float32_model or model, transform_output, model_config.mirror)
    training = Training(
        model, detector, *crops, training_config, seed, state, strategy, log_dir, float32_model
    )
    return training, detector


def _build(
    config: ModelConfig, training: TrainingConfig, strategy: tf.distribute.Strategy
) -> tuple[keras.Model, keras.Model | None]:
    """The network to train, and a float32 copy of it where that computes at lower precision."""
    policy = dtype_policy(training)
    if policy == "float32":
        with strategy.scope():
            return build_model(config), None
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        with strategy.scope():
            model = build_model(config)
    finally:
        keras.config.set_dtype_policy(before)
    return model, build_model(config.replace(weights="none"))
