"""The crops of a split, on disk and addressable by number.

FaceExtractor's records are compressed streams, which can only be read from front to back. Exact
shuffling, equal classes and pairs need any crop at any time, and a dataset may be larger than
memory. So one pass copies the encoded crops to a temporary file; only a table of about 150 bytes
a crop is kept in memory. For small sets the file never leaves the operating system's cache.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from components.evaluation.scores import clusters_of
from preprocessing.extraction import face_example as names
from preprocessing.faces.crop import places_in_crop, roll
from preprocessing.faces.crop_geometry import crop_box
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.support.errors import UsageError

_BATCH = 64
_COLUMNS = (
    names.LABEL,
    names.CLIP_ID,
    names.PAIR_ID,
    names.TRACK_ID,
    names.FRAME_INDEX,
    names.BOX,
    names.LANDMARKS,
    names.DATASET,
    names.IDENTITY,
)


@dataclasses.dataclass(frozen=True)
class CropTable:
    """What is known of each crop, in order of clip, frame and track.

    Attributes:
      labels: int64 [crops], 1 = fake.
      clips: int64 [crops], number of the clip in `clip_names`.
      pairs: int64 [crops], number of the pair's original; -1 where no crop of it is here.
      tracks: int64 [crops].
      frames: int64 [crops].
      boxes: float32 [crops, 4], in pixels of the frame.
      landmarks: float32 [crops, 5, 2], x and y in pixels of the frame; all zero where they are not
        known, as for crops that no detector saw.
      clip_names: bytes [clips], sorted.
      clip_clusters: strings [clips], see `components.evaluation.scores.clusters_of`.
    """

    labels: np.ndarray
    clips: np.ndarray
    pairs: np.ndarray
    tracks: np.ndarray
    frames: np.ndarray
    boxes: np.ndarray
    landmarks: np.ndarray
    clip_names: np.ndarray
    clip_clusters: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def clip_labels(self) -> np.ndarray:
        """int64 [clips], the label of each clip; 0 for a name without a crop."""
        labels = np.zeros(len(self.clip_names), np.int64)
        labels[self.clips] = self.labels
        return labels


class CropStore:
    """Copies the crops of a split to a temporary file and reads them from there.

    A context manager: the file goes when it is left (and, having no name, when the process dies).

    Args:
      patterns: globs of gzip TFRecord files.
      split: name of the split, for messages.
      extraction: the settings that the crops were cut with; None takes the defaults.

    Attributes:
      table: the CropTable.
      extraction: the settings.

    Raises:
      UsageError: no crop at all, or no disk space.
    """

    def __init__(self, patterns: Sequence[str], split: str, extraction: CropSettings | None = None):
        files = _files(patterns)
        need = sum(tf.io.gfile.stat(file).length for file in files)
        # Crops are compressed already: as a stream they are hardly larger than as gzip.
        _check_room(1.1 * need, split)
        self._open(_batches(files), extraction or CropSettings())
        if not len(self.table):
            self._file.close()
            raise UsageError(f"the {split} split holds no crop")

    @classmethod
    def of(cls, batches: Iterable[dict[str, Any]], extraction: CropSettings) -> CropStore:
        """A store of crops that are in no file.

        Args:
          batches: dicts of `image/encoded`, `label`, `clip_id`, `pair_id`, `track_id`,
            `frame_index`, `face/box`, `face/landmarks`, `dataset` and `identity`, one entry a crop
            in each.
          extraction: as for the constructor.
        """
        store = cls.__new__(cls)
        store._open(batches, extraction)
        return store

    def _open(self, batches: Iterable[dict[str, Any]], extraction: CropSettings) -> None:
        self.extraction = extraction
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  It lives as long as the store.
        try:
            columns, lengths = self._copy(batches)
            self._file.flush()
            self.table, order = _table(columns)
            self._offsets = (np.cumsum(lengths) - lengths)[order]
            self._lengths = lengths[order]
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> CropStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, numbers: np.ndarray) -> list[bytes]:
        """The encoded crops of these numbers; safe to call from several threads."""
        handle = self._file.fileno()
        return [
            os.pread(handle, int(self._lengths[number]), int(self._offsets[number]))
            for number in numbers
        ]

    def landmarks(self, numbers: np.ndarray) -> np.ndarray:
        """Where the five points lie in these crops.

        Returns:
          float32 [numbers, 5, 2], x and y in shares of the crop's side; NaN where not known.
        """
        places = np.full((len(numbers), 5, 2), np.nan, np.float32)
        for row, number in enumerate(numbers):
            points = self.table.landmarks[number]
            if points.any():
                aligned = self.extraction.align and not self.extraction.precropped
                angle = roll(points) if aligned else 0.0
                box, margin = crop_box(self.extraction, self.table.boxes[number], points)
                places[row] = places_in_crop(points, box, margin, angle)
        return places

    def _copy(self, batches: Iterable[dict[str, Any]]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS}
        lengths: list[int] = []
        for batch in batches:
            for image in batch[names.IMAGE]:
                self._file.write(image)
                lengths.append(len(image))
            for name, part in parts.items():
                part.append(np.asarray(batch[name]))
        columns = {name: np.concatenate(part) for name, part in parts.items() if part}
        return columns, np.array(lengths, np.int64)


def content_digest(patterns: Sequence[str]) -> str:
    """Stands for the crops of files, wherever these lie, and reads 8 bytes of each.

    A gzip file ends with the checksum (CRC-32) and the length of what it holds.

    Args:
      patterns: globs of gzip TFRecord files.
    """
    digest = hashlib.sha256()
    for path in _files(patterns):
        with tf.io.gfile.GFile(path, "rb") as file:
            size = file.size()
            file.seek(max(0, size - 8))
            end = file.read()
        digest.update(f"{Path(path).name} {size} {end.hex()}\n".encode())
    return digest.hexdigest()


def missing_classes(table: CropTable) -> list[str]:
    """Names of the classes, `real` and `fake`, that no crop of a table belongs to."""
    classes = ((names.REAL, "real"), (names.FAKE, "fake"))
    return [name for label, name in classes if not (table.labels == label).any()]


def _files(patterns: Sequence[str]) -> list[str]:
    return sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))


def _check_room(need: float, split: str) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UsageError(
            f"the {split} crops need {need / 2**30:.1f} GiB in {folder}, where "
            f"{free / 2**30:.1f} GiB are free; set TMPDIR to a folder with more room"
        )


def _batches(files: list[str]) -> Iterator[dict[str, np.ndarray]]:
    spec = names.feature_spec(names.IMAGE, *_COLUMNS)
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH)
    batches = records.map(lambda batch: tf.io.parse_example(batch, spec))
    return batches.prefetch(2).as_numpy_iterator()


def _table(columns: dict[str, np.ndarray]) -> tuple[CropTable, np.ndarray]:
    """The table, and for each of its rows the number of the record it came from."""
    if not columns:
        empty = np.empty(0, np.int64)
        boxes, points = np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32)
        no_names = np.empty(0, object)
        table = CropTable(empty, empty, empty, empty, empty, boxes, points, no_names, no_names)
        return table, empty
    clip_names, first, clips = np.unique(
        columns[names.CLIP_ID].astype(object), return_index=True, return_inverse=True
    )
    persons = pd.DataFrame(
        {
            name: [text.decode(errors="replace") for text in columns[name][first]]
            for name in (names.DATASET, names.IDENTITY, names.PAIR_ID)
        }
    )
    number = {name: i for i, name in enumerate(clip_names)}
    pairs = np.array([number.get(name, -1) for name in columns[names.PAIR_ID]], np.int64)
    tracks, frames = columns[names.TRACK_ID], columns[names.FRAME_INDEX]
    # Shards may come in any order; the order of training must not depend on it.
    order = np.lexsort((tracks, frames, clips))
    table = CropTable(
        labels=columns[names.LABEL][order],
        clips=clips[order],
        pairs=pairs[order],
        tracks=tracks[order],
        frames=frames[order],
        boxes=columns[names.BOX][order],
        landmarks=columns[names.LANDMARKS].reshape(-1, 5, 2)[order],
        clip_names=clip_names,
        clip_clusters=clusters_of(persons),
    )
    return table, order
