"""Degradations of pictures by cameras, uploads and codecs: blur, low resolution, JPEG, video.

All functions take float32 [crops, side, side, 3] in [-1, 1] and treat these crops alike.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

MAX_BLUR = 1.5
_BLUR_RADIUS = 4
_BLOCK = 8
# Luma and chroma of ITU-R BT.601, as video of standard definition has it.
_TO_YCC = np.array(
    [(0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)], np.float32
)


def blur(images: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Gaussian blur; sigma in pixels, at most MAX_BLUR."""
    offsets = tf.range(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=tf.float32)
    kernel = tf.nn.softmax(-0.5 * tf.square(offsets / sigma))
    margin = [_BLUR_RADIUS, _BLUR_RADIUS]
    images = tf.pad(images, [[0, 0], margin, margin, [0, 0]], "REFLECT")
    for shape in ([-1, 1, 1, 1], [1, -1, 1, 1]):
        weights = tf.tile(tf.reshape(kernel, shape), [1, 1, 3, 1])
        images = tf.nn.depthwise_conv2d(images, weights, [1, 1, 1, 1], "VALID")
    return images


def shrink(images: tf.Tensor, small: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Scales from `side` down to `small` pixels and up again."""
    down = tf.image.resize(images, [small, small], antialias=True)
    return tf.image.resize(down, [side, side])


def compress_jpeg(images: tf.Tensor, quality: tf.Tensor, crops: int) -> tf.Tensor:
    """JPEG of this quality (1 to 100); `crops` is the number of crops."""
    unit = tf.clip_by_value(images * 0.5 + 0.5, 0.0, 1.0)
    coded = [tf.image.adjust_jpeg_quality(crop, quality) for crop in tf.unstack(unit, num=crops)]
    return tf.stack(coded) * 2.0 - 1.0


def compress_video(images: tf.Tensor, qp: tf.Tensor, move: tf.Tensor) -> tf.Tensor:
    """Artefacts of a frame that H.264 has predicted from the frame before.

    A real encoder cannot run here: OpenCV's has no quality to set, and writes files. This is a
    model of what an encoder does, step by step:

      1. Y'CbCr, chroma at half resolution;
      2. the frame before: the picture moved by up to a block, transformed in blocks of
         8x8 pixels and quantised;
      3. that frame moved back is the prediction, and the difference from it is transformed and
         quantised with a wide dead zone, so that what is faint is not corrected;
      4. a filter across the borders of blocks, which smooths steps below the quantiser's.

    As in H.264, all frequencies share one quantiser step, 2 ** ((qp - 4) / 6) grey levels, and the
    rounding is 1/3 in the first and 1/6 in the predicted frame (JM reference encoder). Left out
    are prediction within a frame, 4x4 transforms, and rate control.

    Args:
      images: [crops, side, side, 3].
      qp: quantisation parameter; FaceForensics++ is published with rate factors 23 and 40, which
        give about these values.
      move: [2], x and y in pixels by which the frame before differs, at most 8.

    Returns:
      Shape as given.
    """
    side = tf.shape(images)[1]
    # A border of a block at least, and a multiple of 16 in all, for chroma at half resolution.
    after = 16 + (-side) % 16
    padding = [[0, 0], [16, after], [16, after], [0, 0]]
    ycc = tf.einsum("bhwc,dc->bhwd", images, _TO_YCC) * 127.5
    ycc = tf.pad(ycc, padding, "SYMMETRIC")
    step = tf.pow(2.0, (tf.cast(qp, tf.float32) - 4.0) / 6.0)
    luma = _code(ycc[..., :1], step, move)
    chroma = tf.nn.avg_pool2d(ycc[..., 1:], 2, 2, "VALID")
    chroma = _code(chroma, step, move / 2.0)
    chroma = tf.image.resize(chroma, tf.shape(luma)[1:3])
    coded = tf.concat([luma, chroma], axis=-1)[:, 16 : 16 + side, 16 : 16 + side]
    to_rgb = np.linalg.inv(_TO_YCC).astype(np.float32)
    return tf.ensure_shape(tf.einsum("bhwc,dc->bhwd", coded, to_rgb) / 127.5, images.shape)


def _code(planes: tf.Tensor, step: tf.Tensor, move: tf.Tensor) -> tf.Tensor:
    """Two frames of one codec; planes: [crops, height, width, planes], in grey levels."""
    first = _quantise(_translate(planes, move), step, 1.0 / 3.0)
    prediction = _translate(_deblock(first, step), -move)
    return _deblock(prediction + _quantise(planes - prediction, step, 1.0 / 6.0), step)


def _translate(planes: tf.Tensor, move: tf.Tensor) -> tf.Tensor:
    """Moves by fractions of pixels, bilinearly; what leaves at one border enters at the other."""
    for axis, distance in ((1, move[1]), (2, move[0])):
        pixels = tf.floor(distance)
        share, shift = distance - pixels, tf.cast(pixels, tf.int32)
        shifted = tf.roll(planes, -shift, axis)
        planes = shifted + share * (tf.roll(shifted, -1, axis) - shifted)
    return planes


def _quantise(planes: tf.Tensor, step: tf.Tensor, rounding: float) -> tf.Tensor:
    """Cosine transform of 8x8 blocks and back, with coefficients in whole steps."""
    depth = planes.shape[-1]
    parts = []
    for plane in range(depth):
        blocks = tf.nn.space_to_depth(planes[..., plane : plane + 1], _BLOCK)
        scaled = tf.tensordot(blocks, _COSINES, 1) / step
        quantised = tf.sign(scaled) * tf.floor(tf.abs(scaled) + rounding)
        blocks = tf.tensordot(quantised * step, _COSINES.T, 1)
        parts.append(tf.nn.depth_to_space(blocks, _BLOCK))
    return tf.concat(parts, axis=-1)


def _deblock(planes: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Halves steps between blocks that the quantiser may have made, along x and along y."""
    for axis in (1, 2):
        length = tf.shape(planes)[axis]
        place = tf.range(length) % _BLOCK
        shape = [-1, 1, 1] if axis == 1 else [1, -1, 1]
        after = tf.roll(planes, -1, axis) - planes
        before = planes - tf.roll(planes, 1, axis)
        last = tf.reshape(tf.cast((place == _BLOCK - 1), tf.float32), shape)
        first = tf.reshape(tf.cast((place == 0), tf.float32), shape)
        small_after = tf.cast(tf.abs(after) < step, tf.float32)
        small_before = tf.cast(tf.abs(before) < step, tf.float32)
        planes += 0.25 * (last * small_after * after - first * small_before * before)
    return planes


def _cosines() -> np.ndarray:
    """The orthonormal transform of an 8x8 block, as a matrix [64 pixels, 64 coefficients]."""
    k, n = np.mgrid[:_BLOCK, :_BLOCK]
    rows = np.sqrt(2.0 / _BLOCK) * np.cos(math.pi * (2 * n + 1) * k / (2 * _BLOCK))
    rows[0] /= math.sqrt(2.0)
    return np.kron(rows, rows).T.astype(np.float32)


_COSINES = _cosines()
