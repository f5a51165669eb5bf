"""Batch normalisation folded into the convolutions before it, for a network that only infers.

In inference batch normalisation is an affine map of each channel, and so is what follows from it
when it comes right after a convolution: kernel and bias can take it over (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
2018, section 3.2). Two passes over each feature map, and two variables a layer, are saved.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D)


class _Affine(NamedTuple):
    """What batch normalisation does to channels, in inference: x * scale + offset."""

    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, layer: keras.layers.BatchNormalization) -> _Affine:
        """Of a layer, in float64."""
        mean = np.asarray(layer.moving_mean, np.float64)
        variance = np.asarray(layer.moving_variance, np.float64)
        scale = 1.0 / np.sqrt(variance + layer.epsilon)
        if layer.scale:
            scale = scale * np.asarray(layer.gamma, np.float64)
        offset = -mean * scale
        if layer.center:
            offset = offset + np.asarray(layer.beta, np.float64)
        return cls(scale, offset)


def folded(model: keras.Model) -> keras.Model:
    """A copy of a model for inference, without the batch normalisation that can be folded.

    Folded is what comes right after a convolution of two dimensions (separable and depthwise ones
    too), or after a concatenation of such convolutions, where nothing else reads these. Batch
    normalisation elsewhere stays as it is.

    Args:
      model: functional, its models within models as well.

    Returns:
      A model of its own variables; in inference its outputs are those of `model` but for rounding.
    """
    convolutions: dict[str, _Affine] = {}
    normalisations: set[str] = set()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and (parts := _parts(layer)):
            affine, begin = _Affine.of(layer), 0
            for part in parts:
                channels = slice(begin, begin := begin + part.output.shape[-1])
                convolutions[part.name] = _Affine(affine.scale[channels], affine.offset[channels])
            normalisations.add(layer.name)

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return folded(layer)
        config = layer.get_config()
        if layer.name in convolutions:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in normalisations else layer(*args, **kwargs)

    copied = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for layer in copied.layers:
        if layer.name in convolutions:
            original = model.get_layer(layer.name)
            layer.set_weights(_weights(original, convolutions[layer.name]))
        elif layer.weights and not isinstance(layer, keras.Model):
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return copied


def _parts(normalisation: keras.layers.BatchNormalization) -> list[keras.layers.Layer]:
    """The convolutions that make all channels of a layer's input; empty where others do."""
    if normalisation.axis not in (-1, 3):
        return []
    before = _layers_before(normalisation)
    if len(before) == 1 and isinstance(before[0], keras.layers.Concatenate):
        if before[0].axis not in (-1, 3) or not _has_one_reader(before[0]):
            return []
        before = _layers_before(before[0])
    return before if all(map(_can_fold, before)) else []


def _can_fold(layer: keras.layers.Layer) -> bool:
    return (
        isinstance(layer, _CONVOLUTIONS)
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
        and _has_one_reader(layer)
    )


def _layers_before(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers whose outputs a layer reads; none where it is used more than once."""
    if len(layer._inbound_nodes) != 1:
        return []
    return [node.operation for node in layer._inbound_nodes[0].parent_nodes]


def _has_one_reader(layer: keras.layers.Layer) -> bool:
    return len(layer._inbound_nodes) == len(layer._outbound_nodes) == 1


def _weights(layer: keras.layers.Layer, affine: _Affine) -> list[np.ndarray]:
    """A convolution's weights and bias with the affine map behind them."""
    *others, kernel = layer.get_weights()[: -1 if layer.use_bias else None]
    scale = affine.scale
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        # [rows, columns, in, multiplier]; the output counts multipliers first.
        scale = scale.reshape(kernel.shape[2:])
    offset = affine.offset
    if layer.use_bias:
        offset = offset + layer.get_weights()[-1] * affine.scale
    return [*others, kernel * scale, offset]
