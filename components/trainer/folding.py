"""Batch normalisation folded into the convolutions before it, for a network that only infers.

In inference batch normalisation is an affine map of each channel. Right after a convolution its
scale can go into the kernel, and what is left is a bias (Jacob et al., "Quantization and Training
of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018, section 3.2), which
TensorFlow computes in one operation with the convolution and the activation behind it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D)


class Bias(keras.layers.Layer):
    """Adds a value to each channel, [..., channels]; what is left of batch normalisation.

    Keras' convolutions add their own bias by another operation, which TensorFlow does not fuse.
    """

    def build(self, input_shape: Any) -> None:
        """Makes the bias."""
        self.bias = self.add_weight(shape=(input_shape[-1],), name="bias")

    def call(self, inputs: Any) -> Any:
        """The sum."""
        return tf.nn.bias_add(inputs, self.bias)


class _Affine(NamedTuple):
    """What batch normalisation does to channels, in inference: x * scale + offset, float64."""

    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, layer: keras.layers.BatchNormalization) -> _Affine:
        """Of a layer."""
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
    weights: dict[str, list[np.ndarray]] = {}
    convolutions: set[str] = set()
    biases: set[str] = set()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and (parts := _parts(layer)):
            scale, offset = _Affine.of(layer)
            ends = np.cumsum([part.output.shape[-1] for part in parts])[:-1]
            of_parts = np.split(scale, ends)
            before = np.concatenate(list(map(_bias, parts)))
            weights[layer.name] = [offset + before * scale]
            biases.add(layer.name)
            for part, part_scale in zip(parts, of_parts, strict=True):
                weights[part.name] = _scaled(part, part_scale)
                convolutions.add(part.name)
        elif not isinstance(layer, keras.Model):
            weights.setdefault(layer.name, layer.get_weights())

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return folded(layer)
        if layer.name in biases:
            return Bias(name=layer.name, dtype=layer.dtype_policy)
        config = layer.get_config()
        if layer.name in convolutions:
            config["use_bias"] = False
        return type(layer).from_config(config)

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        # The calls of batch normalisation have a mask, which is None, as an argument.
        return layer(args[0]) if isinstance(layer, Bias) else layer(*args, **kwargs)

    copied = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for layer in copied.layers:
        if layer.weights and not isinstance(layer, keras.Model):
            layer.set_weights(weights[layer.name])
    return copied


def load_folded(network: keras.Model, values: list[np.ndarray]) -> None:
    """Gives a network the weights of its folded copy, so that it infers what the copy does.

    The scale and the statistics that were folded cannot be told apart any more. Batch
    normalisation becomes the bias that was left of it, which holds in training only while its
    statistics are frozen.

    Args:
      network: functional, without models in it; changed.
      values: of the variables of `folded(network)`, in their order; what follows is not read.

    Raises:
      ValueError: they are fewer, or of other shapes.
    """
    copy = folded(network)
    values = values[: len(copy.variables)]
    if [value.shape for value in values] != [tuple(v.shape) for v in copy.variables]:
        raise ValueError("the weights are those of another network")
    for variable, value in zip(copy.variables, values, strict=True):
        variable.assign(value)
    for layer in copy.layers:
        if not layer.weights:
            continue
        target, weights = network.get_layer(layer.name), layer.get_weights()
        if isinstance(layer, Bias):
            (bias,) = weights
            weights = [np.ones_like(bias)] * target.scale + [np.zeros_like(bias)] * target.center
            # The mean, and a variance that is 1 with what is added to it.
            weights += [-bias, np.full_like(bias, 1.0 - target.epsilon)]
        elif len(weights) < len(target.weights):  # A convolution, whose bias is in what follows.
            weights.append(np.zeros(target.weights[-1].shape, np.float32))
        target.set_weights(weights)


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


def _bias(layer: keras.layers.Layer) -> np.ndarray:
    """The bias of a convolution, zeros where it has none."""
    return np.asarray(layer.bias if layer.use_bias else np.zeros(layer.output.shape[-1]))


def _scaled(layer: keras.layers.Layer, scale: np.ndarray) -> list[np.ndarray]:
    """The kernels of a convolution whose outputs are multiplied by `scale`, [channels]."""
    *others, kernel = layer.get_weights()[: -1 if layer.use_bias else None]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        # [rows, columns, in, multiplier]; the output counts multipliers first.
        scale = scale.reshape(kernel.shape[2:])
    return [*others, kernel * scale]
