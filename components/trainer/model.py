"""The detector: input layer, backbone, global average pooling, dropout, one logit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from components.trainer.backbones.base import backbone_of
from components.trainer.backbones.weights import build_backbone
from components.trainer.config import ModelConfig, image_size_of

LOGIT = "logit"


@keras.saving.register_keras_serializable("deepfake")
class HighPass(keras.layers.Layer):
    """What a Gaussian blur takes away, in tens of grey levels.

    Traces of blending live in high frequencies, where a network that starts from random weights
    finds them in a hundredth of the images that plain RGB takes it. The layer has no weights; it
    is part of the model, so that serving needs nothing.

    Input and output: float [batch, height, width, 3]; the input in [-1, 1].

    Args:
      sigma: standard deviation of the blur in pixels of the network's input.
      unit: grey levels (of 255) that become 1.
    """

    def __init__(self, sigma: float = 2.0, unit: float = 10.0, **kwargs: Any):
        super().__init__(**{"trainable": False, **kwargs})
        self.sigma = sigma
        self.unit = unit
        # Beyond three standard deviations a Gaussian holds 0.3% of its weight.
        self._radius = max(1, int(np.ceil(3 * sigma)))
        offsets = np.arange(-self._radius, self._radius + 1)
        kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
        self._kernel = np.tile(kernel / kernel.sum(), (3, 1)).T.astype(np.float32)

    def call(self, images: Any) -> Any:
        """What the blur takes away from the images."""
        margin = [self._radius, self._radius]
        blurred = ops.pad(images, [[0, 0], margin, margin, [0, 0]], mode="reflect")
        # Two passes: 26 multiplications a pixel instead of 169.
        for shape in ((-1, 1, 3, 1), (1, -1, 3, 1)):
            kernel = ops.cast(self._kernel.reshape(shape), images.dtype)
            blurred = ops.depthwise_conv(blurred, kernel)
        return (images - blurred) * (127.5 / self.unit)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The layer's configuration, for `from_config`."""
        return {**super().get_config(), "sigma": self.sigma, "unit": self.unit}


def build_model(config: ModelConfig) -> keras.Model:
    """Builds the detector.

    Args:
      config: backbone, weights, kind of input, dropout and image size.

    Returns:
      A model from float32 [batch, size, size, 3] in [-1, 1] to logits [batch, 1]; higher means
      fake. Its layer `logit` is the head; `network_of` gives the backbone.

    Raises:
      UsageError: see `build_backbone`.
    """
    size = image_size_of(config)
    inputs = keras.Input((size, size, 3), name="image")
    x = inputs
    if config.input == "residual":
        x = HighPass(name="high_pass")(x)
    elif config.input == "unit_range":
        x = keras.layers.Rescaling(0.5, 0.5, name="unit_range")(x)
    network = build_backbone(config.backbone, size, config.weights)
    network.name = config.backbone
    x = network(x)
    if config.head == "flatten":
        x = keras.layers.Flatten(name="flatten")(x)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(1, name=LOGIT, dtype="float32")(x))


def network_of(model: keras.Model) -> keras.Model:
    """The backbone in a model of `build_model`; its name is that of the configuration."""
    (network,) = (layer for layer in model.layers if isinstance(layer, keras.Model))
    return network


def logits_and_map(model: keras.Model) -> keras.Model:
    """The detector with a second output, sharing all layers.

    Args:
      model: of `build_model`.

    Returns:
      A model from pixels to logits [batch, 1] and the backbone's last map [batch, rows, columns,
      channels].
    """
    (head,) = (layer for layer in model.layers if layer.name in ("pool", "flatten"))
    return keras.Model(model.input, [model.output, head.input])


def cell_logits(model: keras.Model, features: Any) -> Any:
    """Class activation map: the logit of each spatial position of the last feature map.

    The head is linear, so that its logit is the mean of the logits of positions, each the head
    applied to the features of that position alone (Zhou et al., "Learning Deep Features for
    Discriminative Localization", 2016). The receptive field of a position is larger than what lies
    below it.

    Args:
      model: of `build_model`.
      features: float [batch, rows, columns, channels], see `logits_and_map`.

    Returns:
      float32 [batch, rows, columns], whose mean is the logit.
    """
    kernel, bias = (variable.value for variable in model.get_layer(LOGIT).weights)
    features = ops.cast(features, "float32")
    shape = features.shape[1:]
    if kernel.shape[0] == shape[-1]:  # Behind a mean over positions.
        return ops.matmul(features, kernel)[..., 0] + bias[0]
    positions = shape[0] * shape[1]
    return ops.sum(features * ops.reshape(kernel, shape), -1) * positions + bias[0]


def prepare_phase(
    model: keras.Model, head_only: bool, batch_norm: str, momentum: float, unfreeze_from: str = ""
) -> None:
    """Decides what the next phase trains; compile the model afterwards.

    Args:
      model: of `build_model`.
      head_only: True leaves the whole backbone as it is.
      batch_norm: `freeze` keeps statistics, scale and offset as loaded: with small batches, and
        NASNet's momentum of 0.9997, fine-tuning would only spoil them. `momentum` learns them.
      momentum: of the moving statistics, where they are learnt.
      unfreeze_from: name of the first block that is trained; empty trains all.

    Raises:
      ValueError: the backbone has no block of that name.
    """
    network_of(model).trainable = not head_only
    if head_only:
        return
    if unfreeze_from:
        layers_of = blocks(model)
        names = list(layers_of)
        for name in names[: names.index(unfreeze_from)]:
            for layer in layers_of[name]:
                layer.trainable = False
    for layer in batch_norms(model):
        if batch_norm == "freeze":
            layer.trainable = False
        else:
            layer.momentum = momentum


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch normalisation layers of the backbone that are trained."""
    return [
        layer
        for layer in network_of(model).layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


def blocks(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """The backbone's layers with weights by block; the blocks are named in `Backbone.blocks`."""
    network = network_of(model)
    backbone = backbone_of(network.name)
    layers_of: dict[str, list[keras.layers.Layer]] = {}
    for layer in network.layers:
        if layer.weights:
            layers_of.setdefault(backbone.block_of(layer.name), []).append(layer)
    return layers_of


def rate_factors(model: keras.Model, layer_decay: float) -> list[float]:
    """What each trainable variable's learning rate is multiplied with.

    Args:
      model: of `build_model`.
      layer_decay: each block's rate over that of the block after it; the head has the full rate.
        Lower rates for lower layers as in Howard and Ruder, "Universal Language Model
        Fine-tuning for Text Classification" (2018).

    Returns:
      A factor for each of `model.trainable_variables`, in their order.
    """
    factors: dict[str, float] = {}
    for distance, layers in enumerate(reversed(blocks(model).values()), start=1):
        for layer in layers:
            factors.update((variable.path, layer_decay**distance) for variable in layer.variables)
    return [factors.get(variable.path, 1.0) for variable in model.trainable_variables]
