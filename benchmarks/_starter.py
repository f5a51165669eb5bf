"""Puts a trained model into the starter's place, and makes anew what it keeps of its data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._real_crops import training_clips
from benchmarks._training import logits_of
from serving.model import card
from serving.model.aggregation import aggregate
from serving.model.provenance import Provenance, StatedFigure, TrainedOn
from serving.model.rates import Rates
from serving.model.windows import least_crops, window_maxima

if TYPE_CHECKING:
    from benchmarks._crops import Crops
    from benchmarks._face_scores import Result
    from components.trainer.export import Detector

_SPLITS = ("train", "val")
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


def refresh(model: Path, target: Path, crops: list[Crops]) -> None:
    """Exports a model anew, with the sample and the clips that this version keeps of its data.

    Weights and calibration stay as they are, and so do scores. Validation clips and training crops
    are those of the training, looked at by the functions of the Trainer.

    Args:
      model: the SavedModel of a row of the benchmark, or the starter.
      target: folder of the version; replaced if it is there.
      crops: of the sets that it was trained on.
    """
    from components.trainer.calibration import Calibration
    from components.trainer.crop_store import CropStore
    from components.trainer.export import export
    from components.trainer.reference_clips import CalibratedClips, set_reference_crops

    detector = restored(model, crops[0].transform_graph)
    model_card = card.read(model)
    train, val = ([glob for each in crops for glob in each.files(split)] for split in _SPLITS)
    with CropStore(train, "train") as store:
        set_reference_crops(detector, store)
    with CropStore(val, "val") as store:
        table = store.table
        logits = logits_of(model, store)
        least = least_crops(model_card.crop_settings().frames_per_clip)
        joined = aggregate(logits, table.clips, table.tracks)
        clips = CalibratedClips(
            Calibration(model_card.temperature, model_card.offset),
            joined.logits,
            table.clip_labels[joined.clips],
            table.clip_clusters[joined.clips],
            window_maxima(logits, table.clips, table.tracks, least=least),
            least,
        )
        references = clips.references(detector, store)
    values = model_card.to_dict()
    values.pop("operating_points", None)
    values["calibration"]["shares_split_with"] = ["epoch", *references]
    new = target.with_name(f"{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    export(detector, str(new), {**values, **references, "verdict": Rates().to_dict()})
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def restored(model: Path, transform_graph: Path) -> Detector:
    """The module that a SavedModel was exported from, with its weights and calibration.

    Batch normalisation stays folded where it was exported so.

    Args:
      model: the SavedModel.
      transform_graph: of its image size.
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    from components.trainer.calibration import Calibration
    from components.trainer.config import ModelConfig
    from components.trainer.export import Detector
    from components.trainer.folding import folded
    from components.trainer.model import build_model

    model_card = card.read(model)
    config = ModelConfig.from_dict({**model_card.model, "weights": "none"}, key="model")
    network = build_model(config)
    stored = tf.saved_model.load(str(model)).model_variables
    if len(stored) < len(network.variables):
        network = folded(network)
    for variable, value in zip(network.variables, stored, strict=True):
        variable.assign(value.numpy())
    detector = Detector(network, tft.TFTransformOutput(str(transform_graph)), config.mirror)
    detector.calibrate(Calibration(model_card.temperature, model_card.offset))
    return detector


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
        clusters = len(set(scores.clusters_by_clip))
        figures[f"AUC per clip, {dataset}"] = StatedFigure(
            value=round(scores.clip_auc(), 4),
            low=round(low, 4),
            high=round(high, 4),
            on=f"{(labels == 0).sum()} real and {(labels == 1).sum()} fake clips of {clusters} "
            f"persons or originals of its {split}",
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
