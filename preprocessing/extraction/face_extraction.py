"""Manifest rows -> faces: a Beam transform that loses nothing silently.

Each clip goes through `extract_clip` and lands in the face store (face_store.py).
Runs that were killed, and runs in which other clips changed, find finished clips there. Shards
are then put together from the store.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from preprocessing.datasets.clip import Clip
from preprocessing.extraction.clip_extraction import extract_clip, original_state
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.extraction.face_example import IDENTITY
from preprocessing.extraction.face_store import (
    read_examples,
    read_row,
    stored_clip,
    write_clip,
)
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.faces.face_cropper import Crop, FaceCropper
from preprocessing.support.beam_args import local_args
from preprocessing.support.cpus import threads_of_a_worker
from preprocessing.support.files import TEXT, delete_folder, place, replacing, written
from preprocessing.support.fingerprint import code_digest, settings_digest

__all__ = [
    "Crop",
    "ExtractFaces",
    "FaceCropper",
    "extract_clip",
    "store_key",
    "stored_clip",
]

_CLIPS_PER_SHARD = 32
_ROWS_PER_FILE = 10_000
# What makes the content of the face store, and its form. How Beam hands clips out is no part of it.
STORE_ENTRY_POINTS = (
    "preprocessing.extraction.clip_extraction",
    "preprocessing.extraction.face_store",
    # Its weights find the faces, and are read without importing it.
    "mtcnn",
)


def store_key(settings: CropSettings) -> str:
    """Names the part of the face store that holds results of these settings and this code."""
    return settings_digest(settings.to_dict(), code_digest(*STORE_ENTRY_POINTS))


class ExtractFaces(beam.PTransform):
    """PCollection of Clips -> shards of Examples by split, and a PCollection of report rows.

    Args:
      root: folder that the clips' paths start from.
      store: folder of finished clips, shared by runs.
      outputs: for each split the folder that its shards are written to; empty to fill the store
        only.
      clips_per_split: for each split how many clips it has (decides the number of shards).
      settings: see `preprocessing.faces.crop_settings`.
      workers: worker processes that share a machine, among which its CPUs are divided.
      frames_of: pictures of the clips that fakes may take boxes from, by path.
    """

    def __init__(
        self,
        root: str,
        store: str,
        outputs: dict[str, str],
        clips_per_split: dict[str, int],
        settings: CropSettings,
        workers: int = 1,
        frames_of: Mapping[str, Sequence[str]] | None = None,
    ):
        super().__init__()
        self._root = root
        self._store = store
        self._outputs = outputs
        self._shards = {
            split: -(-number // _CLIPS_PER_SHARD) for split, number in clips_per_split.items()
        }
        self._settings = settings
        self._workers = workers
        self._frames_of = dict(frames_of or {})

    def expand(self, clips: beam.PCollection) -> beam.PCollection:
        """Clips to their report rows; see the class."""
        rows = (
            clips
            | "Spread" >> beam.Reshuffle()
            | "Extract"
            >> beam.ParDo(
                _Extract(self._root, self._store, self._settings, self._workers, self._frames_of)
            )
        )
        if not self._outputs:
            return rows
        _ = (
            rows
            | "WithFaces" >> beam.Filter(lambda row: row.crops > 0)
            | "ByShard" >> beam.Map(_with_shard, self._shards)
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShard" >> beam.ParDo(_WriteShard(self._outputs, self._shards))
        )
        return rows


def extraction_pipeline(workers: int, beam_args: Sequence[str] = ()) -> beam.Pipeline:
    """The pipeline for `run_extraction`.

    Args:
      workers: worker processes of the local runner; 1 works in this process.
      beam_args: of another runner, instead.
    """
    return beam.Pipeline(argv=[*(beam_args or local_args(workers))])


def run_extraction(
    pipeline: beam.Pipeline,
    root: str,
    clips: Sequence[Clip],
    store: str,
    outputs: dict[str, str],
    settings: CropSettings,
    workers: int,
    rows_folder: str,
    then: beam.PTransform | None = None,
) -> list[ClipRow]:
    """Runs a pipeline that extracts the faces of clips, and accounts for every clip.

    Args:
      pipeline: not yet run; this function runs it.
      root: folder that the clips' paths start from.
      clips: the clips, with their splits.
      store: folder of finished clips.
      outputs: for each split the folder that its shards are written to; empty for none.
      settings: see `preprocessing.faces.crop_settings`.
      workers: worker processes that share a machine, among which its CPUs are divided.
      rows_folder: existing folder, which workers and this process see, for the files that carry
        the rows from the workers to here, a row a line; they are gone afterwards. It may be in an
        object store.
      then: further work on each clip, report rows -> report rows; None for none.

    Returns:
      The report rows, sorted by path.

    Raises:
      RuntimeError: a clip is missing in the rows.
    """
    # Two processes may extract the same clips into the same folder.
    row_files = place(rows_folder) / f"rows-{secrets.token_hex(8)}"
    number = -(-len(clips) // _ROWS_PER_FILE)
    try:
        with pipeline:
            rows = (
                pipeline
                | "Clips" >> beam.Create(clips)
                | "ExtractFaces"
                >> ExtractFaces(
                    root=root,
                    store=store,
                    outputs=outputs,
                    clips_per_split={
                        split: sum(clip.split == split for clip in clips) for split in outputs
                    },
                    settings=settings,
                    workers=workers,
                    frames_of=frames_of_originals(clips) if settings.boxes_of_original else None,
                )
            )
            if then is not None:
                rows = rows | "Then" >> then
            _ = (
                rows
                | "ByFile" >> beam.Map(lambda row: (_spread(row.path, number), row))
                | "GroupByFile" >> beam.GroupByKey()
                | "WriteRows" >> beam.ParDo(_WriteRows(str(row_files)))
            )
        clip_rows = sorted(_read_rows(row_files), key=lambda row: row.path)
    finally:
        delete_folder(row_files)
    missing = {clip.path for clip in clips} - {row.path for row in clip_rows}
    if missing or len(clip_rows) != len(clips):
        raise RuntimeError(
            f"{len(clips)} clips went in, {len(clip_rows)} came out; the first missing is "
            f"{min(missing, default='none')}"
        )
    return clip_rows


def frames_of_originals(clips: Iterable[Clip]) -> dict[str, tuple[str, ...]]:
    """Path of each clip of pictures that is another's original -> its pictures."""
    clips = list(clips)
    originals = {clip.source for clip in clips}
    return {clip.path: clip.frames for clip in clips if clip.frames and clip.path in originals}


