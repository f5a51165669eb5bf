"""The crops of a split, on disk and addressable by number.

FaceExtractor's records are compressed streams, which can only be read from front to back. Exact
shuffling, equal classes and pairs need any crop at any time, and a dataset may be larger than
memory. So one pass copies the encoded crops to a temporary file; only a table of about 100 bytes
a crop is kept in memory. For small sets the file never leaves the operating system's cache.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from preprocessing import face_example as names
from preprocessing.errors import UsageError

_BATCH = 64
_COLUMNS = (
    names.LABEL,
    names.CLIP_ID,
    names.PAIR_ID,
    names.TRACK_ID,
    names.FRAME_INDEX,
    names.BOX,
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
      boxes: float32 [crops, 4].
      clip_names: bytes [clips], sorted.
    """

    labels: np.ndarray
    clips: np.ndarray
    pairs: np.ndarray
    tracks: np.ndarray
    frames: np.ndarray
    boxes: np.ndarray
    clip_names: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class CropStore:
    """Copies the crops of a split to a temporary file and reads them from there.

    A context manager: the file goes when it is left (and, having no name, when the process dies).

    Args:
      patterns: globs of gzip TFRecord files.
      split: name of the split, for messages.

    Attributes:
      table: the CropTable.

    Raises:
      UsageError: no crop at all, or no disk space.
    """

    def __init__(self, patterns: Sequence[str], split: str):
        files = sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
        need, folder = sum(tf.io.gfile.stat(file).length for file in files), tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        # Crops are compressed already: as a stream they are hardly larger than as gzip.
        if 1.1 * need > free:
            raise UsageError(
                f"the {split} crops need {need / 2**30:.1f} GiB in {folder}, where "
                f"{free / 2**30:.1f} GiB are free; set TMPDIR to a folder with more room"
            )
        self._file = tempfile.TemporaryFile()
        try:
            columns, lengths = self._copy(files)
            self._file.flush()
            self.table, order = _table(columns)
            self._offsets = (np.cumsum(lengths) - lengths)[order]
            self._lengths = lengths[order]
            if not len(self.table):
                raise UsageError(f"the {split} split holds no crop")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> CropStore:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def read(self, numbers: np.ndarray) -> list[bytes]:
        """The encoded crops of these numbers; safe to call from several threads."""
        handle = self._file.fileno()
        return [
            os.pread(handle, int(self._lengths[number]), int(self._offsets[number]))
            for number in numbers
        ]

    def _copy(self, files: list[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        spec = names.feature_spec(names.IMAGE, *_COLUMNS)
        records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH)
        batches = records.map(lambda batch: tf.io.parse_example(batch, spec))
        parts: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS}
        lengths: list[int] = []
        for batch in batches.prefetch(2).as_numpy_iterator():
            for image in batch[names.IMAGE]:
                self._file.write(image)
                lengths.append(len(image))
            for name, part in parts.items():
                part.append(batch[name])
        columns = {name: np.concatenate(part) for name, part in parts.items() if part}
        return columns, np.array(lengths, np.int64)


def _table(columns: dict[str, np.ndarray]) -> tuple[CropTable, np.ndarray]:
    """The table, and for each of its rows the number of the record it came from."""
    if not columns:
        empty = np.empty(0, np.int64)
        boxes = np.empty((0, 4), np.float32)
        return CropTable(empty, empty, empty, empty, empty, boxes, np.empty(0, object)), empty
    clip_names, clips = np.unique(columns[names.CLIP_ID], return_inverse=True)
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
        clip_names=clip_names,
    )
    return table, order


def missing_classes(table: CropTable) -> list[str]:
    """Names of the classes, `real` and `fake`, that no crop of a table belongs to."""
    classes = ((names.REAL, "real"), (names.FAKE, "fake"))
    return [name for label, name in classes if not (table.labels == label).any()]
