"""Manifest rows -> faces: a Beam transform that loses nothing silently.

Each clip goes through `extract_clip` and lands in the face store as one file, written whole or
not at all: the report row first, then the clip's Examples. Runs that were killed, and runs in
which other clips changed, find finished clips there. Shards are then put together from the store.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import cv2
import numpy as np

from preprocessing.crop import limit_size, square_crop
from preprocessing.datasets.clip import Clip
from preprocessing.face_example import make_example
from preprocessing.fingerprint import code_digest, settings_digest
from preprocessing.tracking import Tracker
from preprocessing.video import Frame, UnreadableMedia, sample_frames

# What the result for one clip depends on besides the clip and the settings.
SOURCES = (
    "preprocessing/crop.py",
    "preprocessing/detector.py",
    "preprocessing/face_example.py",
    "preprocessing/face_extraction.py",
    "preprocessing/tracking.py",
    "preprocessing/video.py",
)
# Frames that the detector sees at once: more gain nothing on a CPU and cost memory.
_BATCH = 4
_CLIPS_PER_SHARD = 32


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides which crops come out of a clip; the names are those of ExtractionConfig."""

    frames_per_clip: int
    margin: float
    max_crop_size: int
    min_face_size: int
    min_face_score: float
    min_track_share: float
    jpeg_quality: int
    precropped: bool

    @classmethod
    def of(cls, extraction: dict[str, Any], precropped: bool) -> Settings:
        """Picks the settings out of an extraction section given as plain values."""
        names = {field.name for field in dataclasses.fields(cls)} - {"precropped"}
        return cls(precropped=precropped, **{name: extraction[name] for name in names})

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Crop:
    """One stored face: the JPEG bytes and where they came from."""

    jpeg: bytes
    track: int
    frame: Frame
    box: np.ndarray
    landmarks: np.ndarray
    score: float


class FaceCropper:
    """Cuts the faces out of one media file; used by extraction and prediction alike.

    Args:
      settings: what to look for and how to cut it.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._detector = None
        if not settings.precropped:
            from preprocessing.detector import FaceDetector

            self._detector = FaceDetector(settings.min_face_size, settings.min_face_score)

    def crops(self, path: str | Path) -> tuple[list[Crop], dict[str, Any]]:
        """Returns the crops of a clip in order of frame and track, and what was counted.

        The counts are `frames` (sampled), `frames_with_face`, `faces` (found in them), `tracks`
        (kept), `crops`, and `dropped` (faces left out, by reason).

        Raises:
          UnreadableMedia: no frame could be decoded.
        """
        frames = sample_frames(path, self._settings.frames_per_clip)
        if self._detector is None:
            return self._whole_frames(frames)
        tracker = Tracker()
        found: list[Crop] = []
        counts: collections.Counter[str] = collections.Counter()
        dropped: collections.Counter[str] = collections.Counter()
        for batch in _batches(frames, _BATCH):
            detected = self._detector.detect(np.stack([frame.pixels for frame in batch]))
            for frame, faces in zip(batch, detected, strict=True):
                counts["frames"] += 1
                counts["frames_with_face"] += bool(faces)
                counts["faces"] += len(faces)
                for face, track in zip(faces, tracker.assign(faces), strict=True):
                    try:
                        pixels = square_crop(
                            frame.pixels,
                            face.box,
                            self._settings.margin,
                            self._settings.max_crop_size,
                        )
                    except ValueError:
                        dropped["outside the frame"] += 1
                        continue
                    jpeg = self._encode(pixels)
                    light = dataclasses.replace(frame, pixels=np.empty(0, np.uint8))
                    found.append(Crop(jpeg, track, light, face.box, face.landmarks, face.score))
        lengths = collections.Counter(crop.track for crop in found)
        least = self._settings.min_track_share * counts["frames"]
        kept = [crop for crop in found if lengths[crop.track] >= least]
        if len(kept) < len(found):
            dropped["track too short"] = len(found) - len(kept)
        return kept, _counts(counts, kept, dropped)

    def _whole_frames(self, frames: Iterator[Frame]) -> tuple[list[Crop], dict[str, Any]]:
        """Files that are face crops already: each frame is one face."""
        crops = []
        for frame in frames:
            height, width = frame.pixels.shape[:2]
            jpeg = self._encode(limit_size(frame.pixels, self._settings.max_crop_size))
            box = np.array([0, 0, width, height], np.float32)
            light = dataclasses.replace(frame, pixels=np.empty(0, np.uint8))
            crops.append(Crop(jpeg, 0, light, box, np.zeros((5, 2), np.float32), 1.0))
        number = len(crops)
        return crops, _counts(
            {"frames": number, "frames_with_face": number, "faces": number}, crops, {}
        )

    def _encode(self, pixels: np.ndarray) -> bytes:
        parameters = [cv2.IMWRITE_JPEG_QUALITY, self._settings.jpeg_quality]
        ok, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), parameters)
        if not ok:
            raise UnreadableMedia("a crop could not be encoded")
        return data.tobytes()


def _counts(counts: dict[str, int], kept: list[Crop], dropped: dict[str, int]) -> dict[str, Any]:
    return {
        "frames": counts["frames"],
        "frames_with_face": counts["frames_with_face"],
        "faces": counts["faces"],
        "tracks": len({crop.track for crop in kept}),
        "crops": len(kept),
        "dropped": dict(dropped),
    }


def extract_clip(root: str, clip: Clip, cropper: FaceCropper) -> tuple[dict[str, Any], list[bytes]]:
    """One clip's report row and its serialized Examples.

    The row always comes; a clip that gives no Example says why in the row's `reason`.
    """
    row = {
        "path": clip.path,
        "label": clip.label,
        "method": clip.method,
        "frames": 0,
        "frames_with_face": 0,
        "faces": 0,
        "tracks": 0,
        "crops": 0,
        "dropped": {},
        "reason": "",
    }
    start = time.monotonic()
    crops: list[Crop] = []
    try:
        crops, counts = cropper.crops(Path(root) / clip.path)
        row.update(counts)
        if not crops:
            row["reason"] = "no face found" if not row["faces"] else "no face was kept"
    except UnreadableMedia as error:
        row["reason"] = str(error)
    row["seconds"] = round(time.monotonic() - start, 3)
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
      settings: see Settings.
      threads: CPU threads a worker may use; 0 leaves it to the libraries.
    """

    def __init__(
        self,
        root: str,
        store: str,
        outputs: dict[str, str],
        clips_per_split: dict[str, int],
        settings: Settings,
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
            | "Extract" >> beam.ParDo(_Extract(self._root, self._store, self._settings, self._threads))
        )
        _ = (
            rows
            | "WithFaces" >> beam.Filter(lambda row: row["crops"] > 0)
            | "ByShard" >> beam.Map(_with_shard, self._shards)
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShard" >> beam.ParDo(_WriteShard(self._outputs, self._shards))
        )
        return rows