def _read_rows(folder: Path) -> Iterator[ClipRow]:
    for file in folder.glob("*.jsonl"):
        with file.open(**TEXT) as lines:
            for line in lines:
                yield ClipRow.from_dict(json.loads(line))


class _Extract(beam.DoFn):
    def __init__(
        self,
        root: str,
        store: str,
        settings: CropSettings,
        workers: int,
        frames_of: Mapping[str, Sequence[str]],
    ):
        self._root = root
        self._store = store
        self._settings = settings
        self._workers = workers
        self._frames_of = frames_of
        self._key = store_key(settings)
        self._cropper: FaceCropper | None = None

    def process(self, clip: Clip) -> Iterable[ClipRow]:
        path = stored_clip(self._store, self._key, clip)
        row = read_row(path)
        original = self._frames_of.get(clip.source, ())
        state = original_state(self._root, clip, self._settings, original)
        if row is None or row.original != state:
            if self._cropper is None:  # Not in setup(): a run served by the store needs no MTCNN.
                # Of the worker's machine, which may be another one than that of the pipeline.
                threads = threads_of_a_worker(self._workers)
                _limit_threads(threads)
                self._cropper = FaceCropper(self._settings, threads)
            row, examples = extract_clip(self._root, clip, self._cropper, original)
            if not row.failed:
                write_clip(path, row, examples)
        yield row.in_run(clip.split, clip.source or clip.path, clip.kin, str(path))

    def teardown(self) -> None:
        if self._cropper is not None:
            self._cropper.close()


class _WriteRows(beam.DoFn):
    """Writes a file of rows, whole: a runner may try a bundle again."""

    def __init__(self, folder: str):
        self._folder = folder

    def process(self, keyed: tuple[int, Iterable[ClipRow]]) -> None:
        number, rows = keyed
        with replacing(place(self._folder) / f"{number}.jsonl") as file:
            file.writelines(json.dumps(row.to_dict()) + "\n" for row in rows)


class _WriteShard(beam.DoFn):
    def __init__(self, outputs: dict[str, str], shards: dict[str, int]):
        self._outputs = outputs
        self._shards = shards

    def process(self, keyed: tuple[tuple[str, int], Iterable[ClipRow]]) -> None:
        import tensorflow as tf

        (split, shard), rows = keyed
        folder = place(self._outputs[split])
        name = f"faces-{shard:05d}-of-{self._shards[split]:05d}.gz"
        # A fake stands beside its original; the order is the same on every runner.
        ordered = sorted(rows, key=lambda row: (row.pair, row.label, row.path))
        # Beside the folder, not in it: readers take every file in it for a shard. A runner may try
        # a bundle again while the first try still writes.
        with (
            written(folder / name, unfinished_in=folder.parent) as unfinished,
            tf.io.TFRecordWriter(str(unfinished), options="GZIP") as writer,
        ):
            for row in ordered:
                for example in read_examples(row.stored):
                    writer.write(_with_kin(example, row.kin) if row.kin else example)


def _with_shard(row: ClipRow, shards: dict[str, int]) -> tuple[tuple[str, int], Any]:
    # Pairs share a shard, so that training can show a fake beside its original.
    return (row.split, _spread(row.pair, shards[row.split])), row


def _with_kin(record: bytes, kin: str) -> bytes:
    """A clip's Example with the name of its group in place of persons.

    The face store is shared by runs, each of which may group clips in its own way, and holds none.
    """
    import tensorflow as tf

    name = kin.encode("utf-8", "surrogateescape")
    example = tf.train.Example.FromString(record)
    example.features.feature[IDENTITY].bytes_list.value[:] = [name]
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def _spread(text: str, number: int) -> int:
    """One of a number of groups, the same on every machine."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:4], "big") % number


def _limit_threads(threads: int) -> None:
    if not threads:
        return
    import cv2
    import tensorflow as tf

    cv2.setNumThreads(threads)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        pass  # TensorFlow is running already; its threads cannot be changed any more.
