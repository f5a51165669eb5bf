"""The Trainer node's function: from crops and a Transform graph to an exported model."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow_transform as tft

from components.trainer.calibration import fit_temperature
from components.trainer.callbacks import Validation
from components.trainer.crop_store import CropStore, CropTable, missing_classes
from components.trainer.export import Detector, export
from components.trainer.history import write_history
from components.trainer.model import build_model
from components.trainer.training import Training
from pipeline.config import ModelConfig, TrainingConfig, from_dict
from pipeline.config_checks import check_training
from preprocessing import progress
from preprocessing.aggregation import aggregate
from preprocessing.errors import UsageError
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
        the model as it is) and `code` (digest of the trainer's code; only the cache key needs it).

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
    with (
        CropStore(fn_args.train_files, "train") as train,
        CropStore(fn_args.eval_files, "val") as val,
    ):
        if missing := missing_classes(train.table):
            raise UsageError(
                f"none of the {len(train.table)} crops of the train split is {missing[0]}; "
                "training needs crops of both classes"
            )
        if missing := missing_classes(val.table):
            _LOG.warning(
                "no crop of the val split is %s: the best epoch is that of the lowest loss, and "
                "the scores are not calibrated",
                missing[0],
            )
        progress.report("train", 0, 0, f"building {model_config.backbone}")
        model = build_model(model_config)
        detector = Detector(model, tft.TFTransformOutput(fn_args.transform_output))
        training = Training(model, detector, train, val, training_config, seed)
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
    keras.backend.clear_session()


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
