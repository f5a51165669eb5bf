"""The extraction transform on a few clips, and what it writes."""

import collections
import hashlib
import json

import apache_beam as beam

from preprocessing.datasets.clip import Clip
from preprocessing.extraction import face_example
from preprocessing.extraction.face_extraction import ExtractFaces
from preprocessing.faces.crop_settings import CropSettings

# In full, because short names mean other runners in other versions of Beam.
RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
SETTINGS = CropSettings(frames_per_clip=6)
PRECROPPED = SETTINGS.replace(precropped=True)


def clip(path, label=0, **fields):
    method = "swap" if label else "real"
    values = {"sha256": path, "split": "train", **fields}
    return Clip(path, label, dataset="test", method=method, **values)


def extract(root, output, which, settings=SETTINGS, **options):
    """Runs the transform; returns its rows by path."""
    rows = output / "rows.json"
    splits = collections.Counter(clip.split for clip in which)
    options = {"store": str(output / "store"), **options}
    with beam.Pipeline(RUNNER) as pipeline:
        _ = (
            pipeline
            | beam.Create(which)
            | ExtractFaces(
                root=str(root),
                outputs={split: str(output / split) for split in splits},
                clips_per_split=dict(splits),
                settings=settings,
                **options,
            )
            | beam.combiners.ToList()
            | beam.Map(lambda found: rows.write_text(json.dumps([row.to_dict() for row in found])))
        )
    return {row["path"]: row for row in json.loads(rows.read_text())}


def shards(output):
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.glob("*/faces-*"))
    }


def examples(output, split):
    import tensorflow as tf

    for path in sorted((output / split).iterdir()):
        for record in tf.data.TFRecordDataset(str(path), "GZIP"):
            parsed = tf.io.parse_single_example(record, face_example.feature_spec())
            yield {name: value.numpy() for name, value in parsed.items()}