class _Extract(beam.DoFn):
    def __init__(self, root: str, store: str, settings: Settings, threads: int):
        self._root = root
        self._store = store
        self._settings = settings
        self._threads = threads
        self._key = store_key(settings)
        self._cropper: FaceCropper | None = None

    def process(self, clip: Clip) -> Iterable[dict[str, Any]]:
        path = stored_clip(self._store, self._key, clip)
        row = _read_row(path)
        if row is None:
            if self._cropper is None:  # Not in setup(): a run served by the store needs no MTCNN.
                _limit_threads(self._threads)
                self._cropper = FaceCropper(self._settings)
            row, examples = extract_clip(self._root, clip, self._cropper)
            _write_whole(path, [json.dumps(row).encode(), *examples])
        yield {**row, "split": clip.split, "pair": clip.source or clip.path, "stored": str(path)}


class _WriteShard(beam.DoFn):
    def __init__(self, outputs: dict[str, str], shards: dict[str, int]):
        self._outputs = outputs
        self._shards = shards

    def process(self, keyed: tuple[tuple[str, int], Iterable[dict[str, Any]]]) -> None:
        import tensorflow as tf

        (split, shard), rows = keyed
        folder = self._outputs[split]
        tf.io.gfile.makedirs(folder)
        target = f"{folder}/faces-{shard:05d}-of-{self._shards[split]:05d}.gz"
        # A fake stands beside its original; the order is the same on every runner.
        ordered = sorted(rows, key=lambda row: (row["pair"], row["label"], row["path"]))
        temporary = f"{target}.tmp"
        with tf.io.TFRecordWriter(temporary, options="GZIP") as writer:
            for row in ordered:
                for example in _read_examples(row["stored"]):
                    writer.write(example)
        tf.io.gfile.rename(temporary, target, overwrite=True)


def store_key(settings: Settings) -> str:
    """Names the part of the face store that holds results of these settings and this code."""
    return settings_digest(settings.as_dict(), code_digest(SOURCES))


def stored_clip(store: str | Path, key: str, clip: Clip) -> Path:
    """Where the face store keeps a clip's result; what the Examples repeat is part of the name."""
    row = dataclasses.asdict(dataclasses.replace(clip, group="", split="", official_split=""))
    return Path(store) / key / f"{settings_digest(row)}.tfrecord"


def _with_shard(row: dict[str, Any], shards: dict[str, int]) -> tuple[tuple[str, int], Any]:
    # Pairs share a shard, so that training can show a fake beside its original.
    number = int.from_bytes(hashlib.sha256(row["pair"].encode()).digest()[:4], "big")
    return (row["split"], number % shards[row["split"]]), row


def _read_row(path: Path) -> dict[str, Any] | None:
    for record in _records(path):
        return json.loads(record)
    return None


def _read_examples(path: str) -> Iterator[bytes]:
    records = _records(Path(path))
    next(records)
    return records


def _records(path: Path) -> Iterator[bytes]:
    import tensorflow as tf

    if path.exists():
        yield from tf.compat.v1.io.tf_record_iterator(str(path))


def _write_whole(path: Path, records: list[bytes]) -> None:
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for record in records:
            writer.write(record)
    temporary.rename(path)


def _limit_threads(threads: int) -> None:
    if not threads:
        return
    import tensorflow as tf

    cv2.setNumThreads(threads)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        pass  # TensorFlow is running already; its threads cannot be changed any more.


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Lists of up to `size` frames of equal shape, in order."""
    batch: list[Frame] = []
    for frame in frames:
        if batch and (len(batch) == size or batch[0].pixels.shape != frame.pixels.shape):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch
