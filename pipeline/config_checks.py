"""What a configuration may hold: names, ranges, and values that contradict each other.

The names stand here, and not beside what they name, so that a misspelt one is refused before
TensorFlow is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.trainer.backbones.base import backbone_of, backbones
from pipeline.bounds import FRAME_METRICS, bounds_of
from pipeline.config_values import one_of, within
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from pipeline.config import Config, EvaluationConfig, ModelConfig, TrainingConfig, TunerConfig

LAYOUTS = ("auto", "demo", "celeb_df", "faceforensics", "dfdc", "folder")
# Of preprocessing/datasets/demo.py.
DIFFICULTIES = ("easy", "hard")
PROTOCOLS = ("auto", "official", "identity", "clip")
AUGMENTATIONS = ("none", "light", "standard", "strong", "seed_recipe")
INFRA_VALIDATORS = ("none", "docker")
# Of numpy, which TensorFlow's and Keras' seeds follow.
MAX_SEED = 2**32 - 1


def check(config: Config) -> None:
    """Checks a whole configuration.

    Raises:
      UsageError: a name that is not known, a value out of range, or values that contradict.
    """
    one_of("data.layout", config.data.layout, LAYOUTS)
    one_of("data.split", config.data.split, PROTOCOLS)
    one_of("data.demo.difficulty", config.data.demo.difficulty, DIFFICULTIES)
    check_training(config.model, config.training)
    _check_tuner(config.tuner, config.model.backbone)
    check_gates(config.evaluation)
    one_of("serving.infra_validator", config.serving.infra_validator, INFRA_VALIDATORS)
    within("seed", config.seed, 0, MAX_SEED)
    within("data.demo.seed", config.data.demo.seed, 0, MAX_SEED)
    for split in ("train", "val", "test"):
        key = f"{split}_identities"
        within(f"data.demo.{key}", getattr(config.data.demo, key), 1, 100_000)
    within("serving.tolerance", config.serving.tolerance, 0.0, 100.0)
    within("serving.gpu_tolerance", config.serving.gpu_tolerance, 0.0, 100.0)
    within("serving.max_latency_ms", config.serving.max_latency_ms, 0.0, 1e6)
    if not config.name or not config.name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"name: {config.name!r} may hold only letters, digits, '-' and '_'")
    for key, value in (
        ("data.val_fraction", config.data.val_fraction),
        ("data.test_fraction", config.data.test_fraction),
    ):
        within(key, value, 0.01, 0.9)
    within("extraction.frames_per_clip", config.extraction.frames_per_clip, 1, 100_000)
    within("extraction.frames_per_second", config.extraction.frames_per_second, 0.0, 1000.0)
    within("extraction.margin", config.extraction.margin, 1.0, 3.0)
    within("extraction.max_crop_size", config.extraction.max_crop_size, 32, 2048)
    within("extraction.min_face_size", config.extraction.min_face_size, 12, 4096)
    within("extraction.max_yaw", config.extraction.max_yaw, 0.0, 90.0)
    within("extraction.min_sharpness", config.extraction.min_sharpness, 0.0, 255.0)
    within("extraction.min_relative_size", config.extraction.min_relative_size, 0.0, 1.0)
    within("extraction.min_face_score", config.extraction.min_face_score, 0.0, 1.0)
    within("extraction.min_track_share", config.extraction.min_track_share, 0.0, 1.0)
    within("extraction.jpeg_quality", config.extraction.jpeg_quality, 1, 100)
    within("extraction.workers", config.extraction.workers, 1, 1024)


def check_training(model: ModelConfig, training: TrainingConfig) -> None:
    """Checks the two sections that the Trainer receives.

    Raises:
      UsageError: a name that is not known, a value out of range, or values that contradict.
    """
    one_of("model.backbone", model.backbone, tuple(backbones()))
    one_of("model.input", model.input, ("rgb", "residual", "unit_range"))
    one_of("model.head", model.head, ("pool", "flatten"))
    one_of("training.batch_norm", training.batch_norm, ("freeze", "momentum"))
    one_of("training.schedule", training.schedule, ("cosine", "constant"))
    one_of("training.sampling", training.sampling, ("paired", "weighted", "shuffled"))
    one_of("training.augmentation", training.augmentation, AUGMENTATIONS)
    one_of("training.pseudo_fakes", training.pseudo_fakes, ("none", "self_blended"))
    one_of("training.precision", training.precision, ("auto", "float32", "mixed_float16"))
    one_of("training.xla", training.xla, ("auto", "on", "off"))
    if model.image_size:
        within("model.image_size", model.image_size, 32, 2048)
    if model.weights == "imagenet" and not backbone_of(model.backbone).has_imagenet():
        raise UsageError(
            f"model.weights: there are no ImageNet weights for the backbone {model.backbone}; "
            "set it to none"
        )
    if model.weights == "none" and training.batch_norm == "freeze":
        raise UsageError(
            "training.batch_norm: freeze keeps the statistics of loaded weights, but "
            "model.weights is none; set it to momentum"
        )
    within("model.dropout", model.dropout, 0.0, 0.95)
    within("training.batch_size", training.batch_size, 2, 4096)
    within("training.epochs", training.epochs, 1, 10_000)
    within("training.head_epochs", training.head_epochs, 0, 10_000)
    within("training.learning_rate", training.learning_rate, 0.0, 10.0)
    within("training.head_learning_rate", training.head_learning_rate, 0.0, 10.0)
    within("training.label_smoothing", training.label_smoothing, 0.0, 0.5)
    within("training.batch_norm_momentum", training.batch_norm_momentum, 0.0, 0.99999)
    within("training.warmup_fraction", training.warmup_fraction, 0.0, 1.0)
    within("training.weight_decay", training.weight_decay, 0.0, 1.0)
    within("training.clip_norm", training.clip_norm, 0.0, 1e6)
    within("training.ema_momentum", training.ema_momentum, 0.0, 0.99999)
    within("training.steps_per_epoch", training.steps_per_epoch, 0, 10_000_000)
    _check_block("training.unfreeze_from", training.unfreeze_from, model.backbone)
    within("training.layer_decay", training.layer_decay, 0.01, 1.0)
    within("training.pseudo_fake_share", training.pseudo_fake_share, 0.0, 1.0)
    within("training.recalibration_steps", training.recalibration_steps, 0, 10_000)
    within("training.patience", training.patience, 0, 10_000)
    if training.pseudo_fakes != "none" and training.sampling != "paired":
        raise UsageError(
            f"training.pseudo_fakes: each stands beside the crop it is made of, but "
            f"training.sampling is {training.sampling}; set it to paired"
        )
    if training.sampling == "paired" and training.batch_size % 2:
        raise UsageError(
            f"training.batch_size: {training.batch_size} is odd; batches hold as many real "
            "as fake crops"
        )


def _check_tuner(tuner: TunerConfig, backbone: str) -> None:
    within("tuner.trials", tuner.trials, 1, 10_000)
    within("tuner.epochs", tuner.epochs, 1, 10_000)
    for key, ends, highest in (
        ("tuner.learning_rate", tuner.learning_rate, 10.0),
        ("tuner.dropout", tuner.dropout, 0.95),
    ):
        if len(ends) != 2 or ends[0] > ends[1]:
            raise UsageError(f"{key}: {list(ends)} is not a range; write [lowest, highest]")
        for end in ends:
            within(key, end, 0.0, highest)
    within("tuner.learning_rate", tuner.learning_rate[0], 1e-9, 10.0)
    if not tuner.unfreeze_from:
        raise UsageError('tuner.unfreeze_from: the list is empty; [""] searches nothing')
    for block in tuner.unfreeze_from:
        _check_block("tuner.unfreeze_from", block, backbone)
    if not tuner.augmentation:
        raise UsageError("tuner.augmentation: the list is empty; name one strength at least")
    for strength in tuner.augmentation:
        one_of("tuner.augmentation", strength, AUGMENTATIONS)


def _check_block(key: str, block: str, backbone: str) -> None:
    if block:
        one_of(f"{key} of {backbone}", block, backbone_of(backbone).blocks)


def check_gates(evaluation: EvaluationConfig) -> None:
    """Checks the bounds, so that a misspelt one does not end a run after hours of training.

    Raises:
      UsageError: a bound cannot be read, is of what is not measured, or can never hold or never
        fail; or a number is out of range.
    """
    for name, gate in (("gate", evaluation.gate), ("clip_gate", evaluation.clip_gate)):
        section = f"evaluation.{name}"
        within(f"{section}.min_accuracy", gate.min_accuracy, 0.0, 1.0)
        within(f"{section}.min_auc", gate.min_auc, 0.0, 1.0)
        within(f"{section}.max_auc_drop", gate.max_auc_drop, 0.0, 1.0)
        one_of(f"{section}.drop_by", gate.drop_by, ("point", "interval"))
        bounds_of(gate, section)
    for bound in bounds_of(evaluation.gate):
        if bound.metric not in FRAME_METRICS:
            raise UsageError(
                f"evaluation.gate: TFMA does not measure {bound.metric} of frames, only "
                f"{', '.join(FRAME_METRICS)}; put that bound into evaluation.clip_gate"
            )
    if evaluation.gate.drop_by == "interval":
        raise UsageError(
            "evaluation.gate.drop_by: TFMA's intervals resample frames, not clips; set "
            "evaluation.clip_gate.drop_by to interval instead"
        )
    within("evaluation.resamples", evaluation.resamples, 100, 100_000)
