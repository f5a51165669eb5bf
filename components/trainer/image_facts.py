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


# Traced once for what measures training's and val's crops and for what is exported.
@tf.function(autograph=False)
def image_facts(pixels: tf.Tensor) -> tf.Tensor:
    """The facts of crops.

    Detail of 1, 2, 4 and 8 pixels is the standard deviation of what the binomial filter removes
    from each level of the luma's Gaussian pyramid, at the size that the network reads: blur,
    compression and enlargement each leave their mark there. Detail of colour is that of R - G and
    B - G at the finest level, which compression takes first. Evenness is the mean of the finest
    detail's absolute values over their standard deviation: 0.8 for noise, and less where a few
    edges stand in plain areas.

    Args:
      pixels: float32 [batch, size, size, 3], RGB in [-1, 1].

    Returns:
      float32 [batch, facts], in the order of `FACTS`.
    """
    # Planes of a channel each, [batch, rows, columns]: TensorFlow is slow over a last axis of 3.
    red, green, blue = tf.unstack(tf.transpose(127.5 * pixels + 127.5, [3, 0, 1, 2]))
    luma = sum(share * plane for share, plane in zip(_LUMA, (red, green, blue), strict=True))
    saturation = tf.maximum(tf.maximum(red, green), blue) - tf.minimum(tf.minimum(red, green), blue)
    redness, blueness = red - green, blue - green
    axes = [1, 2]
    facts = [
        tf.reduce_mean(luma, axes),
        tf.math.reduce_std(luma, axes),
        *(tf.reduce_mean(plane, axes) for plane in (saturation, redness, blueness)),
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
    colours = tf.stack([redness, blueness], 1)
    colour_detail = tf.math.reduce_std(colours - _blur(colours), [1, 2, 3])
    return tf.stack([*facts, *spreads, colour_detail, evenness], 1)


def _blur(planes: tf.Tensor) -> tf.Tensor:
    """The binomial filter along rows and columns of planes [..., rows, columns], borders mirrored.

    Sums of shifted planes: TensorFlow's convolutions take ten times as long for one channel.
    """
    *others, rows, columns = planes.shape
    x = tf.pad(planes, [[0, 0]] * len(others) + [[2, 2], [2, 2]], "REFLECT")
    x = _weighted([x[..., shift : shift + rows, :] for shift in range(len(_BINOMIAL))])
    return _weighted([x[..., shift : shift + columns] for shift in range(len(_BINOMIAL))])


def _weighted(shifted: list[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([part * weight for part, weight in zip(shifted, _BINOMIAL, strict=True)])
