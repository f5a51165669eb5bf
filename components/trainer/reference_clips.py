"""What an exported model keeps of val's clips and of training's crops, to judge new clips by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from components.trainer.calibration import Calibration, fit_calibration
from components.trainer.crop_store import CropStore, CropTable
from components.trainer.export import Detector
from components.trainer.image_facts import FACTS, image_facts
from components.trainer.nearest_crop_distance import REFERENCE_CROPS, NearestCropDistance
from preprocessing.extraction.face_example import REAL
from serving.model.aggregation import aggregate
from serving.model.conformal import conformal_clips
from serving.model.familiarity import clip_appearance, familiarity_section
from serving.model.windows import least_crops, window_clips, window_maxima

# Of inference: what follows from it is memory, not the result.
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class CalibratedClips:
    """The clips of val with their calibrated logits.

    Attributes:
      calibration: that was fitted on them.
      logits: float64 [clips], calibrated.
      labels: int64 [clips], 1 = fake.
      clusters: strings [clips].
      windows: float64 [clips], the largest window means, see `serving.model.windows`; NaN for
        clips without windows.
      least_crops: of a track that has windows.
    """

    calibration: Calibration
    logits: np.ndarray
    labels: np.ndarray
    clusters: np.ndarray
    windows: np.ndarray
    least_crops: int

    def references(self, detector: Detector, val: CropStore) -> dict[str, Any]:
        """The sections `conformal`, `windows` and `familiarity` of the model card.

        Without `windows` where no real clip has any.

        Args:
          detector: after `set_reference_crops`.
          val: the crops of the clips.
        """
        distances, facts = _appearance(detector, val)
        sections = {
            "conformal": conformal_clips(self.logits, self.labels, self.clusters),
            "windows": window_clips(self.windows, self.labels, self.clusters, self.least_crops),
            "familiarity": familiarity_section(distances, facts, self.clusters, FACTS),
        }
        return {name: section for name, section in sections.items() if section is not None}


def calibrate(
    detector: Detector, logits: np.ndarray, table: CropTable, frames: int
) -> CalibratedClips:
    """Fits the calibration on clips, and sets it.

    Args:
      detector: gets offset and temperature.
      logits: float64 [crops], of val, not calibrated.
      table: of val.
      frames: that will be looked at of a clip, which says how many windows clips have.
    """
    # One affine map with a slope above 0 may be applied before or after the means and maxima of
    # `aggregate`: fitted on clips, it is exported for crops.
    clips = aggregate(logits, table.clips, table.tracks)
    labels = table.clip_labels[clips.clips]
    calibration = fit_calibration(clips.logits, labels)
    detector.calibrate(calibration)
    clusters = table.clip_clusters[clips.clips]
    least = least_crops(frames)
    windows = window_maxima(calibration(logits), table.clips, table.tracks, least=least)
    return CalibratedClips(calibration, calibration(clips.logits), labels, clusters, windows, least)


def set_reference_crops(detector: Detector, train: CropStore, with_fakes: bool = True) -> None:
    """Sets the training crops that the detector measures distances from.

    Args:
      detector: with the weights that will be exported.
      train: crops of training; of many, an even sample over their clips is taken.
      with_fakes: whether the fakes among them were trained on.
    """
    numbers = reference_crops(train, with_fakes)
    facts, features = zip(*facts_and_features(detector, train, numbers), strict=True)
    detector.familiarity = NearestCropDistance(np.concatenate(features), np.concatenate(facts))


def reference_crops(store: CropStore, with_fakes: bool = True) -> np.ndarray:
    """Numbers of at most `REFERENCE_CROPS` crops, evenly over the clips; int64 [crops]."""
    labels = store.table.labels
    numbers = np.arange(len(labels)) if with_fakes else np.flatnonzero(labels == REAL)
    places = np.linspace(0, len(numbers) - 1, min(len(numbers), REFERENCE_CROPS))
    return numbers[np.unique(places.round().astype(np.int64))]


def facts_and_features(
    detector: Detector, store: CropStore, numbers: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image facts and backbone features of crops, batch by batch.

    Args:
      detector: gives the features.
      store: holds the crops.
      numbers: int64 [crops], numbers of the crops in the store.

    Yields:
      Facts, float32 [batch, facts], and features, float32 [batch, features].
    """

    # As a graph, because eagerly the crops would be decoded one after the other.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def compute(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = detector.pixels(encoded)
        return image_facts(pixels), detector.network(pixels)[1]

    for batch in np.array_split(numbers, -(-len(numbers) // _BATCH)):
        facts, features = compute(tf.constant(store.read(batch)))
        yield facts.numpy(), features.numpy()


def _appearance(detector: Detector, val: CropStore) -> tuple[np.ndarray, np.ndarray]:
    """Distances and facts of val's clips."""
    if detector.familiarity is None:
        raise ValueError(
            "the detector has no training crops to measure from: call set_reference_crops"
        )
    rows = [
        np.column_stack([detector.familiarity.distances(features, facts).numpy(), facts])
        for facts, features in facts_and_features(detector, val, np.arange(len(val.table)))
    ]
    return clip_appearance(np.concatenate(rows), val.table.clips, val.table.tracks)
