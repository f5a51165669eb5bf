"""The Trainer node's function: from crops and a Transform graph to an exported model."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
from typing import TYPE_CHECKING

import keras
import tensorflow_transform as tft

from components.trainer.callbacks import Validation
from components.trainer.config import TrainingConfig, needs_fakes
from components.trainer.crop_store import CropStore, content_digest, missing_classes
from components.trainer.export import export
from components.trainer.hardware import dtype_policy
from components.trainer.history import write_history
from components.trainer.reference_clips import calibrate, set_reference_crops
from components.trainer.setup import make_training, open_crops, read_config
from components.trainer.training_state import TrainingState
from preprocessing.support import progress

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

_LOG = logging.getLogger(__name__)

_LIBRARIES = ("tensorflow", "keras", "tensorflow-transform", "numpy", "opencv-python-headless")


def run_fn(fn_args: FnArgs) -> None:
    """Trains, calibrates and exports a detector.

    Args:
      fn_args: of TFX's Trainer: `train_files` and `eval_files` (globs of gzip TFRecords of face
        crops), `transform_graph_path`, `serving_model_dir`, `model_run_dir`, and `custom_config`:
        `model` and `training` (sections of the configuration), `seed`, `metadata` (stored beside
        the model as it is), `code` and `weights` (digests of the trainer's code and of the weights
        that it starts from; only the cache key needs them) and `state_dir` (where a killed training
        goes on; without it each starts anew). The `hyperparameters` of a Tuner, if there are any,
        replace values of `model` and `training`.

    Raises:
      UsageError: a configuration or data that training cannot work with.
    """
    settings = fn_args.custom_config
    tuned = (fn_args.hyperparameters or {}).get("values", {})
    model_config, training_config = read_config(settings, tuned)
    seed = int(settings.get("seed", 0))
    if tuned:
        _LOG.info("values of the tuner: %s", tuned)
    with open_crops(fn_args, training_config, seed) as crops:
        val = crops[1]
        if missing := missing_classes(val.table):
            _LOG.warning(
                "no crop of the val split is %s: the best epoch is that of the lowest loss, and "
                "the scores are not calibrated",
                missing[0],
            )
        state = TrainingState(
            settings.get("state_dir", ""), _state_key(fn_args, crops, training_config)
        )
        training, detector = make_training(
            fn_args, crops, model_config, training_config, seed, state, fn_args.model_run_dir
        )
        logits = training.run()
        write_history(training.history, fn_args.model_run_dir)
        training.save_weights(fn_args.model_run_dir)

        clips = calibrate(detector, logits, val.table, val.extraction.frames_per_clip)
        validation = Validation.of(clips.calibration(logits), val.table)
        _LOG.info("%s: %s", clips.calibration, validation)
        progress.report("train", 0, 0, "looking at how training and val crops appear")
        set_reference_crops(detector, crops[0], needs_fakes(training_config))
        progress.report(
            "train",
            0,
            0,
            f"exporting; val AUC per clip {validation.clip_auc:.4f}, loss {validation.loss:.4f}",
        )
        references = clips.references(detector, val)
        metadata = {
            **settings.get("metadata", {}),
            "backbone": model_config.backbone,
            "model": model_config.to_dict(),
            "training": training_config.to_dict(),
            "seed": seed,
            "code": settings.get("code", ""),
            "validation": dataclasses.asdict(validation),
            "calibration": {
                "split": "val",
                "unit": "clip",
                "real": int((clips.labels == 0).sum()),
                "fake": int((clips.labels == 1).sum()),
                # Whether the fakes were blended from the real clips, see `open_crops`.
                "blended_fakes": not needs_fakes(training_config),
                # Share of fakes at which the scores are probabilities.
                "prior": 0.5,
                "shares_split_with": ["epoch", *references],
            },
            **references,
            "libraries": {name: _version(name) for name in _LIBRARIES},
        }
        export(detector, fn_args.serving_model_dir, metadata)
        state.clear()
    keras.backend.clear_session()


def _state_key(
    fn_args: FnArgs, crops: tuple[CropStore, ...], training_config: TrainingConfig
) -> str:
    """Digest of everything that training depends on.

    Of content alone: FaceExtractor and Transform, when they run again, write the same crops and the
    same graph to folders of other names. Of the graph its outputs stand for it: its code is part of
    the digest `code`.
    """
    graph = tft.TFTransformOutput(fn_args.transform_graph_path)
    parts = [
        # `auto` is another one on another machine, and the optimizer has other variables then.
        dtype_policy(training_config),
        json.dumps([fn_args.custom_config, fn_args.hyperparameters], sort_keys=True, default=str),
        *map(content_digest, (fn_args.train_files, fn_args.eval_files)),
        str(graph.transformed_metadata.schema),
        *(str((len(store.table), store.table.labels.sum())) for store in crops),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""
