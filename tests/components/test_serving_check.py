"""ServingCheck on real artifacts and a real server."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from cases.node_case import execute, make_artifact
from serving_support.models import face_detector
from tfx.components.pusher import executor as pusher
from tfx.proto import pusher_pb2
from tfx.types import channel_utils, standard_artifacts
from tfx.types.experimental import simple_artifacts
from tfx.utils import proto_utils

from components.evaluation import results, serving_result
from components.evaluation.blessing import MODEL_ID_PROPERTY
from components.evaluation.scores import ExampleScorer
from components.serving_check import check
from components.serving_check.check import Evaluated, ServingLimits, check_model
from components.serving_check.component import ServingCheck
from components.serving_check.executor import Executor
from preprocessing.extraction.face_example import make_example
from preprocessing.support.errors import UsageError
from serving.clients import ClientSettings
from serving.model.warmup_requests import FILE, write_warmup_requests

pytestmark = pytest.mark.integration


ROOT = Path(__file__).parents[2]
NOTHING = Evaluated([], np.empty(0, np.float32))


def jpeg(number):
    """A crop of one grey."""
    return tf.io.encode_jpeg(np.full((16, 16, 3), 20 * number % 256, np.uint8)).numpy()


def bless(artifact, blessed, word=""):
    """Gives an artifact what an Evaluator or InfraValidator writes."""
    name = f"{word}BLESSED" if blessed else f"{word}NOT_BLESSED"
    Path(artifact.uri).mkdir(exist_ok=True)
    (Path(artifact.uri) / name).touch()
    artifact.set_int_custom_property("blessed", int(blessed))


@dataclasses.dataclass
class Candidate:
    """Inputs and outputs of the executor; the test makes the model at `model`."""

    folder: Path
    inputs: dict
    outputs: dict

    @property
    def model(self):
        return self.folder / "model" / "Format-Serving"

    def evaluate(self):
        """What ClipEvaluator leaves of the model's scores."""
        table = ExampleScorer(self.model).table([str(self.folder / "examples/Split-test/a.gz")], "")
        Path(self.inputs["evaluation"][0].uri).mkdir()
        results.write_scores(Path(self.inputs["evaluation"][0].uri), "test", table)

    def check(self, split="test", **limits):
        """The blessing and the report."""
        properties = {"limits": json.dumps(limits), "crops": 8, "split": split, "code": ""}
        execute(Executor, self.folder, self.inputs, self.outputs, properties)
        (blessing,), (file,) = self.outputs["blessing"], self.outputs["report"]
        return blessing, serving_result.read(file.uri)

    def push(self):
        """Whether Pusher pushes with the blessing of this check."""
        pushed = make_artifact(standard_artifacts.PushedModel, self.folder / "pushed")
        destination = pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(
                base_directory=str(self.folder / "models")
            )
        )
        execute(
            pusher.Executor,
            self.folder,
            {"model": self.inputs["model"], "infra_blessing": self.outputs["blessing"]},
            {"pushed_model": [pushed]},
            {"push_destination": proto_utils.proto_to_json(destination)},
        )
        return bool(pushed.get_int_custom_property("pushed"))


@pytest.fixture
def candidate(tmp_path):
    def artifact(kind, name):
        return make_artifact(kind, tmp_path / name)

    examples = artifact(standard_artifacts.Examples, "examples")
    examples.split_names = '["train", "test"]'
    (tmp_path / "examples" / "Split-train").mkdir(parents=True)
    (tmp_path / "examples" / "Split-test").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "examples/Split-test/a.gz"), "GZIP") as writer:
        for number in range(10):
            # Two clips, the later one first: evaluation sorts them.
            clip = f"{'b' if number < 5 else 'a'}, with a comma.mp4"
            example = make_example(
                jpeg=jpeg(number), label=number < 5, clip_id=clip, frame_index=number
            )
            writer.write(example.SerializeToString())
    model = artifact(standard_artifacts.Model, "model")
    model.id = 7
    blessing = artifact(standard_artifacts.ModelBlessing, "gate")
    bless(blessing, True)
    return Candidate(
        tmp_path,
        {
            "model": [model],
            "examples": [examples],
            "evaluation": [artifact(simple_artifacts.File, "evaluation")],
            "model_blessing": [blessing],
        },
        {
            "blessing": [artifact(standard_artifacts.InfraBlessing, "blessing")],
            "report": [artifact(simple_artifacts.File, "report")],
        },
    )


def test_good_model_is_blessed_and_pushed(candidate):
    model = face_detector(candidate.model)
    write_warmup_requests(str(model), batch_sizes=(1, 4), size=16)
    candidate.evaluate()
    infra = standard_artifacts.InfraBlessing()
    infra.uri = str(candidate.folder / "infra")
    bless(infra, True, "INFRA_")
    candidate.inputs["infra_blessing"] = [infra]
    blessing, found = candidate.check()
    assert found.problems == []
    assert found.blessed
    assert (found.crops, found.warmup_requests) == (8, 2)
    assert found.largest_difference == {"gRPC": 0.0, "REST": 0.0}
    assert set(found.p95_ms) == {"gRPC", "REST"}
    assert "8 crops over gRPC and REST" in found.text()
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property(MODEL_ID_PROPERTY) == 7
    assert candidate.push()


def test_model_that_is_served_otherwise_than_evaluated_is_not_pushed(candidate):
    model = face_detector(candidate.model, examples_bias=0.25)
    write_warmup_requests(str(model), batch_sizes=(1,), size=16)
    candidate.evaluate()
    blessing, found = candidate.check(max_latency_ms=0.001)
    text = " ".join(found.problems)
    assert "differ from those that were evaluated by up to 0.25" in text
    assert "95th percentile" in text
    assert found.log
    assert blessing.get_int_custom_property("blessed") == 0
    assert not candidate.push()


