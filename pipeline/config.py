"""The configuration: one frozen dataclass per concern, read from YAML, typos refused.

    config = load_config("demo", overrides=["training.epochs=2"])

Numbers that matter live here (or in a preset), each with its reason. Nothing in this module
imports TensorFlow or TFX, so that the command line can refuse a bad configuration at once.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from components.trainer.backbones.base import backbone_of
from pipeline.config_checks import check
from pipeline.config_values import DuplicateKey, build, nearest, override, read_yaml
from preprocessing.beam_args import RUNNER
from preprocessing.errors import UsageError
from preprocessing.versions import TENSORFLOW_SERVING

PRESET_DIR = Path(__file__).parent / "presets"


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """The made dataset (`layout: demo`); see preprocessing/datasets/demo.py."""

    train_identities: int = 100
    val_identities: int = 20
    test_identities: int = 40
    seed: int = 7
    # easy: most fakes are blurrier in the face than around it. hard: as sharp as around it on
    # average, closer in colour, and every clip is degraded by a draw of its own.
    difficulty: str = "easy"


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which clips, and how they are divided."""

    # Folder of the dataset. May stay empty for `layout: demo`, which makes its own.
    dir: str = ""
    layout: str = "auto"
    # official: the dataset's own lists or folders; identity: no person in two splits; clip: by
    # clip; auto: as a plain folder's own train, val and test folders say, identity without them.
    split: str = "identity"
    # Shares of the clips that the identity and clip splits aim at; the rest is for training.
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    # True: the files are face crops already, and no detector runs.
    precropped: bool = False
    demo: DemoConfig = DemoConfig()


@dataclasses.dataclass(frozen=True)
class ExtractionConfig:
    """From clip to face crops; see preprocessing/face_cropper.py."""

    # 32 evenly sampled frames a clip is what DeepfakeBench and the DFDC winner use.
    frames_per_clip: int = 32
    # Above 0: this many frames a second instead, and at most frames_per_clip. Long clips then say
    # more than short ones, which most datasets do not want.
    frames_per_second: float = 0.0
    # Side of the square crop over the longer side of the face box (DeepfakeBench: 1.3).
    margin: float = 1.3
    # Crops larger than this side are scaled down before they are stored: NASNetLarge reads 331.
    max_crop_size: int = 384
    # Longer side of the face box in pixels of the frame; smaller faces hold too little detail.
    min_face_size: int = 40
    # Score of MTCNN's last network and its own threshold. At 0.9 strongly compressed frontal
    # faces get lost; what is found wrongly at 0.8 seldom makes a track.
    min_face_score: float = 0.8
    # A track found in a smaller share of the sampled frames is noise (a false find, a passer-by).
    min_track_share: float = 0.2
    # Degrees a face may be turned to its side; 90 keeps all. Profiles occur in the field.
    max_yaw: float = 90.0
    # Standard deviation of the crop's Laplacian at 128 pixels, in grey levels. Only what is as
    # good as plain is dropped: forgeries are blurrier, and a higher value would drop them first.
    min_sharpness: float = 1.0
    # Tracks whose median face is smaller than this share of the clip's largest are left out. A
    # forged clip shows one forged person as a rule; passers-by in it are real, and would be
    # labelled fake.
    min_relative_size: float = 0.4
    # Turns crops so that the eyes are level. Off: MTCNN's points are a few pixels off, and turning
    # resamples every pixel, which blurs the traces of a forgery.
    align: bool = False
    # Cuts fakes out at the places of the faces in their original, so that crops are pairs. Off:
    # in the field there is no original. It costs one more search for each fake.
    boxes_of_original: bool = False
    # Cues of manipulation live in high frequencies: compress hardly.
    jpeg_quality: int = 95
    # Beam worker processes. 1 runs in this process; one MTCNN already uses several cores.
    workers: int = 1


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network; see components/trainer/model.py."""

    backbone: str = "nasnet_large"
    # imagenet: downloaded; a path: a local .h5 file without the top; none: random.
    weights: str = "imagenet"
    # rgb; residual: a fixed high-pass layer inside the model (for training from scratch);
    # unit_range: [0, 1] instead of the [-1, 1] that NASNet expects, as the seed recipe has it.
    input: str = "rgb"
    # pool: global average pooling; flatten: every place of the feature map has weights of its own,
    # as the seed recipe has it.
    head: str = "pool"
    dropout: float = 0.5
    # Side of the square input in pixels; 0 takes the backbone's own (331, 224, 64).
    image_size: int = 0


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained; see components/trainer/run_fn.py."""

    batch_size: int = 16
    # Phase 1: only the new head, backbone frozen.
    head_epochs: int = 1
    head_learning_rate: float = 1e-3
    # Phase 2: all layers, or those from the block with this name on: stem_1, cell_0, cell_12,
    # reduce_8 (a wrong name is answered with all names).
    epochs: int = 10
    unfreeze_from: str = ""
    learning_rate: float = 1e-4
    # Each block's rate over that of the block after it; 1 is one rate for all.
    layer_decay: float = 1.0
    # Share of phase 2's steps with a rising rate; then the schedule: cosine decay to zero, or
    # constant.
    warmup_fraction: float = 0.1
    schedule: str = "cosine"
    weight_decay: float = 1e-5
    # Gradients are scaled down to this norm over all variables; 0 never clips.
    clip_norm: float = 0.0
    # Weights are averaged over steps with this momentum, and the averages kept; 0 is off.
    ema_momentum: float = 0.0
    label_smoothing: float = 0.01
    # paired: batches of real crops, each beside its own fake. weighted: crops as they come, the
    # rarer class weighing more. shuffled: crops as they come.
    sampling: str = "paired"
    # Steps per epoch; 0 takes one pass: with `paired` each real crop once and as many fakes, else
    # each crop once.
    steps_per_epoch: int = 0
    # freeze: statistics stay as loaded (fine-tuning). momentum: they are learnt (from scratch).
    batch_norm: str = "freeze"
    # NASNet's own 0.9997 needs tens of thousands of steps to follow; used with `momentum`.
    batch_norm_momentum: float = 0.9
    # With `momentum`: batches whose statistics are averaged, at rate zero, before every validation.
    recalibration_steps: int = 20
    # none, light, standard, strong or seed_recipe; see components/trainer/augmentation.py.
    augmentation: str = "standard"
    # self_blended: fakes made of the real crops while training; see
    # components/trainer/pseudo_fakes.py. Data without a single fake can be trained on so.
    pseudo_fakes: str = "none"
    # Share of the pairs whose fake is a pseudo-fake; 1 leaves the data's own fakes out, in
    # validation too.
    pseudo_fake_share: float = 1.0
    # auto: mixed_float16 where a GPU is, float32 elsewhere; or one of the two.
    precision: str = "auto"
    # auto: compiled by XLA where a GPU is (on a CPU it compiles NASNet for minutes); on or off.
    xla: str = "auto"
    # Epochs without a better val AUC before training stops; 0 never stops early.
    patience: int = 3


