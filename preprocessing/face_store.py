"""The face store: one file for each finished clip, written whole or not at all.

The first record of a file is the clip's report row, the others are its Examples. The folder is
named by settings and code, the file by the clip's content and what its Examples repeat, so what
is found there is what would be computed again.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preprocessing.datasets.clip import Clip
from preprocessing.fingerprint import code_digest, settings_digest

if TYPE_CHECKING:
    from preprocessing.face_cropper import Settings

# What the result for one clip depends on besides the clip and the settings.
SOURCES = (
    "preprocessing/crop.py",
    "preprocessing/media/decoder.py",
    "preprocessing/media/errors.py",
    "preprocessing/detector.py",
    "preprocessing/face_cropper.py",
    "preprocessing/face_example.py",
    "preprocessing/face_extraction.py",
    "preprocessing/quality.py",
    "preprocessing/search.py",
    "preprocessing/tracking.py",
    "preprocessing/media/video.py",
)


def store_key(settings: Settings) -> str:
    """Names the part of the face store that holds results of these settings and this code."""
    return settings_digest(settings.as_dict(), code_digest(SOURCES))


def stored_clip(store: str | Path, key: str, clip: Clip) -> Path:
    """Where the face store keeps a clip's result; what the Examples repeat is part of the name."""
    row = dataclasses.asdict(dataclasses.replace(clip, group="", split="", official_split=""))
    return Path(store) / key / f"{settings_digest(row)}.tfrecord"


def write_clip(path: Path, row: dict[str, Any], examples: Sequence[bytes]) -> None:
    """Writes a clip's result; until it is complete, nothing stands under that name."""
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for record in (json.dumps(row).encode(), *examples):
            writer.write(record)
    # A rename may reach the disk before the content does.
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(path)


def read_row(path: Path) -> dict[str, Any] | None:
    """The report row of a finished clip; None when there is none, or the file is damaged."""
    import tensorflow as tf

    try:
        for record in _records(path):
            return json.loads(record)
    except tf.errors.DataLossError:
        pass
    return None


def read_examples(path: str | Path) -> Iterator[bytes]:
    """The serialized Examples of a finished clip."""
    records = _records(Path(path))
    next(records)
    return records


def _records(path: Path) -> Iterator[bytes]:
    import tensorflow as tf

    if path.exists():
        yield from tf.compat.v1.io.tf_record_iterator(str(path))
