"""Keras' batch normalisation is what the fused one is held against."""

import numpy as np
import pytest

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def layers():
    import keras

    from components.trainer.normalisation import FusedBatchNormalization

    made = []
    for layer_class in (keras.layers.BatchNormalization, FusedBatchNormalization):
        layer = layer_class(momentum=0.9, epsilon=1e-3, name="bn")
        layer.build((None, None, None, 5))
        rng = np.random.default_rng(1)
        layer.set_weights([rng.uniform(0.5, 2.0, 5).astype(np.float32) for _ in range(4)])
        made.append(layer)
    return made


def _step(layer, images, training):
    import tensorflow as tf

    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=training)
        loss = tf.reduce_sum(outputs**3)
    gradients = tape.gradient(loss, [images, *layer.trainable_variables])
    return [np.asarray(value) for value in (outputs, *gradients, *layer.get_weights())]


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_gradients_and_statistics_are_those_of_keras(layers, training, trainable):
    images = np.random.default_rng(2).normal(3.0, 2.0, (3, 4, 2, 5)).astype(np.float32)
    for layer in layers:
        layer.trainable = trainable
    theirs, ours = (_step(layer, images, training) for layer in layers)
    assert len(theirs) == len(ours)
    for expected, value in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-4, atol=2e-3)


def test_a_training_step_is_the_fused_operation(layers):
    import tensorflow as tf

    @tf.function
    def step(images):
        return layers[1](images, training=True)

    layers[1].trainable = True
    graph = step.get_concrete_function(tf.TensorSpec((None, 4, 4, 5))).graph
    assert "FusedBatchNormV3" in {operation.type for operation in graph.get_operations()}
