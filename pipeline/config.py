"""The configuration: one frozen dataclass per concern, read from YAML, typos refused.

    config = load_config("demo", overrides=["training.epochs=2"])

Numbers that matter live here (or in a preset), each with its reason. Nothing in this module
imports TensorFlow or TFX, so that the command line can refuse a bad configuration at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import shlex
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from preprocessing.errors import UsageError

PRESET_DIR = Path(__file__).parent / "presets"

# Backbones and the side of the square input each was made for, in pixels. ImageNet weights of
# Keras' NASNets want exactly these.
IMAGE_SIZES = {"nasnet_large": 331, "nasnet_mobile": 224, "tiny": 64}
BACKBONES = tuple(IMAGE_SIZES)
LAYOUTS = ("auto", "demo", "celeb_df", "faceforensics", "dfdc", "folder")
PROTOCOLS = ("official", "identity", "clip")


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """The made dataset (`layout: demo`); see preprocessing/datasets/demo.py."""

    train_identities: int = 100
    val_identities: int = 20
    test_identities: int = 40
    seed: int = 7


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which clips, and how they are divided."""

    # Folder of the dataset. May stay empty for `layout: demo`, which makes its own.
    dir: str = ""
    layout: str = "auto"
    # official: the dataset's own lists; identity: no person in two splits; clip: by clip.
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
    # rgb, or residual: a fixed high-pass layer inside the model (for training from scratch).
    input: str = "rgb"
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
    # Phase 2: all layers.
    epochs: int = 10
    learning_rate: float = 1e-4
    # Share of phase 2's steps with a rising rate; cosine decay to zero follows.
    warmup_fraction: float = 0.1
    weight_decay: float = 1e-5
    # Gradients are scaled down to this norm over all variables; 0 never clips.
    clip_norm: float = 0.0
    # Weights are averaged over steps with this momentum, and the averages kept; 0 is off.
    ema_momentum: float = 0.0
    label_smoothing: float = 0.01
    # Steps per epoch; 0 takes as many as show every real crop once, with as many fakes.
    steps_per_epoch: int = 0
    # freeze: statistics stay as loaded (fine-tuning). momentum: they are learnt (from scratch).
    batch_norm: str = "freeze"
    # NASNet's own 0.9997 needs tens of thousands of steps to follow; used with `momentum`.
    batch_norm_momentum: float = 0.9
    # With `momentum`: batches whose statistics are averaged, at rate zero, before every validation.
    recalibration_steps: int = 20
    # none, light, standard or strong; see components/trainer/augmentation.py.
    augmentation: str = "standard"
    # Epochs without a better val AUC before training stops; 0 never stops early.
    patience: int = 3


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """What a model must reach on the test split to be pushed."""

    min_accuracy: float = 0.80
    min_auc: float = 0.90
    # How much lower than the last blessed model's the AUC may be.
    max_auc_drop: float = 0.02
    # Bounds of slices, as in "method=Deepfakes: auc >= 0.7"; see pipeline/bounds.py.
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
    evaluation: EvaluationConfig = EvaluationConfig()
    # The runner is named in full because short names and defaults differ between Beam versions.
    beam_args: tuple[str, ...] = (
        "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    )


def image_size_of(model: ModelConfig) -> int:
    """Side of the model's square input in pixels."""
    return model.image_size or IMAGE_SIZES[model.backbone]


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
      UsageError: no such preset or file, YAML that cannot be read, a key that does not exist
        (the nearest known one is named), or a value of the wrong type or range.
    """
    if preset.endswith((".yaml", ".yml")):
        path = Path(preset)
        if not path.is_file():
            raise UsageError(f"configuration file {preset} does not exist")
    else:
        path = PRESET_DIR / f"{preset}.yaml"
        if not path.is_file():
            raise UsageError(
                f"there is no preset {preset!r}{_nearest(preset, presets())}; presets are "
                f"{', '.join(presets())}; a file of your own must end in .yaml"
            )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    config = _build(Config, values, where=str(path), prefix="")
    for override in overrides:
        config = _override(config, override)
    _check(config)
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
    return _build(section, values, where=section.__name__, prefix="")


def _build(section: type, values: Any, where: str, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise UsageError(f"{where}: {prefix or 'the file'} must hold `key: value` lines")
    hints = typing.get_type_hints(section)
    built = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in hints:
            raise UsageError(f"{where}: unknown key {name!r}{_nearest(str(key), hints)}")
        if dataclasses.is_dataclass(hints[key]):
            built[key] = _build(hints[key], value, where, f"{name}.")
        else:
            built[key] = _typed(hints[key], value, f"{where}: {name}")
    return section(**built)


def _override(config: Config, override: str) -> Config:
    key, equals, text = override.partition("=")
    if not equals:
        raise UsageError(f"--set {override}: write it as section.key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: {text!r} is not a YAML value") from error
    return _replace(config, key.strip().split("."), value, f"--set {key}")


def _replace(section: Any, path: list[str], value: Any, where: str) -> Any:
    hints = typing.get_type_hints(type(section))
    key, rest = path[0], path[1:]
    if key not in hints:
        raise UsageError(f"{where}: unknown key {key!r}{_nearest(key, hints)}")
    nested = dataclasses.is_dataclass(hints[key])
    if nested and not rest:
        raise UsageError(f"{where}: {key!r} is a section; name a key in it, as in {key}.KEY=value")
    if rest and not nested:
        raise UsageError(f"{where}: {key!r} has no keys below it")
    if nested:
        new = _replace(getattr(section, key), rest, value, where)
    else:
        new = _typed(hints[key], value, where)
    return dataclasses.replace(section, **{key: new})


def _typed(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.GenericAlias):  # tuple[str, ...]
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise UsageError(f"{where}: {value!r} is not a list of strings")
        return tuple(value)
    if hint is float:
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 as a string.
            try:
                value = float(value)
            except ValueError:
                pass
        elif isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
    if hint is str and value is None:
        value = ""
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        raise UsageError(f"{where}: {value!r} is not {kind[hint]}")
    return value


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check(config: Config) -> None:
    _one_of("data.layout", config.data.layout, LAYOUTS)
    _one_of("data.split", config.data.split, PROTOCOLS)
    check_training(config.model, config.training)
    check_gates(config.evaluation)
    if not config.name or not config.name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"name: {config.name!r} may hold only letters, digits, '-' and '_'")
    for key, value in (
        ("data.val_fraction", config.data.val_fraction),
        ("data.test_fraction", config.data.test_fraction),
    ):
        _within(key, value, 0.01, 0.9)
    _within("extraction.frames_per_clip", config.extraction.frames_per_clip, 1, 100_000)
    _within("extraction.frames_per_second", config.extraction.frames_per_second, 0.0, 1000.0)
    _within("extraction.margin", config.extraction.margin, 1.0, 3.0)
    _within("extraction.max_crop_size", config.extraction.max_crop_size, 32, 2048)
    _within("extraction.min_face_size", config.extraction.min_face_size, 12, 4096)
    _within("extraction.max_yaw", config.extraction.max_yaw, 0.0, 90.0)
    _within("extraction.min_sharpness", config.extraction.min_sharpness, 0.0, 255.0)
    _within("extraction.min_relative_size", config.extraction.min_relative_size, 0.0, 1.0)
    _within("extraction.min_face_score", config.extraction.min_face_score, 0.0, 1.0)
    _within("extraction.min_track_share", config.extraction.min_track_share, 0.0, 1.0)
    _within("extraction.jpeg_quality", config.extraction.jpeg_quality, 1, 100)
    _within("extraction.workers", config.extraction.workers, 1, 1024)


def check_training(model: ModelConfig, training: TrainingConfig) -> None:
    """Checks the two sections that the Trainer receives.

    Raises:
      UsageError: a name that is not known, a value out of range, or values that contradict.
    """
    _one_of("model.backbone", model.backbone, BACKBONES)
    _one_of("model.input", model.input, ("rgb", "residual"))
    _one_of("training.batch_norm", training.batch_norm, ("freeze", "momentum"))
    _one_of("training.augmentation", training.augmentation, AUGMENTATIONS)
    if model.image_size:
        _within("model.image_size", model.image_size, 32, 2048)
    if model.weights == "imagenet" and model.backbone == "tiny":
        raise UsageError(
            "model.weights: there are no ImageNet weights for the backbone tiny; set it to none"
        )
    if model.weights == "none" and training.batch_norm == "freeze":
        raise UsageError(
            "training.batch_norm: freeze keeps the statistics of loaded weights, but "
            "model.weights is none; set it to momentum"
        )
    _within("model.dropout", model.dropout, 0.0, 0.95)
    _within("training.batch_size", training.batch_size, 2, 4096)
    _within("training.epochs", training.epochs, 1, 10_000)
    _within("training.head_epochs", training.head_epochs, 0, 10_000)
    _within("training.learning_rate", training.learning_rate, 0.0, 10.0)
    _within("training.head_learning_rate", training.head_learning_rate, 0.0, 10.0)
    _within("training.label_smoothing", training.label_smoothing, 0.0, 0.5)
    _within("training.batch_norm_momentum", training.batch_norm_momentum, 0.0, 0.99999)
    _within("training.warmup_fraction", training.warmup_fraction, 0.0, 1.0)
    _within("training.weight_decay", training.weight_decay, 0.0, 1.0)
    _within("training.clip_norm", training.clip_norm, 0.0, 1e6)
    _within("training.ema_momentum", training.ema_momentum, 0.0, 0.99999)
    _within("training.steps_per_epoch", training.steps_per_epoch, 0, 10_000_000)
    _within("training.recalibration_steps", training.recalibration_steps, 0, 10_000)
    _within("training.patience", training.patience, 0, 10_000)
    if training.batch_size % 2:
        raise UsageError(
            f"training.batch_size: {training.batch_size} is odd; batches hold as many real "
            "as fake crops"
        )


def check_gates(evaluation: EvaluationConfig) -> None:
    """Checks the bounds, so that a misspelt one does not end a run after hours of training.

    Raises:
      UsageError: a bound of a slice cannot be read, or a number is out of range.
    """
    from pipeline.bounds import bounds_of

    for gate in (evaluation.gate, evaluation.clip_gate):
        bounds_of(gate)
    _within("evaluation.resamples", evaluation.resamples, 100, 100_000)


# The names stand here so that a misspelt one is refused before TensorFlow is loaded.
AUGMENTATIONS = ("none", "light", "standard", "strong")


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(
            f"{key}: {value!r} is not known{_nearest(value, known)}; it may be {', '.join(known)}"
        )


def _within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{key}: {value} is outside {low} to {high}")