@dataclasses.dataclass(frozen=True)
class TunerConfig:
    """The search for better values of `training` and `model`; see components/tuner/."""

    # Off: each trial is a training of its own.
    enabled: bool = False
    trials: int = 8
    # Epochs of a trial; the steps per epoch are training's.
    epochs: int = 2
    # What is searched: the ends of a range (on a logarithmic scale) or of a plain one, or names.
    learning_rate: tuple[float, ...] = (1e-5, 1e-3)
    dropout: tuple[float, ...] = (0.0, 0.6)
    unfreeze_from: tuple[str, ...] = ("",)
    augmentation: tuple[str, ...] = ("light", "standard", "strong")


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """What a model must reach on the test split to be pushed."""

    min_accuracy: float = 0.80
    min_auc: float = 0.90
    # How much lower than the last blessed model's the AUC may be.
    max_auc_drop: float = 0.02
    # point: the measured difference must be within max_auc_drop. interval: the low end of its
    # paired 95% interval must; with few clips a difference of 0.02 may be chance. Clips only: TFMA
    # resamples frames.
    drop_by: str = "point"
    # Further bounds, least or largest values: "eer <= 0.1", "tpr_at_fpr_1pct >= 0.5", or of a slice
    # "method=Deepfakes: auc >= 0.7"; see pipeline/bounds.py. Frames have fewer metrics than clips.
    bounds: tuple[str, ...] = ()
    # The same, for bounds of slices only.
    slices: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """TFMA and ClipEvaluator; see pipeline/eval_config.py and components/clip_evaluator/."""

    # Of frames, judged by TFMA.
    gate: GateConfig = GateConfig()
    # Of clips, which is what people ask about. Both gates must bless.
    clip_gate: GateConfig = GateConfig()
    # Resamples of the clips' bootstrap intervals; the ends of an interval move by about 0.1 of its
    # width with 1000.
    resamples: int = 1000
    # Poisson bootstrap intervals; they resample frames, not clips, and double the time.
    confidence_intervals: bool = False


