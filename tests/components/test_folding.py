"""The exported model without batch normalisation, and what of it cannot be folded."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from trainer_workbench import MODEL, SIZE, load_network

from components.trainer.config import ModelConfig
from components.trainer.folding import folded, load_folded
from components.transform.preprocessing import decode_images
from serving.model import card
from serving.server.servable import Servable


def normalisation(channels: int, name: str) -> keras.layers.BatchNormalization:
    """A layer that changes every channel in another way."""
    layer = keras.layers.BatchNormalization(name=name)
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(channels)
    layer.set_weights([*rng.uniform(0.5, 2.0, (1, channels)), *rng.normal(0, 1, (2, channels)),
                       rng.uniform(0.5, 2.0, channels)])  # fmt: skip
    return layer


def names_of(model: keras.Model, kind: type) -> list[str]:
    return [layer.name for layer in model.layers if isinstance(layer, kind)]


def every_kind(use_bias: bool, scale: float = 1.0) -> keras.Model:
    """Every convolution that batch normalisation folds into, of random weights times `scale`."""
    inputs = keras.Input((8, 8, 4))
    options = {"use_bias": use_bias, "bias_initializer": "normal"}
    x = keras.layers.Conv2D(6, 3, **options)(inputs)
    x = normalisation(6, "a")(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, **options)(x)
    x = normalisation(12, "b")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.SeparableConv2D(5, 3, padding="same", **options)(x)
    x = normalisation(5, "c")(x)
    sides = [keras.layers.Conv2D(count, 1, **options)(x) for count in (2, 3)]
    x = normalisation(5, "d")(keras.layers.Concatenate()(sides))
    model = keras.Model(inputs, x)
    model.set_weights([scale * weight for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).normal(0, 1, (3, 8, 8, 4)).astype(np.float32)


@pytest.mark.parametrize("use_bias", [False, True])
def test_every_kind_of_convolution_takes_it_over(pixels, use_bias):
    model = every_kind(use_bias)
    optimised = folded(model)
    assert names_of(optimised, keras.layers.BatchNormalization) == []
    np.testing.assert_allclose(optimised(pixels), model(pixels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("use_bias", [False, True])
def test_folded_weights_go_back_into_a_network_that_is_trained(pixels, use_bias):
    expected = folded(every_kind(use_bias))
    values = [variable.numpy() for variable in expected.variables]
    network = every_kind(use_bias, scale=0.3)
    load_folded(network, [*values, np.zeros(3)])
    np.testing.assert_allclose(network(pixels), expected(pixels), rtol=1e-4, atol=1e-5)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    np.testing.assert_allclose(network(pixels, training=True), expected(pixels), 1e-4, 1e-5)
    np.testing.assert_allclose(folded(network)(pixels), expected(pixels), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="another network"):
        load_folded(network, values[1:])


def test_what_cannot_be_folded_stays(pixels):
    """An activation between, another reader, and an input that no convolution made."""
    inputs = keras.Input((8, 8, 4))
    x = normalisation(4, "of_input")(inputs)
    x = keras.layers.Conv2D(4, 1, activation="relu")(x)
    x = normalisation(4, "behind_activation")(x)
    read_twice = keras.layers.Conv2D(4, 1)(x)
    x = keras.layers.Add()([normalisation(4, "read_twice")(read_twice), read_twice])
    x = keras.layers.Concatenate()([keras.layers.Conv2D(4, 1)(x), x])
    x = normalisation(8, "half_convolved")(x)
    model = keras.Model(inputs, x)
    optimised = folded(model)
    kind = keras.layers.BatchNormalization
    assert sorted(names_of(optimised, kind)) == sorted(names_of(model, kind))
    np.testing.assert_allclose(optimised(pixels), model(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.integration
def test_the_exported_model_is_folded_for_functions_and_sessions(workbench, trained):
    """TensorFlow Serving runs the signature in a session."""
    crops, _, _ = workbench.crops("test")
    network = load_network(trained.parent / "logs", ModelConfig(**MODEL))
    model_card = card.read(trained)
    raw = network(decode_images(tf.constant(crops), SIZE))[:, 0]
    expected = (raw + model_card.offset) / model_card.temperature

    loaded = tf.saved_model.load(str(trained))
    logits = loaded.signatures["serving_default"](image=tf.constant(crops))["logit"]
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    servable = Servable("model", 1, trained)
    try:
        signature = servable.signatures["serving_default"]
        feeds = {signature.inputs["image"].name: np.array(crops, object)}
        fetches = [signature.outputs["logit"].name]
        (served,) = servable.run(feeds, fetches, time.monotonic() + 300)
    finally:
        servable.close()
    np.testing.assert_allclose(served, expected, atol=1e-4)

    # Kernel and bias of three convolutions and of the head, and nothing of training.
    assert len(loaded.model_variables) == 8
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    kinds = {node.op for function in graph.library.function for node in function.node_def}
    assert "Conv2D" in kinds
    assert not kinds & {"Rsqrt", "FusedBatchNormV3", "AssignVariableOp"}
