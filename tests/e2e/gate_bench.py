"""The real Evaluator, ClipEvaluator and Pusher, on records that say what the model shall answer."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from cases.node_case import execute, make_artifact

from components.evaluation.config import EvaluationConfig, GateConfig
from preprocessing.extraction.face_example import SCORE, make_example
from preprocessing.faces.crop_settings import CropSettings
from serving.model import card

PERMISSIVE = GateConfig(min_accuracy=0.0, min_auc=0.0, max_auc_drop=1.0)
CROPS = CropSettings()


def write_card(folder: Path, crops: CropSettings) -> None:
    """The card of a model that was trained on these crops; what else it says is made up."""
    values = {"version": card.VERSION, "input_size": 32, "positive_class": "fake"}
    values |= {"temperature": 1.0, "backbone": "tiny", "extraction": crops.to_dict()}
    path = folder / "Format-Serving" / card.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def save_model(folder: Path, scale: float = 1.0, crops: CropSettings = CROPS) -> None:
    """A model whose logit is what the record's `face/score` says, times `scale`.

    Its card says that it was trained on `crops`.
    """
    import tensorflow as tf

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def serving_examples(self, examples):
            spec = {SCORE: tf.io.FixedLenFeature([], tf.float32)}
            logit = tf.io.parse_example(examples, spec)[SCORE] * scale
            return {"score": tf.sigmoid(logit), "logit": logit}

    model = Model()
    signatures = {"serving_examples": model.serving_examples}
    tf.saved_model.save(model, str(folder / "Format-Serving"), signatures=signatures)
    write_card(folder, crops)


@dataclasses.dataclass(frozen=True)
class Crops:
    """Crops of one kind: a clip has two of them, with one logit each."""

    label: int
    logits: list[float]
    method: str = "real"
    prefix: str = "a"
    source: str = "real"

    def records(self, split: str):
        for number, logit in enumerate(self.logits):
            original = f"{self.source}/{self.prefix}{number}.mp4"
            clip = f"{self.method}/{self.prefix}{number}.mp4" if self.label else original
            for frame in range(2):
                yield make_example(
                    jpeg=b"-",
                    label=self.label,
                    clip_id=clip,
                    pair_id=original,
                    frame_index=frame,
                    dataset="made",
                    method=self.method,
                    identity=f"{split}{self.prefix}{number}",
                    box=(0, 0, 100, 120),
                    score=logit,
                ).SerializeToString()


def normal(mean: float, number: int = 20) -> list[float]:
    """Logits around a mean, the same ones every time."""
    quantiles = (np.arange(number) + 0.5) / number
    return [float(mean + 2 * (q - 0.5)) for q in np.random.default_rng(7).permutation(quantiles)]


def write_examples(folder: Path, crops: list[Crops]) -> None:
    import tensorflow as tf

    for split in ("val", "test"):
        target = folder / f"Split-{split}"
        target.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(target / "faces.gz"), options="GZIP") as writer:
            for kind in crops:
                for record in kind.records(split):
                    writer.write(record)


@dataclasses.dataclass
class Outcome:
    """What the three components said and did."""

    frames: list
    clips: list
    frames_blessed: bool
    blessed: bool
    pushed: Path | None
    evaluation: Path
    clip_evaluation: Path

    @property
    def refused(self) -> list[str]:
        return [row.text() for row in (*self.frames, *self.clips) if not row.held]


def judge(
    folder: Path,
    crops: list[Crops],
    gate: GateConfig = PERMISSIVE,
    clip_gate: GateConfig = PERMISSIVE,
    scale: float = 1.0,
    baseline_scale: float | None = None,
    baseline_crops: CropSettings = CROPS,
) -> Outcome:
    """Runs Evaluator, ClipEvaluator and Pusher as a pipeline does."""
    from tfx.types import standard_artifacts
    from tfx.types.experimental import simple_artifacts
    from tfx.utils import proto_utils

    from components.clip_evaluator import executor as clip_evaluator
    from components.evaluation import frame_gate, results
    from components.evaluation.eval_config import make_eval_config
    from components.evaluator import component as evaluator

    def artifact(kind, name, splits=()):
        return make_artifact(kind, folder / name, splits)

    write_examples(folder / "examples", crops)
    examples = artifact(standard_artifacts.Examples, "examples", ("val", "test"))
    model = artifact(standard_artifacts.Model, "model")
    model.id = 1
    save_model(folder / "model", scale)
    inputs = {"examples": [examples], "model": [model]}
    if baseline_scale is not None:
        inputs["baseline_model"] = [artifact(standard_artifacts.Model, "baseline")]
        save_model(folder / "baseline", baseline_scale, baseline_crops)
    evaluation = artifact(standard_artifacts.ModelEvaluation, "evaluation")
    frame_blessing = artifact(standard_artifacts.ModelBlessing, "frame_blessing")
    config = make_eval_config(EvaluationConfig(gate=gate, clip_gate=clip_gate))
    # The component names its executor, so that one of TFX's own would be found out.
    execute(
        evaluator.Evaluator.EXECUTOR_SPEC.executor_class,
        folder,
        inputs,
        {"evaluation": [evaluation], "blessing": [frame_blessing]},
        {"eval_config": proto_utils.proto_to_json(config), "example_splits": '["test"]'},
    )
    clip_evaluation = artifact(simple_artifacts.File, "clip_evaluation")
    blessing = artifact(standard_artifacts.ModelBlessing, "blessing")
    execute(
        clip_evaluator.Executor,
        folder,
        {**inputs, "model_blessing": [frame_blessing]},
        {"evaluation": [clip_evaluation], "blessing": [blessing]},
        {"gate": json.dumps(clip_gate.to_dict()), "resamples": 100, "code": ""},
    )
    return Outcome(
        frames=frame_gate.read(evaluation.uri),
        clips=results.read_verdict(clip_evaluation.uri),
        frames_blessed=frame_blessing.get_int_custom_property("blessed") == 1,
        blessed=blessing.get_int_custom_property("blessed") == 1,
        pushed=_push(model, blessing, folder / "pushed"),
        evaluation=Path(evaluation.uri),
        clip_evaluation=Path(clip_evaluation.uri),
    )


def _push(model, blessing, target: Path) -> Path | None:
    """Runs Pusher; returns the folder of the version that it wrote."""
    from tfx.components.pusher import executor as pusher
    from tfx.proto import pusher_pb2
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    pushed_model = make_artifact(standard_artifacts.PushedModel, target.parent / "pushed_model")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(target))
    )
    execute(
        pusher.Executor,
        target.parent,
        {"model": [model], "model_blessing": [blessing]},
        {"pushed_model": [pushed_model]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    versions = list(target.glob("*")) if target.exists() else []
    assert len(versions) <= 1
    return versions[0] if versions else None
