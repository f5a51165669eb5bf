"""Batch normalisation by TensorFlow's fused operation, faster on a CPU than Keras' layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("deepfake")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` whose training step is one operation of TensorFlow.

    Keras 3 puts a step together from means, products and sums, each a pass over the images in
    memory; TensorFlow's fused operation makes the same results (`benchmarks.training_startup`
    compares the time of a step). Inference and other precisions than float32 are Keras'.

    Input and output: float [batch, height, width, channels].
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The normalised input; in training the moving statistics follow the batch's."""
        fused = training and self.trainable and mask is None and self.compute_dtype == "float32"
        if not fused:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        # The operation divides by n - 1 what Keras divides by n.
        count = tf.cast(tf.size(inputs) / tf.size(mean), variance.dtype)
        variance *= (count - 1) / count
        for average, statistic in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + statistic * (1.0 - self.momentum))
        return outputs
