"""Runs trainings of recipe benchmarks, and reads the logits of their models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from components.trainer.crop_store import CropStore
    from pipeline.config import Config

# Crops scored at once.
_BATCH = 32


def start(module: str, arguments: Sequence[str], log: Path) -> None:
    """Runs a benchmark in a process of its own; what it says goes to a file.

    Args:
      module: to run.
      arguments: of its command line.
      log: the file.

    Raises:
      SystemExit: it failed; the message ends with the end of the file.
    """
    command = [sys.executable, "-m", module, *arguments]
    # TensorFlow leaves it off on CPUs without AVX512-VNNI, where training is faster with it, too.
    environment = {"TF_ENABLE_ONEDNN_OPTS": "1", **os.environ}
    with log.open("w") as file:
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, check=False, env=environment
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")


def train(
    config: Config,
    folder: Path,
    train_files: list[str],
    eval_files: list[str],
    transform_graph: Path,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Trains as the Trainer node does.

    Args:
      config: the sections `model` and `training`, and the seed, are read.
      folder: gets `model/` and `logs/`, and the state of a training that was interrupted.
      train_files: globs of records.
      eval_files: of the split that chooses the epoch.
      transform_graph: what the Transform component writes.
      metadata: for the model's card.
    """
    from components.trainer.run_fn import run_fn

    run_fn(
        types.SimpleNamespace(
            hyperparameters=None,
            train_files=train_files,
            eval_files=eval_files,
            transform_graph_path=str(transform_graph),
            serving_model_dir=str(folder / "model"),
            model_run_dir=str(folder / "logs"),
            custom_config={
                "model": config.model.to_dict(),
                "training": config.training.to_dict(),
                "seed": config.seed,
                "metadata": metadata or {},
                "code": "",
                "state_dir": str(folder),
            },
        )
    )


def logits_of(
    model: Path, store: CropStore, change: Callable[[bytes], bytes] | None = None
) -> np.ndarray:
    """Calibrated logits of a store's crops, float64 [crops].

    Args:
      model: the SavedModel.
      store: the crops.
      change: what is done to each encoded crop before.
    """
    import tensorflow as tf

    signature = tf.saved_model.load(str(model)).signatures["serving_default"]
    logits = []
    total = len(store.table)
    for numbers in np.array_split(np.arange(total), -(-total // _BATCH)):
        crops = store.read(numbers)
        crops = [change(crop) for crop in crops] if change else crops
        logits.append(signature(image=tf.constant(crops))["logit"].numpy())
    return np.concatenate(logits).astype(np.float64)


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Writes `result.json`, which is complete or absent."""
    part = folder / "result.part"
    part.write_text(json.dumps(result))
    part.rename(folder / "result.json")
