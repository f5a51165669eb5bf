"""The face store: one file for each finished clip, written whole or not at all.

The first record of a file is the clip's report row, the others are its Examples. The folder is
named by settings and code, the file by the clip's content and what its Examples repeat, so what
is found there is what would be computed again. A file that was damaged since it was written counts
as absent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from preprocessing.datasets.clip import Clip
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.support.files import local_copy, place, written
from preprocessing.support.fingerprint import settings_digest


def stored_clip(store: str | Path, key: str, clip: Clip) -> Path:
    """Where the face store keeps a clip's result; what the Examples repeat is part of the name."""
    row = dataclasses.asdict(dataclasses.replace(clip, group="", split="", official_split=""))
    return place(store) / key / f"{settings_digest(row)}.tfrecord"


def write_clip(path: Path, row: ClipRow, examples: Sequence[bytes]) -> None:
    """Writes a clip's result; until it is complete, nothing stands under that name."""
    import tensorflow as tf

    # Not synced, which takes longer than the writing: `read_row` looks at the whole file.
    with (
        written(path, synced=False) as unfinished,
        tf.io.TFRecordWriter(str(unfinished)) as writer,
    ):
        for record in (json.dumps(row.to_dict()).encode(), *examples):
            writer.write(record)


def read_row(path: Path) -> ClipRow | None:
    """The report row of a finished clip, after a look at the whole file.

    Returns:
      None when there is no file, or it is damaged: a checksum of a record does not match, it is
      cut off, or it does not hold as many Examples as its row says.
    """
    import tensorflow as tf

    try:
        records = _records(path)
        row = ClipRow.from_dict(json.loads(next(records)))
        complete = sum(1 for _ in records) == row.crops
    except (tf.errors.DataLossError, StopIteration, ValueError):
        return None
    return row if complete else None


def read_examples(path: str | Path) -> Iterator[bytes]:
    """The serialized Examples of a finished clip."""
    records = _records(place(path))
    next(records)
    return records


def _records(path: Path) -> Iterator[bytes]:
    """The records of a file, none when it is absent; checksums are verified while reading."""
    import tensorflow as tf

    with contextlib.suppress(FileNotFoundError), local_copy(path) as file:
        if file.exists():
            yield from tf.compat.v1.io.tf_record_iterator(str(file))
