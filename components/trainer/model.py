"""The detector: input layer, backbone, global average pooling, dropout, one logit."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from components.trainer.backbones import build_backbone
from pipeline.config import ModelConfig, image_size_of

BACKBONE, LOGIT = "backbone", "logit"


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

    def __init__(self, sigma: float = 2.0, unit: float = 10.0, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.sigma = sigma
        self.unit = unit
        # Beyond three standard deviations a Gaussian holds 0.3% of its weight.
        self._radius = max(1, int(np.ceil(3 * sigma)))
        offsets = np.arange(-self._radius, self._radius + 1)
        kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
        self._kernel = np.tile(kernel / kernel.sum(), (3, 1)).T.astype(np.float32)

    def call(self, images):
        margin = [self._radius, self._radius]
        blurred = ops.pad(images, [[0, 0], margin, margin, [0, 0]], mode="reflect")
        # Two passes: 26 multiplications a pixel instead of 169.
        for shape in ((-1, 1, 3, 1), (1, -1, 3, 1)):
            kernel = ops.cast(self._kernel.reshape(shape), images.dtype)
            blurred = ops.depthwise_conv(blurred, kernel)
        return (images - blurred) * (127.5 / self.unit)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "sigma": self.sigma, "unit": self.unit}


def build_model(config: ModelConfig) -> keras.Model:
    """Builds the detector.

    Args:
      config: backbone, weights, kind of input, dropout and image size.

    Returns:
      A model from float32 [batch, size, size, 3] in [-1, 1] to logits [batch, 1]; higher means
      fake. Its layer `backbone` is the network, `logit` the head.

    Raises:
      UsageError: see `build_backbone`.
    """
    size = image_size_of(config)
    inputs = keras.Input((size, size, 3), name="image")
    x = HighPass(name="high_pass")(inputs) if config.input == "residual" else inputs
    backbone = build_backbone(config.backbone, size, config.weights)
    backbone.name = BACKBONE
    x = backbone(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(1, name=LOGIT, dtype="float32")(x))


def prepare_phase(model: keras.Model, head_only: bool, batch_norm: str, momentum: float) -> None:
    """Decides what the next phase trains; compile the model afterwards.

    Args:
      model: of `build_model`.
      head_only: True leaves the whole backbone as it is.
      batch_norm: `freeze` keeps statistics, scale and offset as loaded: with small batches, and
        NASNet's momentum of 0.9997, fine-tuning would only spoil them. `momentum` learns them.
      momentum: of the moving statistics, where they are learnt.
    """
    backbone = model.get_layer(BACKBONE)
    backbone.trainable = not head_only
    if head_only:
        return
    for layer in batch_norms(model):
        if batch_norm == "freeze":
            layer.trainable = False
        else:
            layer.momentum = momentum


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch normalisation layers of the backbone."""
    return [
        layer
        for layer in model.get_layer(BACKBONE).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
