"""Copies a trained model to the starter's place, and adds its provenance to the card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._real_crops import training_clips
from serving.model import card
from serving.model.provenance import Provenance, StatedFigure, TrainedOn

if TYPE_CHECKING:
    from benchmarks.real_faces import Result

_DATASETS = {"celeb_df": ("Celeb-DF v2", "test"), "dfdc": ("DFDC", "val")}


def place(model: Path, target: Path, result: Result) -> None:
    """Copies a model into a folder, and adds `provenance` to its card.

    Args:
      model: the SavedModel of a row of the benchmark.
      target: folder of the version, as in `serving/starter/1`; replaced if it is there.
      result: of that row.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(model, target)
    path = target / card.FILE
    values = json.loads(path.read_text(encoding="utf-8"))
    values["provenance"] = provenance(values, result).to_dict()
    path.write_text(card.ModelCard.from_dict(values).to_json(), encoding="utf-8")


def provenance(values: dict, result: Result) -> Provenance:
    """The provenance of the model of a card.

    Args:
      values: the card.
      result: its figures.
    """
    figures = {}
    for name, (dataset, split) in _DATASETS.items():
        scores = result.on[name]
        labels, _ = scores.by_clip()
        low, high = scores.interval()
        figures[f"AUC per clip, {dataset}"] = StatedFigure(
            value=round(scores.clip_auc(), 4),
            low=round(low, 4),
            high=round(high, 4),
            on=f"{(labels == 0).sum()} real and {(labels == 1).sum()} fake clips of its {split}",
        )
    trained_on = []
    for name, (dataset, _) in _DATASETS.items():
        real, fake, persons = training_clips(name)
        trained_on.append(
            TrainedOn(
                dataset=dataset,
                clips_real=real,
                clips_fake=fake,
                persons=persons or None,
                split="train",
            )
        )
    size = values["input_size"]
    return Provenance(
        name="starter",
        summary=f"EfficientNet-Lite0 at {size} pixels, trained on published face crops",
        trained_on=tuple(trained_on),
        figures=figures,
        never_shown="whole frames, sound, other data sets than these two, and forgeries made since "
        "2020, fully generated faces among them",
        terms="for research and evaluation only: the data sets' terms allow no commercial use",
    )
