"""Configuration of network and training: `model` and `training`.

The names of augmentations stand here, and not beside what they name, so that a misspelt one is
refused before TensorFlow is loaded.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from components.trainer.backbones.base import backbone_of, backbones
from components.trainer.backbones.weights import names_model
from preprocessing.support.errors import UsageError
from preprocessing.support.section import Number, Section, SectionError, Text, not_one_of, one_of

Augmentation = Literal["none", "light", "standard", "varied", "strong", "seed_recipe"]
AUGMENTATIONS: tuple[str, ...] = get_args(Augmentation)
_Share = Annotated[Number, Field(ge=0.0, le=1.0)]
# A rate above 10 is a typing error; 0 tries the machinery without learning.
_LearningRate = Annotated[Number, Field(ge=0.0, le=10.0)]
# At 1 a moving average never moves.
_Momentum = Annotated[Number, Field(ge=0.0, le=0.99999)]


class ModelConfig(Section):
    """The network; see components/trainer/model.py."""

    # The names are those of the registry, see components/trainer/backbones/base.py.
    backbone: Text = Field(
        "nasnet_large",
        description="The network below the head: nasnet_large, nasnet_mobile, efficientnet_lite0 "
        "or tiny.",
    )
    weights: Text = Field(
        "imagenet",
        description="imagenet: downloaded; a path: a local .h5 file without the top, or the folder "
        "of a model that a run pushed; starter: the model that comes with the program; none: "
        "random.",
    )
    # residual is for training from scratch. NASNet expects [-1, 1]; the seed recipe has unit_range.
    input: Literal["rgb", "residual", "unit_range"] = Field(
        "rgb",
        description="rgb: [-1, 1]; residual: a fixed high-pass layer inside the model; unit_range: "
        "[0, 1].",
    )
    # The seed recipe has flatten.
    head: Literal["pool", "flatten"] = Field(
        "pool",
        description="pool: global average pooling; flatten: the feature map is flattened, so each "
        "spatial position has weights of its own.",
    )
    mirror: bool = Field(
        False,
        description="Test-time augmentation: the logit is the mean over the crop and its mirror "
        "image; doubles inference time.",
    )
    dropout: Number = Field(0.5, ge=0.0, le=0.95, description="Dropout rate before the logit.")
    image_size: int = Field(
        0,
        ge=0,
        le=2048,
        description="Side of the square input in pixels, 32 at least; 0 takes the backbone's own.",
    )

    @field_validator("image_size")
    @classmethod
    def _check_image_size(cls, value: int) -> int:
        # Below 32 pixels nothing is left of the feature map.
        if 0 < value < 32:
            raise ValueError(f"{value} is outside 32 to 2048")
        return value

    @field_validator("backbone")
    @classmethod
    def _check_backbone(cls, value: str) -> str:
        choices = backbones()
        if value not in choices:
            raise ValueError(not_one_of(value, choices))
        return value

    @model_validator(mode="after")
    def _check_weights(self) -> ModelConfig:
        if self.weights == "imagenet" and not backbone_of(self.backbone).has_imagenet():
            raise SectionError(
                "weights",
                f"there are no ImageNet weights for the backbone {self.backbone}; set it to none",
            )
        return self


class TrainingConfig(Section):
    """How the network is trained; see components/trainer/run_fn.py."""

    # One crop alone has no pair, and no spread for batch normalisation.
    batch_size: int = Field(
        16,
        ge=2,
        le=4096,
        description="Crops per training step over all GPUs; even with sampling=paired.",
    )
    head_epochs: int = Field(
        1, ge=0, le=10_000, description="Phase 1: only the new head, backbone frozen."
    )
    head_learning_rate: _LearningRate = Field(1e-3, description="Learning rate of phase 1.")
    epochs: int = Field(
        10, ge=1, le=10_000, description="Phase 2: all layers, or those from unfreeze_from on."
    )
    # A wrong name is answered with all names.
    unfreeze_from: Text = Field(
        "",
        description="First block that phase 2 trains: stem_1, cell_0, cell_12, reduce_8; empty "
        "trains all.",
    )
    learning_rate: _LearningRate = Field(1e-4, description="Peak learning rate of phase 2.")
    # Below 0.01 the blocks near the input would not move.
    layer_decay: Number = Field(
        1.0,
        ge=0.01,
        le=1.0,
        description="Each block's rate over that of the block after it; 1 is one rate for all.",
    )
    warmup_fraction: _Share = Field(
        0.1, description="Share of phase 2's steps with a rising rate; then `schedule`."
    )
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="cosine: the rate falls to zero; constant: it stays."
    )
    weight_decay: _Share = Field(
        1e-5, description="Decoupled weight decay (AdamW) of kernels; 0 is Adam."
    )
    clip_norm: Number = Field(
        0.0,
        ge=0.0,
        le=1e6,
        description="Global norm to which gradients are clipped (Keras `global_clipnorm`); 0 is "
        "off.",
    )
    ema_momentum: _Momentum = Field(
        0.0,
        description="Momentum of the moving average of the weights (Keras `use_ema`), which is "
        "validated and exported; 0 is off.",
    )
    label_smoothing: Number = Field(
        0.01,
        ge=0.0,
        le=0.5,
        description="Label smoothing s: the targets 0 and 1 become s/2 and 1 - s/2.",
    )
    sampling: Literal["paired", "weighted", "shuffled"] = Field(
        "paired",
        description="paired: batches of real crops, each beside its own fake; weighted: crops as "
        "they come, the rarer class weighing more; shuffled: crops as they come.",
    )
    steps_per_epoch: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="Steps per epoch; 0 takes one pass: with `paired` each real crop once and as "
        "many fakes, else each crop once.",
    )
    batch_norm: Literal["freeze", "momentum"] = Field(
        "freeze",
        description="freeze: moving statistics, scale and offset stay as loaded (fine-tuning); "
        "momentum: they are trained (from scratch).",
    )
    # NASNet's own 0.9997 needs tens of thousands of steps to follow.
    batch_norm_momentum: _Momentum = Field(
        0.9, description="Momentum of the moving mean and variance, with batch_norm=momentum."
    )
    recalibration_steps: int = Field(
        20,
        ge=0,
        le=10_000,
        description="With batch_norm=momentum: batches whose statistics are averaged, at rate "
        "zero, before every validation.",
    )
    augmentation: Augmentation = Field(
        "standard", description="Strength; see components/trainer/augmentation.py."
    )
    # Data without a single fake can be trained on so; see components/trainer/pseudo_fakes.py.
    pseudo_fakes: Literal["none", "self_blended"] = Field(
        "none", description="self_blended: fakes made of the real crops while training."
    )
    pseudo_fake_share: _Share = Field(
        1.0,
        description="Share of the pairs whose fake is a pseudo-fake; 1 leaves the data's own fakes "
        "out, in validation too.",
    )
    precision: Literal["auto", "float32", "mixed_float16"] = Field(
        "auto",
        description="auto: mixed_float16 where a GPU is, float32 elsewhere; or one of the two.",
    )
    # On a CPU XLA compiles NASNet for minutes.
    xla: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether XLA compiles the training step; auto: where a GPU is."
    )
    patience: int = Field(
        3,
        ge=0,
        le=10_000,
        description="Early stopping, per phase: epochs without improvement (AUC per clip on val, "
        "then loss); 0 is off.",
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> TrainingConfig:
        if self.pseudo_fakes != "none" and self.sampling != "paired":
            raise SectionError(
                "pseudo_fakes",
                "each stands beside the crop it is made of, but training.sampling is "
                f"{self.sampling}; set it to paired",
            )
        if self.sampling == "paired" and self.batch_size % 2:
            raise SectionError(
                "batch_size",
                f"{self.batch_size} is odd; batches hold as many real as fake crops",
            )
        return self


def image_size_of(model: ModelConfig) -> int:
    """Side of the model's square input in pixels."""
    return model.image_size or backbone_of(model.backbone).image_size


def needs_fakes(training: TrainingConfig) -> bool:
    """Whether training uses the data's own fakes; self-blended ones can stand for all of them."""
    return training.pseudo_fakes == "none" or training.pseudo_fake_share < 1.0


def check_block(key: str, block: str, backbone: str) -> None:
    """Refuses (UsageError) a block that a backbone does not have; empty names none."""
    if block:
        one_of(f"{key} of {backbone}", block, backbone_of(backbone).blocks)


def check_training(model: ModelConfig, training: TrainingConfig) -> None:
    """Checks the two sections that the Trainer receives against each other.

    Raises:
      UsageError: values that contradict each other.
    """
    if model.weights == "none" and training.batch_norm == "freeze":
        raise UsageError(
            "training.batch_norm: freeze keeps the statistics of loaded weights, but "
            "model.weights is none; set it to momentum"
        )
    if names_model(model.weights) and training.batch_norm != "freeze":
        raise UsageError(
            f"training.batch_norm: model.weights={model.weights} is an exported model, whose batch "
            "normalisation is folded into its convolutions; set it to freeze"
        )
    check_block("training.unfreeze_from", training.unfreeze_from, model.backbone)
