"""The contact sheet: a few crops of each class and method, to be looked at before training."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from preprocessing.extraction import face_example
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.extraction.face_store import read_examples
from preprocessing.media.frame import middles
from preprocessing.support.png_file import write_png

_CELL = 128
_COLUMNS = 8
_TITLE_HEIGHT = 22
# Real first: that is what the others are compared with.
_CLASSES = {face_example.REAL: "real", face_example.FAKE: "fake"}
_COLOURS = {face_example.REAL: (60, 130, 40), face_example.FAKE: (40, 40, 180)}


def write(path: str | Path, rows: Iterable[ClipRow]) -> bool:
    """Writes the contact sheet as PNG: for each class and method one crop of up to eight clips.

    Args:
      path: the file to write.
      rows: report rows with `stored`, the clip's file in the face store.

    Returns:
      Whether there was a crop to show; without one no file is written.
    """
    groups: dict[tuple[int, str], list[ClipRow]] = collections.defaultdict(list)
    for row in rows:
        if row.crops and row.stored:
            groups[row.label, row.method].append(row)
    if not groups:
        return False
    sheet = np.vstack([_group(key, groups[key]) for key in sorted(groups)])
    write_png(path, cv2.cvtColor(sheet, cv2.COLOR_BGR2RGB))
    return True


def _group(key: tuple[int, str], rows: list[ClipRow]) -> np.ndarray:
    """A title and a line of crops, BGR."""
    label, method = key
    rows = sorted(rows, key=lambda row: row.path)
    sampled_rows = [rows[number] for number in middles(len(rows), _COLUMNS)]
    line = np.full((_TITLE_HEIGHT + _CELL, _COLUMNS * _CELL, 3), 255, np.uint8)
    crops = sum(row.crops for row in rows)
    name = _CLASSES[label] if method == _CLASSES[label] else f"{_CLASSES[label]}: {method}"
    title = f"{name}   {len(rows)} clips, {crops} crops"
    # OpenCV's fonts hold ASCII only.
    title = title.encode("ascii", "replace").decode()
    cv2.putText(
        line, title, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _COLOURS[label], 1, cv2.LINE_AA
    )
    for cell, row in enumerate(sampled_rows):
        left = cell * _CELL
        line[_TITLE_HEIGHT:, left : left + _CELL] = _cell(row)
    return line


def _cell(row: ClipRow) -> np.ndarray:
    """The middle crop of a clip, BGR [128, 128, 3]."""
    import tensorflow as tf

    record = next(itertools.islice(read_examples(row.stored), row.crops // 2, None))
    example = tf.train.Example.FromString(record)
    jpeg = example.features.feature[face_example.IMAGE].bytes_list.value[0]
    crop = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    scale = _CELL / max(crop.shape[:2])
    height, width = (max(1, round(side * scale)) for side in crop.shape[:2])
    crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
    cell = np.full((_CELL, _CELL, 3), 255, np.uint8)
    cell[:height, :width] = crop
    return cell
