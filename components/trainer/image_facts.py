"""What a crop looks like in numbers that need no network, computed in the exported graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Names of the facts, in order; of all that have a unit it is the grey level (of 255).
FACTS = (
    "brightness",
    "contrast",
    "saturation",
    "redness",
    "blueness",
    "detail of 1 pixel",
    "detail of 2 pixels",
    "detail of 4 pixels",
    "detail of 8 pixels",
    "detail of colour",
    "evenness of detail",
)
# Those that differ by factors, and are compared as logarithms.
RATIOS = np.array([fact.split()[0] in ("contrast", "detail", "evenness") for fact in FACTS])

# Luma of ITU-R BT.601, as JPEG has it.
_LUMA = (0.299, 0.587, 0.114)
# Binomial filter of Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code" (1983).
_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16
_LEVELS = 4


def image_facts(pixels: tf.Tensor) -> tf.Tensor:
    """The facts of crops.

    Detail of 1, 2, 4 and 8 pixels is the standard deviation of the levels of the luma's Laplacian
    pyramid, at the size that the network reads: blur, compression and enlargement each leave their
    mark there. Detail of colour is that of the finest level of R - G and B - G, which compression
    takes first. Evenness is the mean of the finest level's absolute values over their standard
    deviation: 0.8 for noise, and less where a few edges stand in plain areas.

    Args:
      pixels: float32 [batch, size, size, 3], RGB in [-1, 1].

    Returns:
      float32 [batch, facts], in the order of `FACTS`.
    """
    levels = 127.5 * pixels + 127.5
    luma = tf.reduce_sum(levels * tf.constant(_LUMA), -1, keepdims=True)
    colours = tf.stack([levels[..., 0] - levels[..., 1], levels[..., 2] - levels[..., 1]], -1)
    saturation = tf.reduce_max(levels, -1) - tf.reduce_min(levels, -1)
    axes = [1, 2, 3]
    facts = [
        tf.reduce_mean(luma, axes),
        tf.math.reduce_std(luma, axes),
        tf.reduce_mean(saturation, axes[:2]),
        *tf.unstack(tf.reduce_mean(colours, axes[:2]), axis=-1),
    ]
    details = []
    smaller = luma
    for _ in range(_LEVELS):
        blurred = _blur(smaller)
        details.append(smaller - blurred)
        smaller = blurred[:, ::2, ::2]
    spreads = [tf.math.reduce_std(detail, axes) for detail in details]
    # A plain crop has no detail to be even.
    evenness = (tf.reduce_mean(tf.abs(details[0]), axes) + 0.05) / (spreads[0] + 0.05)
    colour_detail = tf.math.reduce_std(colours - _blur(colours), axes)
    return tf.stack([*facts, *spreads, colour_detail, evenness], 1)


def _blur(pictures: tf.Tensor) -> tf.Tensor:
    channels = pictures.shape[-1]
    kernel = np.outer(_BINOMIAL, _BINOMIAL)[:, :, None, None]
    padded = tf.pad(pictures, [[0, 0], [2, 2], [2, 2], [0, 0]], "REFLECT")
    return tf.nn.depthwise_conv2d(
        padded, tf.constant(np.repeat(kernel, channels, axis=2)), [1, 1, 1, 1], "VALID"
    )
