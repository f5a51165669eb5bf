"""ServingCheck on real artifacts and a real server."""

import json

import numpy as np
import pytest
import tensorflow as tf
from serving_support.models import face_detector
from tfx.components.pusher import executor as pusher
from tfx.proto import pusher_pb2
from tfx.types import channel_utils, standard_artifacts
from tfx.types.experimental import simple_artifacts
from tfx.utils import proto_utils

from components.serving_check.check import Limits, check_model
from components.serving_check.component import ServingCheck
from components.serving_check.executor import Executor
from components.trainer.warmup import FILE, write_warmup_requests
from preprocessing.errors import UsageError

pytestmark = pytest.mark.integration


def records(count):
    """Serialized examples with JPEG crops of one grey each."""
    found = []
    for number in range(count):
        pixels = np.full((16, 16, 3), 20 * number % 256, np.uint8)
        jpeg = tf.io.encode_jpeg(pixels).numpy()
        example = tf.train.Example()
        example.features.feature["image/encoded"].bytes_list.value.append(jpeg)
        found.append(example.SerializeToString())
    return found


@pytest.fixture
def artifacts(tmp_path):
    """Inputs and outputs of the executor; the model is made by the test at `model`."""
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    examples.split_names = '["train", "test"]'
    split = tmp_path / "examples" / "Split-test"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "faces.gz"), "GZIP") as writer:
        for record in records(10):
            writer.write(record)
    (tmp_path / "examples" / "Split-train").mkdir()
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(tmp_path / "blessing")
    report = simple_artifacts.File()
    report.uri = str(tmp_path / "report")
    inputs = {"model": [model], "examples": [examples]}
    return inputs, {"blessing": [blessing], "report": [report]}, tmp_path / "model/Format-Serving"


def run(artifacts, split="test", **limits):
    inputs, outputs, _ = artifacts
    properties = {"limits": json.dumps(limits), "crops": 8, "split": split, "code": ""}
    Executor().Do(inputs, outputs, properties)
    (blessing,), (report,) = outputs["blessing"], outputs["report"]
    with open(f"{report.uri}/report.json") as file:
        return blessing, json.load(file)


def push(artifacts, folder):
    """Whether Pusher pushes with the blessing of this check."""
    inputs, outputs, _ = artifacts
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(folder / "models"))
    )
    pusher.Executor().Do(
        {"model": inputs["model"], "infra_blessing": outputs["blessing"]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    return bool(pushed.get_int_custom_property("pushed"))


def test_good_model_is_blessed_and_pushed(artifacts, tmp_path):
    model = face_detector(artifacts[2])
    write_warmup_requests(str(model), batch_sizes=(1, 4), size=16)
    blessing, report = run(artifacts)
    assert report["problems"] == []
    assert report["blessed"]
    assert (report["crops"], report["warmup_requests"]) == (8, 2)
    assert report["largest_difference"] == {"gRPC": 0.0, "REST": 0.0}
    assert set(report["p95_ms"]) == {"gRPC", "REST"}
    assert blessing.get_int_custom_property("blessed") == 1
    assert push(artifacts, tmp_path)


def test_model_that_is_served_otherwise_than_evaluated_is_not_pushed(artifacts, tmp_path):
    model = face_detector(artifacts[2], examples_bias=0.25)
    write_warmup_requests(str(model), batch_sizes=(1,), size=16)
    blessing, report = run(artifacts, max_latency_ms=0.001)
    text = " ".join(report["problems"])
    assert "differ from those that were evaluated by up to 0.25" in text
    assert "95th percentile" in text
    assert report["log"]
    assert blessing.get_int_custom_property("blessed") == 0
    assert not push(artifacts, tmp_path)


def test_model_without_signature_or_graph(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    report = check_model(tmp_path / "bare", [], Limits())
    assert "no signature" in report.problems[0]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"\xff\xff")
    report = check_model(tmp_path / "broken", [], Limits())
    assert "cannot be loaded" in report.problems[0]


@pytest.mark.slow
def test_model_that_fails_at_warm_up(tmp_path):
    model = face_detector(tmp_path / "model")
    write_warmup_requests(str(model), crops=[b"this is no picture"], batch_sizes=(1,))
    report = check_model(model, records(2), Limits())
    assert not report.blessed
    assert "did not announce the model" in report.problems[0]
    assert "warm-up failed" in report.problems[0]


def test_empty_split_is_an_error(artifacts):
    with pytest.raises(UsageError, match="train"):
        run(artifacts, split="train")


def test_warm_up_file_holds_each_batch_size(tmp_path):
    from tensorflow_serving.apis import prediction_log_pb2

    write_warmup_requests(str(tmp_path), batch_sizes=(1, 3))
    dataset = tf.data.TFRecordDataset(str(tmp_path / FILE)).as_numpy_iterator()
    requests = [
        prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for record in dataset
    ]
    images = [tf.make_ndarray(request.inputs["image"]) for request in requests]
    assert [image.shape for image in images] == [(1,), (3,)]
    assert tf.io.decode_jpeg(images[0][0]).shape == (224, 224, 3)


def test_component_wires_into_pusher():
    from tfx.components.pusher.component import Pusher

    model = channel_utils.as_channel([standard_artifacts.Model()])
    examples = channel_utils.as_channel([standard_artifacts.Examples()])
    check = ServingCheck(model=model, examples=examples, limits={"max_latency_ms": 500.0})
    assert json.loads(check.exec_properties["limits"]) == {"max_latency_ms": 500.0}
    Pusher(
        model=model,
        infra_blessing=check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory="models")
        ),
    )
