"""How far a crop lies from those that were trained on, computed in the exported graph.

The distance to the nearest of a sample of training crops (Sun et al., "Out-of-Distribution
Detection with Deep Nearest Neighbors", 2022), in what the network sees of a crop, its features, and
in how it looks, its `image_facts`. Features alone miss what a network has learnt to see past, and
facts alone what only a network sees; a Gaussian for each class (Lee et al., "A Simple Unified
Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks", 2018) told foreign
clips worse from the data set's own, see `python -m benchmarks.verdicts`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from components.trainer.image_facts import FACTS, RATIOS

# Crops of training that are kept as points; twice as many gain 0.02 of AUC, and cost twice the
# time, which is that of a network's pass over them.
REFERENCE_CROPS = 2048
# Principal components of the features; 64 and 128 told foreign clips no better.
_COMPONENTS = 32
# Added to facts before the logarithm, in grey levels: less detail than this is none.
_LEAST = 0.1


class NearestCropDistance(tf.Module):
    """Distance of crops to the nearest of a sample of training crops.

    Args:
      features: float [crops, features] of training crops.
      facts: float [crops, facts] of the same.
    """

    def __init__(self, features: np.ndarray, facts: np.ndarray):
        super().__init__(name="familiarity")
        features = np.asarray(features, np.float64)
        scaled = _scaled(tf.constant(facts, tf.float32)).numpy().astype(np.float64)
        mean = features.mean(axis=0)
        _, spread, axes = np.linalg.svd(features - mean, full_matrices=False)
        kept = min(_COMPONENTS, len(axes))
        # Features and facts have the same weight: the mean square of either is 1.
        size = np.sqrt((spread[:kept] ** 2).sum() / len(features))
        deviations = scaled.std(axis=0) * np.sqrt(len(FACTS))
        self._mean = _constant(mean)
        self._projection = _constant(axes[:kept].T / max(size, 1e-6))
        self._fact_mean = _constant(scaled.mean(axis=0))
        self._fact_scale = _constant(1.0 / np.maximum(deviations, 1e-6))
        self.points = tf.Variable(
            self.coordinates(_constant(features), _constant(facts)), trainable=False, name="points"
        )

    def coordinates(self, features: tf.Tensor, facts: tf.Tensor) -> tf.Tensor:
        """Where crops lie among the points.

        Args:
          features: float32 [batch, features].
          facts: float32 [batch, facts].

        Returns:
          float32 [batch, dimensions].
        """
        seen = tf.matmul(features - self._mean, self._projection)
        looks = (_scaled(facts) - self._fact_mean) * self._fact_scale
        return tf.concat([seen, looks], 1)

    def distances(self, features: tf.Tensor, facts: tf.Tensor) -> tf.Tensor:
        """Distance to the nearest point, float32 [batch]; arguments as of `coordinates`."""
        positions = self.coordinates(features, facts)
        # Not by the product of both: it loses the digits of small distances.
        squares = tf.math.squared_difference(positions[:, None], self.points[None])
        return tf.sqrt(tf.reduce_min(tf.reduce_sum(squares, 2), 1))


def _constant(values: np.ndarray) -> tf.Variable:
    return tf.Variable(np.asarray(values, np.float32), trainable=False)


def _scaled(facts: tf.Tensor) -> tf.Tensor:
    return tf.where(RATIOS, tf.math.log(tf.maximum(facts, 0.0) + _LEAST), facts)
