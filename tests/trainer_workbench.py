"""Small face crops, a real Transform graph, and the Trainer's function on them."""

from __future__ import annotations

import csv
import dataclasses
import types
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import keras

    from components.trainer.config import ModelConfig

SIZE = 64
MODEL = {"backbone": "tiny", "weights": "none", "input": "residual", "dropout": 0.0}
TRAINING = {
    "batch_size": 8,
    "head_epochs": 0,
    "epochs": 2,
    "steps_per_epoch": 40,
    "learning_rate": 1e-2,
    "label_smoothing": 0.0,
    "batch_norm": "momentum",
    "augmentation": "light",
    "recalibration_steps": 10,
}


def face_like(rng: np.random.Generator, fake: bool) -> np.ndarray:
    """uint8 [SIZE, SIZE, 3]: smooth colours under fine grain; a fake lacks the grain inside."""
    coarse = cv2.resize(rng.uniform(60, 200, (4, 4, 3)).astype(np.float32), (SIZE, SIZE))
    grain = rng.normal(0, 12, (SIZE, SIZE, 1))
    if fake:
        grain[16:48, 16:48] = cv2.GaussianBlur(grain[16:48, 16:48], (0, 0), 2)[..., None]
    return np.clip(coarse + grain, 0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, ending: str = ".jpg") -> bytes:
    """RGB or grey pixels as a JPEG of high quality, or as a PNG."""
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., ::-1])
    return cv2.imencode(ending, pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def write_split(folder: Path, split: str, clips: int, seed: int, labels=(0, 1)) -> Path:
    """Records of `clips` originals and their fakes, two crops each; returns the split's folder."""
    import tensorflow as tf

    from preprocessing.extraction.face_example import make_example

    rng = np.random.default_rng(seed)
    target = folder / f"Split-{split}"
    target.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(target / "faces-00000-of-00001.gz"), options="GZIP") as writer:
        for clip in range(clips):
            for label in labels:
                for frame in range(2):
                    example = make_example(
                        jpeg=encode(face_like(rng, fake=bool(label))),
                        label=label,
                        clip_id=f"{'fake' if label else 'real'}/{split}{clip}.mp4",
                        pair_id=f"real/{split}{clip}.mp4",
                        frame_index=10 * frame,
                        box=(10, 10, 50, 50),
                    )
                    writer.write(example.SerializeToString())
    return target


def make_transform_graph(folder: Path, size: int) -> str:
    """What the Transform component writes for the curated schema, made by Beam."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

    import pipeline
    from components.transform.preprocessing import preprocessing_fn

    text = (Path(pipeline.__file__).parent / "schema" / "schema.pbtxt").read_text()
    schema = text_format.Parse(text, schema_pb2.Schema())
    raw = {
        name: np.full(spec.shape, b"" if spec.dtype.as_numpy_dtype is object else 0)
        for name, spec in schema_utils.schema_as_feature_spec(schema).feature_spec.items()
    }
    raw["image/encoded"] = np.array([encode(np.zeros((9, 9, 3), np.uint8))], object)
    metadata = dataset_metadata.DatasetMetadata(schema)
    target = str(folder / "transform_graph")
    with (
        tft_beam.Context(temp_dir=str(folder / "beam")),
        beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as run,
    ):
        data = run | beam.Create([raw])
        transform_fn = (data, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, {"image_size": size})
        )
        _ = transform_fn | tft_beam.WriteTransformFn(target)
        _ = metadata | tft_beam.WriteMetadata(f"{target}/metadata", run)
    return target


def history_rows(output: Path) -> list[dict[str, str]]:
    """The history of a training, a row an epoch; `output` is that of `Workbench.train`."""
    with (output / "logs" / "history.csv").open() as file:
        return list(csv.DictReader(file))


def load_network(model_run: Path | str, config: ModelConfig) -> keras.Model:
    """The network of a training, with layers that know training from inference.

    Args:
      model_run: the folder of what the Trainer says about the training.
      config: of the training.
    """
    from components.trainer.model import build_model
    from components.trainer.training import WEIGHTS

    network = build_model(config.replace(weights="none"))
    network.load_weights(Path(model_run) / WEIGHTS)
    return network


def losses_by_mode(
    network: keras.Model, batches: list[tuple[list[bytes], np.ndarray]]
) -> tuple[float, float]:
    """Mean cross-entropy of batches (crops, labels) in training and in inference mode.

    They differ where the moving statistics of batch normalisation are not those of the data.
    """
    import keras
    import tensorflow as tf

    from components.transform.preprocessing import decode_images

    loss = keras.losses.BinaryCrossentropy(from_logits=True)

    def mean_loss(training: bool) -> float:
        losses = []
        for crops, labels in batches:
            pixels = decode_images(tf.constant(crops), network.input_shape[1])
            logits = network(pixels, training=training)
            losses.append(float(loss(labels[:, None].astype(np.float32), logits)))
        return float(np.mean(losses))

    # In this order, since training mode moves the statistics.
    inference = mean_loss(training=False)
    return mean_loss(training=True), inference


@dataclasses.dataclass
class Workbench:
    """Everything the Trainer node reads.

    Attributes:
      records: folder with the three splits.
      transform_graph: of image size SIZE.
    """

    records: Path
    transform_graph: str

    def train(
        self,
        output: Path,
        model=(),
        training=(),
        records: Path | None = None,
        state_dir: Path | str = "",
        hyperparameters: dict | None = None,
    ) -> Path:
        """Runs the node's function; returns the exported model's folder."""
        from components.trainer.run_fn import run_fn

        records = records or self.records
        run_fn(
            types.SimpleNamespace(
                hyperparameters=hyperparameters,
                train_files=[f"{records}/Split-train/*"],
                eval_files=[f"{records}/Split-val/*"],
                transform_graph_path=self.transform_graph,
                serving_model_dir=str(output / "Format-Serving"),
                model_run_dir=str(output / "logs"),
                custom_config={
                    "model": {**MODEL, **dict(model)},
                    "training": {**TRAINING, **dict(training)},
                    "seed": 3,
                    "metadata": {"extraction": {"margin": 1.3, "frames_per_clip": 2}},
                    "code": "0123",
                    "state_dir": str(state_dir),
                },
            )
        )
        return output / "Format-Serving"

    def crops(self, split: str) -> tuple[list[bytes], np.ndarray, list[bytes]]:
        """Encoded crops, labels and serialized records of a split."""
        import tensorflow as tf

        from preprocessing.extraction.face_example import IMAGE, LABEL

        files = [str(path) for path in (self.records / f"Split-{split}").iterdir()]
        records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
        features = [tf.train.Example.FromString(record).features.feature for record in records]
        crops = [feature[IMAGE].bytes_list.value[0] for feature in features]
        labels = np.array([feature[LABEL].int64_list.value[0] for feature in features])
        return crops, labels, records
