"""Manifest rows -> faces: a Beam transform that loses nothing silently.

Each clip goes through `extract_clip` and lands in the face store (preprocessing/face_store.py).
Runs that were killed, and runs in which other clips changed, find finished clips there. Shards
are then put together from the store.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from preprocessing.clip_row import ClipRow
from preprocessing.crop_settings import CropSettings
from preprocessing.datasets.clip import Clip
from preprocessing.face_cropper import Crop, FaceCropper
from preprocessing.face_example import make_example
from preprocessing.face_selection import FaceCounts
from preprocessing.face_store import (
    SOURCES,
    read_examples,
    read_row,
    store_key,
    stored_clip,
    write_clip,
)
from preprocessing.media.errors import DecodingFailed, UnreadableMedia

__all__ = [
    "SOURCES",
    "Crop",
    "ExtractFaces",
    "FaceCropper",
    "extract_clip",
    "store_key",
    "stored_clip",
]

# Part of the reason of a clip that is not known to be unreadable.
PASSING = "a passing fault: the next run tries again"
_CLIPS_PER_SHARD = 32


def extract_clip(root: str, clip: Clip, cropper: FaceCropper) -> tuple[ClipRow, list[bytes]]:
    """One clip's report row and its serialized Examples.

    The row always comes; a clip that gives no Example says why in the row's `reason`. After a
    passing fault, which the decoder has tried to get over, the row has `failed` set: nothing is
    known about the clip then, and the row must not be kept.

    Args:
      root: folder that the clip's path starts from.
      clip: the clip.
      cropper: cuts its faces out.
    """
    original_state = _original_state(root, clip, cropper.settings)
    start = time.monotonic()
    crops: list[Crop] = []
    counts, reason, failed = FaceCounts(), "", False
    original = Path(root) / clip.source if original_state else None
    try:
        _check_present(Path(root) / clip.path)
        crops, counts = cropper.crops(Path(root) / clip.path, original)
        if not crops:
            reason = _why_none(counts)
    except UnreadableMedia as error:
        reason = str(error)
    except (DecodingFailed, MemoryError, OSError) as error:
        reason, failed = f"{str(error) or type(error).__name__} ({PASSING})", True
    row = ClipRow(
        path=clip.path,
        label=clip.label,
        method=clip.method,
        **dataclasses.asdict(counts),
        original=original_state,
        reason=reason,
        failed=failed,
        seconds=round(time.monotonic() - start, 3),
    )
    examples = [
        make_example(
            jpeg=crop.jpeg,
            label=clip.label,
            clip_id=clip.path,
            pair_id=clip.source or clip.path,
            track_id=crop.track,
            frame_index=crop.frame.index,
            timestamp_ms=crop.frame.timestamp_ms,
            dataset=clip.dataset,
            method=clip.method,
            identity="|".join(clip.identities),
            box=crop.box,
            landmarks=crop.landmarks,
            score=crop.score,
        ).SerializeToString(deterministic=True)
        for crop in crops
    ]
    return row, examples


class ExtractFaces(beam.PTransform):
    """PCollection of Clips -> shards of Examples by split, and a PCollection of report rows.

    Args:
      root: folder that the clips' paths start from.
      store: folder of finished clips, shared by runs.
      outputs: for each split the folder that its shards are written to.
      clips_per_split: for each split how many clips it has (decides the number of shards).
      settings: see `preprocessing.crop_settings`.
      threads: CPU threads a worker may use; 0 leaves it to the libraries.
    """

    def __init__(
        self,
        root: str,
        store: str,
        outputs: dict[str, str],
        clips_per_split: dict[str, int],
        settings: CropSettings,
        threads: int = 0,
    ):
        super().__init__()
        self._root = root
        self._store = store
        self._outputs = outputs
        self._shards = {
            split: -(-number // _CLIPS_PER_SHARD) for split, number in clips_per_split.items()
        }
        self._settings = settings
        self._threads = threads

    def expand(self, clips: beam.PCollection) -> beam.PCollection:
        rows = (
            clips
            | "Spread" >> beam.Reshuffle()
            | "Extract"
            >> beam.ParDo(_Extract(self._root, self._store, self._settings, self._threads))
        )
        _ = (
            rows
            | "WithFaces" >> beam.Filter(lambda row: row.crops > 0)
            | "ByShard" >> beam.Map(_with_shard, self._shards)
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShard" >> beam.ParDo(_WriteShard(self._outputs, self._shards))
        )
        return rows


def run_extraction(
    pipeline: beam.Pipeline,
    root: str,
    clips: Sequence[Clip],
    store: str,
    outputs: dict[str, str],
    settings: CropSettings,
    workers: int,
    rows_path: str,
    then: beam.PTransform | None = None,
) -> list[ClipRow]:
    """Runs a pipeline that extracts the faces of clips, and accounts for every clip.

    Args:
      pipeline: not yet run; this function runs it.
      root: folder that the clips' paths start from.
      clips: the clips, with their splits.
      store: folder of finished clips.
      outputs: for each split the folder that its shards are written to.
      settings: see `preprocessing.crop_settings`.
      workers: worker processes of the pipeline, among which the CPUs are divided.
      rows_path: file that carries the rows from the workers to here; it is gone afterwards.
      then: further work on each clip, report rows -> report rows; None for none.

    Returns:
      The report rows, sorted by path.

    Raises:
      RuntimeError: a clip is missing in the rows.
    """
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
                threads=max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0,
            )
        )
        if then is not None:
            rows = rows | "Then" >> then
        _ = (
            rows
            | "Rows" >> beam.combiners.ToList()
            | "WriteRows" >> beam.Map(_write_json, rows_path)
        )
    with open(rows_path, encoding="utf-8") as file:
        found = sorted(map(ClipRow.from_dict, json.load(file)), key=lambda row: row.path)
    os.remove(rows_path)
    missing = {clip.path for clip in clips} - {row.path for row in found}
    if missing or len(found) != len(clips):
        raise RuntimeError(
            f"{len(clips)} clips went in, {len(found)} came out; the first missing is "
            f"{min(missing, default='none')}"
        )
    return found


def _write_json(rows: list[ClipRow], path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump([row.to_dict() for row in rows], file)


class _Extract(beam.DoFn):
    def __init__(self, root: str, store: str, settings: CropSettings, threads: int):
        self._root = root
        self._store = store
        self._settings = settings
        self._threads = threads
        self._key = store_key(settings)
        self._cropper: FaceCropper | None = None

    def process(self, clip: Clip) -> Iterable[ClipRow]:
        path = stored_clip(self._store, self._key, clip)
        row = read_row(path)
        if row is None or row.original != _original_state(self._root, clip, self._settings):
            if self._cropper is None:  # Not in setup(): a run served by the store needs no MTCNN.
                _limit_threads(self._threads)
                self._cropper = FaceCropper(self._settings, self._threads)
            row, examples = extract_clip(self._root, clip, self._cropper)
            if not row.failed:
                write_clip(path, row, examples)
        yield row.in_run(clip.split, clip.source or clip.path, str(path))

    def teardown(self) -> None:
        if self._cropper is not None:
            self._cropper.close()


class _WriteShard(beam.DoFn):
    def __init__(self, outputs: dict[str, str], shards: dict[str, int]):
        self._outputs = outputs
        self._shards = shards

    def process(self, keyed: tuple[tuple[str, int], Iterable[ClipRow]]) -> None:
        import tensorflow as tf

        (split, shard), rows = keyed
        folder = self._outputs[split].rstrip("/")
        tf.io.gfile.makedirs(folder)
        name = f"faces-{shard:05d}-of-{self._shards[split]:05d}.gz"
        # A fake stands beside its original; the order is the same on every runner.
        ordered = sorted(rows, key=lambda row: (row.pair, row.label, row.path))
        # Beside the folder, not in it: readers take every file in it for a shard.
        temporary = f"{folder}-{name}.tmp"
        with tf.io.TFRecordWriter(temporary, options="GZIP") as writer:
            for row in ordered:
                for example in read_examples(row.stored):
                    writer.write(example)
        tf.io.gfile.rename(temporary, f"{folder}/{name}", overwrite=True)


def _check_present(path: Path) -> None:
    """Raises DecodingFailed where a clip is away, which is no fact about its content."""
    try:
        os.stat(path)
    except OSError as error:
        raise DecodingFailed(f"the file cannot be opened: {error.strerror}") from error


def _why_none(counts: FaceCounts) -> str:
    """Without numbers, so that the report counts clips by it; they stand beside it in the row."""
    if not counts.faces:
        return "no face found"
    return f"no face was kept: {', '.join(sorted(counts.dropped))}"


def _original_state(root: str, clip: Clip, settings: CropSettings) -> list[int] | None:
    """What tells that a clip's original has changed; None where it has no part in the result."""
    if not settings.boxes_of_original or not clip.source:
        return None
    try:
        status = (Path(root) / clip.source).stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _with_shard(row: ClipRow, shards: dict[str, int]) -> tuple[tuple[str, int], Any]:
    # Pairs share a shard, so that training can show a fake beside its original.
    number = int.from_bytes(hashlib.sha256(row.pair.encode()).digest()[:4], "big")
    return (row.split, number % shards[row.split]), row


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