@pytest.mark.parametrize("who", ["the gate", "InfraValidator"])
def test_refused_model_is_not_served(candidate, who):
    """No model lies there, so looking at it would be an error."""
    if who == "the gate":
        bless(candidate.inputs["model_blessing"][0], False)
        (Path(candidate.inputs["model_blessing"][0].uri) / "BLESSED").unlink()
    else:
        infra = standard_artifacts.InfraBlessing()
        infra.uri = str(candidate.folder / "infra")
        bless(infra, False, "INFRA_")
        candidate.inputs["infra_blessing"] = [infra]
    blessing, found = candidate.check()
    assert found.skipped.startswith(f"{who} refused the model")
    assert found.text() == found.skipped
    assert not found.blessed
    assert not found.problems
    assert blessing.get_int_custom_property("blessed") == 0


def test_scores_of_other_crops_are_an_error(candidate):
    face_detector(candidate.model)
    candidate.evaluate()
    path = Path(candidate.inputs["evaluation"][0].uri) / "test_crops.csv"
    path.write_text(path.read_text().replace("b, with a comma", "c, with a comma"))
    with pytest.raises(UsageError, match=r"no score of clip_id b, with a comma.mp4"):
        candidate.check()


def test_model_without_signature_or_graph(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    found = check_model(tmp_path / "bare", NOTHING, ServingLimits())
    assert "no signature" in found.problems[0]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"\xff\xff")
    found = check_model(tmp_path / "broken", NOTHING, ServingLimits())
    assert "cannot be loaded" in found.problems[0]


@pytest.mark.slow
def test_model_that_fails_at_warm_up(tmp_path):
    model = face_detector(tmp_path / "model")
    write_warmup_requests(str(model), crops=[b"this is no picture"], batch_sizes=(1,))
    found = check_model(model, NOTHING, ServingLimits())
    assert not found.blessed
    assert "did not announce the model" in found.problems[0]
    assert "warm-up failed" in found.problems[0]


@pytest.mark.parametrize("enabled", [0, 1])
def test_onednn_is_told_from_what_tensorflow_does(enabled):
    code = "from components.serving_check.check import on_onednn; print(on_onednn())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": str(enabled)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.split() == [str(bool(enabled))], done.stderr


@pytest.mark.slow
def test_how_long_a_request_may_take_is_for_the_check_to_say(tmp_path, monkeypatch):
    """On a slow machine a large model needs more than clients wait for by default."""
    assert ClientSettings().deadline < check._REQUEST_SECONDS
    monkeypatch.setattr(check, "_REQUEST_SECONDS", 1e-3)
    model = face_detector(tmp_path / "model")
    write_warmup_requests(str(model), batch_sizes=(1,), size=16)
    report = check_model(model, NOTHING, ServingLimits())
    assert len(report.problems) == 2
    for problem, protocol in zip(report.problems, ("gRPC", "REST"), strict=True):
        assert problem.startswith(f"{protocol}: a request failed: DEADLINE_EXCEEDED")


def test_one_tolerance_holds_on_every_device_unless_a_gpu_has_its_own():
    limits = ServingLimits(tolerance=1e-6)
    assert (limits.allowed(on_gpu=False), limits.allowed(on_gpu=True)) == (1e-6, 1e-6)
    own = ServingLimits(tolerance=1e-6, gpu_tolerance=0.5)
    assert (own.allowed(on_gpu=False), own.allowed(on_gpu=True)) == (1e-6, 0.5)


@pytest.mark.parametrize(
    ("on_gpu", "limits", "refusals"),
    [
        (True, ServingLimits(), ["(serving.gpu_tolerance)"] * 2),
        # Each starts a server: the one above in every run.
        pytest.param(True, ServingLimits(gpu_tolerance=0.1), [], marks=pytest.mark.slow),
        pytest.param(
            False,
            ServingLimits(gpu_tolerance=0.1),
            ["(serving.tolerance)"] * 2,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["GPU without a tolerance of its own", "GPU with one", "CPU"],
)
def test_logits_of_a_gpu_are_held_to_what_is_configured(tmp_path, on_gpu, limits, refusals):
    model = face_detector(tmp_path / "model")
    write_warmup_requests(str(model), batch_sizes=(1,), size=16)
    crops = [jpeg(number) for number in range(3)]
    signature = tf.saved_model.load(str(model)).signatures["serving_default"]
    # As far from the CPU's as a GPU with TF32 may be.
    logits = signature(image=tf.constant(crops))["logit"].numpy() + np.float32(0.01)
    found = check_model(model, Evaluated(crops, logits, on_gpu), limits)
    assert [problem[problem.rindex("(") :] for problem in found.problems] == refusals
    assert found.blessed is not bool(refusals)


def test_empty_split_is_an_error(candidate):
    with pytest.raises(UsageError, match="train"):
        candidate.check(split="train")


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
    check = ServingCheck(
        model=model,
        examples=examples,
        evaluation=channel_utils.as_channel([simple_artifacts.File()]),
        model_blessing=channel_utils.as_channel([standard_artifacts.ModelBlessing()]),
        limits={"max_latency_ms": 500.0},
    )
    assert json.loads(check.exec_properties["limits"]) == {"max_latency_ms": 500.0}
    Pusher(
        model=model,
        infra_blessing=check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory="models")
        ),
    )
