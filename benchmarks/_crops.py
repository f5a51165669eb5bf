"""Crops and a Transform graph to train on, made by the project's own extraction and Transform."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preprocessing.datasets.demo_config import DemoConfig
from preprocessing.extraction.dataset_extraction import extract_dataset
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.manifest.build import build_manifest
from preprocessing.support.fingerprint import code_digest, settings_digest


@dataclasses.dataclass(frozen=True)
class Crops:
    """What the Trainer node reads.

    Attributes:
      faces: folder with one folder of TFRecords per split.
      transform_graph: what the Transform component writes.
    """

    faces: Path
    transform_graph: Path

    def files(self, split: str) -> list[str]:
        """Globs of a split's records."""
        return [f"{self.faces}/{split}/faces-*.gz"]


def make_crops(folder: Path, demo: DemoConfig, frames: int, image_size: int) -> Crops:
    """Makes a demo dataset and extracts its faces.

    Args:
      folder: of all of it; what an earlier call with the same parameters finished there is kept.
      demo: how many pseudo-persons each split gets, and how hard their fakes are.
      frames: crops of a clip, at most.
      image_size: side of the network's input in pixels.
    """
    from preprocessing.datasets.demo import make_demo_data

    make_demo_data(folder / "data", demo)
    share = demo_val_fraction(demo)
    return extract_crops(folder, folder / "data", "demo", frames, image_size, val_fraction=share)


def demo_val_fraction(demo: DemoConfig) -> float:
    """The share of val, which is carved out of what the demo's own list leaves for training."""
    people = demo.train_identities + demo.val_identities + demo.test_identities
    return demo.val_identities / people


def extract_crops(
    folder: Path,
    data: Path,
    layout: str,
    frames: int,
    image_size: int,
    val_fraction: float = 0.15,
    splits: Sequence[str] = ("train", "val", "test"),
) -> Crops:
    """Extracts a dataset's faces, and traces the Transform graph.

    Args:
      folder: gets both; what an earlier call with the same parameters finished there is kept.
      data: folder of the dataset.
      layout: of the dataset, which is divided by its own lists.
      frames: crops of a clip, at most.
      image_size: side of the network's input in pixels.
      val_fraction: share of the clips for val, where the lists have none.
      splits: that are extracted.
    """
    crops = Crops(folder / "faces", folder / "transform_graph")
    manifest = build_manifest(data, layout, "official", val_fraction, test_fraction=0.15, seed=1)
    chosen = tuple(clip for clip in manifest.clips if clip.split in splits)
    manifest = dataclasses.replace(manifest, clips=chosen)
    settings = CropSettings(frames_per_clip=frames)
    code = code_digest("benchmarks._crops")
    key = settings_digest(manifest.digest, settings.to_dict(), image_size, code)
    done = folder / "done.txt"
    if done.is_file() and done.read_text() == key:
        return crops
    extract_dataset(manifest, settings, crops.faces)
    make_transform_graph(crops.transform_graph, image_size)
    done.write_text(key)
    return crops


def make_transform_graph(folder: Path, image_size: int) -> None:
    """Writes what the Transform component writes for the pipeline's schema.

    Its preprocessing function needs no statistics of the data, so one made-up crop stands for
    them all.

    Args:
      folder: to be made; replaced if it is there, which tensorflow-transform refuses to do.
      image_size: side of the network's input in pixels.
    """
    import apache_beam as beam
    import cv2
    import tensorflow_transform.beam as tft_beam
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

    from components.transform.preprocessing import preprocessing_fn
    from pipeline.inputs import SCHEMA
    from preprocessing.extraction.face_example import IMAGE
    from preprocessing.support.beam_args import local_args

    shutil.rmtree(folder, ignore_errors=True)
    schema = text_format.Parse(SCHEMA.read_text(encoding="utf-8"), schema_pb2.Schema())
    spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    example = {
        name: np.full(feature.shape, b"" if feature.dtype.as_numpy_dtype is object else 0)
        for name, feature in spec.items()
    }
    jpeg = cv2.imencode(".jpg", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    example[IMAGE] = np.array([jpeg], object)
    metadata = dataset_metadata.DatasetMetadata(schema)
    options = beam.options.pipeline_options.PipelineOptions(local_args())
    with (
        tft_beam.Context(temp_dir=f"{folder}.tmp"),
        beam.Pipeline(options=options) as pipeline,
    ):
        data = pipeline | beam.Create([example])
        transform_fn = (data, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, {"image_size": image_size})
        )
        _ = transform_fn | tft_beam.WriteTransformFn(str(folder))
        _ = metadata | tft_beam.WriteMetadata(f"{folder}/metadata", pipeline)
    shutil.rmtree(f"{folder}.tmp", ignore_errors=True)
