"""The Trainer node's function: from crops and a Transform graph to an exported model."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import logging
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.trainer.calibration import fit_temperature
from components.trainer.callbacks import Validation
from components.trainer.crop_store import CropStore, CropTable, missing_classes
from components.trainer.export import Detector, export
from components.trainer.hardware import build_strategy, check_batch_size, dtype_policy
from components.trainer.history import write_history
from components.trainer.model import build_model
from components.trainer.pseudo_fakes import self_blended_split
from components.trainer.sampling import check_classes, pseudo_fake_share
from components.trainer.training import Training
from components.trainer.training_state import TrainingState
from pipeline.config import ModelConfig, TrainingConfig, from_dict
from pipeline.config_checks import check_training
from preprocessing import progress
from preprocessing.aggregation import aggregate
from preprocessing.operating_points import operating_points

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

_LOG = logging.getLogger(__name__)

_LIBRARIES = ("tensorflow", "keras", "tensorflow-transform", "numpy", "opencv-python-headless")


def run_fn(fn_args: FnArgs) -> None:
    """Trains, calibrates and exports a detector.

    Args:
      fn_args: of TFX's Trainer: `train_files` and `eval_files` (globs of gzip TFRecords of face
        crops), `transform_output`, `serving_model_dir`, `model_run_dir`, and `custom_config`:
        `model` and `training` (sections of the configuration), `seed`, `metadata` (stored beside
        the model as it is), `code` (digest of the trainer's code; only the cache key needs it) and
        `state_dir` (where a killed training goes on; without it each starts anew).

    Raises:
      UsageError: a configuration or data that training cannot work with.
    """
    settings = fn_args.custom_config
    model_config = from_dict(ModelConfig, settings["model"])
    training_config = from_dict(TrainingConfig, settings["training"])
    seed = int(settings.get("seed", 0))
    check_training(model_config, training_config)

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    extraction = settings.get("metadata", {}).get("extraction")
    with contextlib.ExitStack() as stack:
        train = stack.enter_context(CropStore(fn_args.train_files, "train", extraction))
        check_classes(train.table, training_config)
        val = stack.enter_context(CropStore(fn_args.eval_files, "val", extraction))
        if pseudo_fake_share(training_config) == 1.0:
            # No fake of the data has a say then, not even in which epoch is the best.
            val = stack.enter_context(self_blended_split(val, seed))
        if missing := missing_classes(val.table):
            _LOG.warning(
                "no crop of the val split is %s: the best epoch is that of the lowest loss, and "
                "the scores are not calibrated",
                missing[0],
            )
        progress.report("train", 0, 0, f"building {model_config.backbone}")
        strategy = build_strategy()
        check_batch_size(training_config.batch_size, strategy.num_replicas_in_sync)
        model, twin = _build(model_config, training_config, strategy)
        detector = Detector(twin or model, tft.TFTransformOutput(fn_args.transform_output))
        state = TrainingState(settings.get("state_dir", ""), _state_key(fn_args, train, val))
        training = Training(
            model,
            detector,
            train,
            val,
            training_config,
            seed,
            state,
            strategy,
            fn_args.model_run_dir,
            twin,
        )
        logits = training.run()
        write_history(training.rows, fn_args.model_run_dir)

        detector.temperature.assign(fit_temperature(logits, val.table.labels))
        found = Validation.of(logits / detector.temperature.numpy(), val.table)
        _LOG.info("calibrated with temperature %.4f: %s", detector.temperature.numpy(), found)
        progress.report(
            "train",
            0,
            0,
            f"exporting; val AUC per clip {found.clip_auc:.4f}, loss {found.loss:.4f}",
        )
        metadata = {
            **settings.get("metadata", {}),
            "backbone": model_config.backbone,
            "model": dataclasses.asdict(model_config),
            "training": dataclasses.asdict(training_config),
            "seed": seed,
            "code": settings.get("code", ""),
            "validation": dataclasses.asdict(found),
            "operating_points": _operating_points(logits / detector.temperature.numpy(), val.table),
            "libraries": {name: _version(name) for name in _LIBRARIES},
        }
        export(detector, fn_args.serving_model_dir, metadata)
        state.clear()
    keras.backend.clear_session()


def _build(
    config: ModelConfig, training: TrainingConfig, strategy: tf.distribute.Strategy
) -> tuple[keras.Model, keras.Model | None]:
    """The network to train and, where that computes at lower precision, its float32 twin."""
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
    return model, build_model(dataclasses.replace(config, weights="none"))


def _state_key(fn_args: FnArgs, train: CropStore, val: CropStore) -> str:
    """Digest of everything that training depends on."""
    parts = [
        json.dumps(fn_args.custom_config, sort_keys=True, default=str),
        *map(str, (*fn_args.train_files, *fn_args.eval_files, fn_args.transform_output)),
        *(str((len(store.table), store.table.labels.sum())) for store in (train, val)),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _operating_points(logits: np.ndarray, table: CropTable) -> dict[str, Any]:
    """Thresholds on the scores of val's clips."""
    clips = aggregate(logits, table.clips, table.tracks)
    labels = np.zeros(len(table.clip_names), np.int64)
    labels[table.clips] = table.labels
    return {"split": "val", **operating_points(clips.logits, labels[clips.clips])}


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""