@dataclasses.dataclass(frozen=True)
class ServingConfig:
    """What a model must do as a server before it is pushed; see components/serving_check/."""

    # Largest difference of a served logit from the one that the evaluation had, on any device.
    tolerance: float = 1e-4
    # The same where this machine has a GPU: the evaluation ran on it, and the check runs on a CPU,
    # which sums in another order. 0 takes `tolerance`.
    gpu_tolerance: float = 0.0
    # Milliseconds that one crop may take at the 95th percentile, on a CPU of the machine that
    # checks; 0 allows any, because it tells as much about the machine as about the model.
    max_latency_ms: float = 0.0
    # docker: TFX's InfraValidator besides, the model in the image tensorflow/serving by the Docker
    # daemon here; or none.
    infra_validator: str = "none"
    # Of that image; serving/deploy/ has the same.
    infra_validator_tag: str = TENSORFLOW_SERVING


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything one run needs.

    Attributes:
      name: name of the pipeline: letters, digits, `-` and `_`.
      output: folder of everything a run writes: artifacts, metadata, logs, pushed models.
      seed: seed of training (weights, shuffling, augmentation) and of the split.
      beam_args: Beam arguments of the TFX components other than FaceExtractor.
    """

    name: str = "deepfake"
    output: str = ""
    seed: int = 1
    data: DataConfig = DataConfig()
    extraction: ExtractionConfig = ExtractionConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    tuner: TunerConfig = TunerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    serving: ServingConfig = ServingConfig()
    beam_args: tuple[str, ...] = (RUNNER,)


def image_size_of(model: ModelConfig) -> int:
    """Side of the model's square input in pixels."""
    return model.image_size or backbone_of(model.backbone).image_size


def needs_fakes(training: TrainingConfig) -> bool:
    """Whether training uses the data's own fakes; self-blended ones can stand for all of them."""
    return training.pseudo_fakes == "none" or training.pseudo_fake_share < 1.0


def presets() -> list[str]:
    """Names of the presets, sorted."""
    return sorted(path.stem for path in PRESET_DIR.glob("*.yaml"))


def load_config(preset: str, overrides: Iterable[str] = ()) -> Config:
    """Reads a preset or a YAML file and applies overrides.

    Args:
      preset: name of a preset, or path of a YAML file (it ends in .yaml or .yml).
      overrides: `section.key=value` each, in order; values are YAML.

    Returns:
      The checked configuration.

    Raises:
      UsageError: no such preset or file, YAML that cannot be read or holds a key twice, a key that
        does not exist (the nearest known one is named), or a value of the wrong type or range.
    """
    if preset.endswith((".yaml", ".yml")):
        path = Path(preset)
        if not path.is_file():
            raise UsageError(f"configuration file {preset} does not exist")
    else:
        path = PRESET_DIR / f"{preset}.yaml"
        if not path.is_file():
            raise UsageError(
                f"there is no preset {preset!r}{nearest(preset, presets())}; presets are "
                f"{', '.join(presets())}; a file of your own must end in .yaml"
            )
    try:
        values = read_yaml(path.read_text(encoding="utf-8")) or {}
    except DuplicateKey as error:
        raise UsageError(f"{path}: {error}; the first would be lost, join the two") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    config = build(Config, values, where=str(path))
    for change in overrides:
        config = override(config, change)
    check(config)
    return config


def config_from_environment() -> Config:
    """The configuration of entry points that get no arguments; see local_runner.py.

    Raises:
      UsageError: as `load_config`.
    """
    env = os.environ
    overrides = shlex.split(env.get("DEEPFAKE_SET", ""))
    for variable, key in (("DEEPFAKE_DATA", "data.dir"), ("DEEPFAKE_OUTPUT", "output")):
        if env.get(variable):
            overrides.append(override_of(key, env[variable]))
    return load_config(env.get("DEEPFAKE_CONFIG", "demo"), overrides)


def override_of(key: str, value: str) -> str:
    """An override that sets `key` to exactly this text, whatever YAML would make of it."""
    return f"{key}={json.dumps(value)}"


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration (or one section) as plain values, ready for JSON or YAML."""
    return dataclasses.asdict(config)


def from_dict(section: type, values: dict[str, Any]) -> Any:
    """The reverse of `to_dict`, for executors, which receive their section as JSON."""
    return build(section, values, where=section.__name__)
