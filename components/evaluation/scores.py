"""Tables of scores: crops by the exported model, aggregated to tracks and clips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from preprocessing.extraction import face_example as names
from preprocessing.support import progress
from serving.model.aggregation import aggregate, probability
from serving.model.outputs import APPEARANCE, CropOutputs
from serving.model.saved_model import load_saved_model

# Records scored at once; more gain nothing on a CPU.
_BATCH = 32
_TEXTS = (names.CLIP_ID, names.PAIR_ID, names.DATASET, names.METHOD, names.IDENTITY)
_NUMBERS = (names.LABEL, names.TRACK_ID, names.FRAME_INDEX, names.TIMESTAMP_MS)
CROP_COLUMNS = (*_TEXTS, *_NUMBERS, "face_size", "logit", "score", "distance")
# The columns that identify a crop.
CROP_KEY = (names.CLIP_ID, names.TRACK_ID, names.FRAME_INDEX)
# What is the same for all crops of a clip.
_CLIP_COLUMNS = (names.PAIR_ID, names.DATASET, names.METHOD, names.IDENTITY, names.LABEL)


class ExampleScorer:
    """Scores records through the signature that TFMA uses too.

    Args:
      saved_model: folder that holds `saved_model.pb`.
    """

    def __init__(self, saved_model: str | Path):
        full_float32()
        # The signature does not keep its model alive.
        self._loaded = load_saved_model(saved_model)
        self._score = self._loaded.signatures["serving_examples"]

    def outputs(self, records: Sequence[bytes]) -> CropOutputs:
        """The model's outputs for serialized tf.Examples; no appearance where it has none."""
        import tensorflow as tf

        parts = [
            self._score(examples=tf.constant(records[start : start + _BATCH]))
            for start in range(0, len(records), _BATCH)
        ]
        return CropOutputs.joined(parts, bool(parts) and APPEARANCE in parts[0])

    def rows(self, records: Sequence[bytes]) -> list[dict[str, Any]]:
        """Rows of the table of crops."""
        outputs = self.outputs(records)
        distances = np.full(len(records), np.nan)
        if outputs.appearance is not None:
            distances = outputs.appearance[:, 0]
        scored = zip(records, outputs.logits, distances, strict=True)
        return [crop_row(record, logit, distance) for record, logit, distance in scored]

    def table(self, files: Sequence[str], stage: str) -> pd.DataFrame:
        """Scores all records of TFRecord files.

        Args:
          files: paths; those ending in .gz are decompressed.
          stage: name for the progress.

        Returns:
          `CROP_COLUMNS`, a row a crop, in order of clip, track and frame.
        """
        rows: list[dict[str, Any]] = []
        for batch in _batches(read_records(files)):
            rows += self.rows(batch)
            progress.report(stage, len(rows), 0, "crops scored")
        return crop_table(rows)


def full_float32() -> None:
    """Makes GPUs multiply with all bits of float32, as CPUs do, for the rest of the process.

    By default they take 10 bits of each factor (TF32), and would give other scores than the CPUs on
    which the model is served or asked.
    """
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)


def read_records(files: Sequence[str]) -> Iterator[bytes]:
    """The records of TFRecord files, one after the other."""
    import tensorflow as tf

    for file in files:
        compression = "GZIP" if file.endswith(".gz") else ""
        yield from tf.data.TFRecordDataset(file, compression).as_numpy_iterator()


def crop_row(record: bytes, logit: float, distance: float = math.nan) -> dict[str, Any]:
    """A row of the table of crops.

    Args:
      record: serialized face record.
      logit: calibrated logit of the crop.
      distance: to the nearest training crop, no unit; NaN if the model has none.

    Returns:
      `CROP_COLUMNS`; `face_size` in pixels of the frame.
    """
    import tensorflow as tf

    feature = tf.train.Example.FromString(record).features.feature
    x1, y1, x2, y2 = feature[names.BOX].float_list.value
    texts = {name: feature[name].bytes_list.value[0].decode(errors="replace") for name in _TEXTS}
    return {
        **texts,
        **{name: feature[name].int64_list.value[0] for name in _NUMBERS},
        "face_size": round(max(x2 - x1, y2 - y1), 1),
        "logit": float(logit),
        "score": float(probability(logit)),
        "distance": float(distance),
    }


def key_and_crop(record: bytes) -> tuple[tuple[str, int, int], bytes]:
    """What identifies a crop, and the crop.

    Args:
      record: serialized face record.

    Returns:
      The values of `CROP_KEY`, and the JPEG file.
    """
    import tensorflow as tf

    feature = tf.train.Example.FromString(record).features.feature
    clip = feature[names.CLIP_ID].bytes_list.value[0].decode(errors="replace")
    track, frame = (feature[name].int64_list.value[0] for name in CROP_KEY[1:])
    return (clip, track, frame), feature[names.IMAGE].bytes_list.value[0]


def crop_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table, in order of clip, track and frame."""
    table = pd.DataFrame(rows, columns=CROP_COLUMNS)
    return table.sort_values(list(CROP_KEY), kind="stable", ignore_index=True)


def clip_tables(crops: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Joins crops to tracks and clips by `serving.model.aggregation`.

    Logits that are NaN or infinite are carried on: the gate counts them and refuses the model.

    Returns:
      Tracks (`clip_id`, `track_id`, `logit`, `score`) and clips (`clip_id`, what the crops of a
      clip have in common, `crops`, `tracks`, the median `face_size`, `logit`, `score`, `distance`).
    """
    clip_ids = crops[names.CLIP_ID].to_numpy(str)
    track_ids = crops[names.TRACK_ID].to_numpy(int)
    # Tables of earlier versions have no distances.
    crops = crops.assign(distance=crops.get("distance", math.nan))
    aggregated, distances = (
        aggregate(crops[name].to_numpy(float), clip_ids, track_ids, allow_non_finite=True)
        for name in ("logit", "distance")
    )
    tracks = pd.DataFrame(
        {
            names.CLIP_ID: aggregated.track_clips,
            names.TRACK_ID: aggregated.tracks,
            "logit": aggregated.track_logits,
            "score": probability(aggregated.track_logits),
        }
    )
    by_clip = crops.groupby(names.CLIP_ID, sort=True)
    clips = by_clip[list(_CLIP_COLUMNS)].first()
    clips["crops"] = by_clip.size()
    clips["tracks"] = by_clip[names.TRACK_ID].nunique()
    clips["face_size"] = by_clip["face_size"].median()
    clips = clips.reset_index()
    for name, joined in (("logit", aggregated), ("distance", distances)):
        values = dict(zip(joined.clips, joined.logits, strict=True))
        clips[name] = clips[names.CLIP_ID].map(values).astype(float)
    clips["score"] = probability(clips["logit"].to_numpy())
    return tracks, clips


def clusters_of(table: pd.DataFrame) -> np.ndarray:
    """The clusters that the bootstrap draws: the clips of one target person.

    A fake's second person, the donor, is not counted: by both, most datasets are one cluster. Where
    persons are unknown, the clips of one group are a cluster, which records name in place of
    persons; without a group, a fake and its original.

    Returns:
      Strings [rows].
    """
    first = table[names.IDENTITY].str.split("|").str[0]
    has_person = first.fillna("") != ""
    clusters = table[names.DATASET] + ":" + first.where(has_person, table[names.PAIR_ID])
    strings: np.ndarray = clusters.to_numpy(str)
    return strings


def _batches(records: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for record in records:
        batch.append(record)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
