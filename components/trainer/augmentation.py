"""Changes of the training crops that leave the label as it is.

Works on whole batches in which crop i and crop i + batch/2 are a pair (see sampling.py). Both get
the same draw: otherwise the network could tell them apart by the augmentation.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Strength:
    """How much is changed at most, and how often. All off by default.

    Attributes:
      flip: chance of a horizontal flip. Faces stand upright: there is no vertical one.
      warp: chance of shifting, scaling and turning together. Interpolation takes high frequencies
        away, so most crops are better left on their own grid.
      shift: share of the side.
      scale: share of the size.
      turn: degrees.
      brightness: share of the range.
      contrast: share around 1; also of the saturation.
      hue: degrees.
      noise: largest standard deviation, in grey levels of 255.
      blur: chance of a Gaussian blur with a sigma of up to 1.5 pixels.
      shrink: chance of scaling down, to half at least, and up again.
      jpeg: chance of compression.
      jpeg_quality: lowest quality; the highest is 100.
      cut_out: chance of a grey rectangle over a part of the face.
    """

    flip: float = 0.0
    warp: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    turn: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    hue: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    shrink: float = 0.0
    jpeg: float = 0.0
    jpeg_quality: int = 100
    cut_out: float = 0.0


STRENGTHS = {
    "none": Strength(),
    # Keeps every high frequency: for training from scratch on small sets.
    "light": Strength(flip=0.5, brightness=0.1, contrast=0.1),
    # JPEG as the DFDC winner has it (60 to 100, half of the crops).
    "standard": Strength(
        flip=0.5,
        warp=0.5,
        shift=0.05,
        scale=0.1,
        turn=10.0,
        brightness=0.1,
        contrast=0.2,
        hue=10.0,
        noise=3.0,
        blur=0.1,
        shrink=0.1,
        jpeg=0.5,
        jpeg_quality=60,
    ),
    # JPEG as self-blended images have it (40 to 100).
    "strong": Strength(
        flip=0.5,
        warp=0.7,
        shift=0.1,
        scale=0.2,
        turn=15.0,
        brightness=0.2,
        contrast=0.3,
        hue=20.0,
        noise=8.0,
        blur=0.3,
        shrink=0.3,
        jpeg=0.7,
        jpeg_quality=40,
        cut_out=0.3,
    ),
}
_MAX_BLUR = 1.5
_BLUR_RADIUS = 4

# NTSC's colour space, where hue is an angle and saturation a radius in the I-Q plane.
_RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def augment(images: tf.Tensor, strength: str, seed: tf.Tensor) -> tf.Tensor:
    """Augments a batch of pairs.

    Args:
      images: float32 [batch, side, side, 3] in [-1, 1], batch even.
      strength: key of STRENGTHS.
      seed: int [2]; equal seeds give equal draws.

    Returns:
      float32, shape as given, in [-1, 1].
    """
    how = STRENGTHS[strength]
    if how == Strength():
        return images
    shape = images.shape
    draw = _Draw(seed, tf.shape(images)[0] // 2)
    images = _geometry(images, how, draw)
    images = _colour(images, how, draw)
    if how.blur or how.shrink or how.jpeg:
        images = _degrade(images, how, draw)
    if how.noise:
        images = _noise(images, how, draw)
    if how.cut_out:
        images = _cut_out(images, how, draw)
    return tf.ensure_shape(tf.clip_by_value(images, -1.0, 1.0), shape)


class _Draw:
    """Random numbers of a batch: each call gives fresh ones, equal for both crops of a pair."""

    def __init__(self, seed: tf.Tensor, pairs: tf.Tensor):
        self._seed = tf.cast(seed, tf.int64)
        self._pairs = pairs
        self._calls = 0

    def seed(self) -> tf.Tensor:
        self._calls += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._calls)

    def uniform(self, low: float = 0.0, high: float = 1.0, both: bool = True) -> tf.Tensor:
        """float32 [batch] (or [batch / 2] without `both`), in [low, high)."""
        values = tf.random.stateless_uniform([self._pairs], self.seed(), low, high)
        return tf.tile(values, [2]) if both else values

    def chance(self, probability: float, both: bool = True) -> tf.Tensor:
        """bool, shape as of `uniform`."""
        return self.uniform(both=both) < probability


def _geometry(images: tf.Tensor, how: Strength, draw: _Draw) -> tf.Tensor:
    side = tf.cast(tf.shape(images)[1], tf.float32)
    centre = (side - 1.0) / 2.0
    on = tf.cast(draw.chance(how.warp), tf.float32)
    angle = on * draw.uniform(-1.0, 1.0) * (how.turn * math.pi / 180.0)
    factor = tf.exp(on * draw.uniform(-1.0, 1.0) * math.log1p(how.scale))
    mirror = tf.where(draw.chance(how.flip), -1.0, 1.0)
    shift_x = on * draw.uniform(-1.0, 1.0) * how.shift * side
    shift_y = on * draw.uniform(-1.0, 1.0) * how.shift * side
    cos, sin = tf.cos(angle) / factor, tf.sin(angle) / factor
    # Rows of the map from a pixel of the result to one of the source, both around the centre.
    a, b, c, d = mirror * cos, -mirror * sin, sin, cos
    zero = tf.zeros_like(a)
    transforms = tf.stack(
        [
            a,
            b,
            centre - a * centre - b * centre + shift_x,
            c,
            d,
            centre - c * centre - d * centre + shift_y,
            zero,
            zero,
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _colour(images: tf.Tensor, how: Strength, draw: _Draw) -> tf.Tensor:
    contrast = draw.uniform(1.0 - how.contrast, 1.0 + how.contrast)
    saturation = draw.uniform(1.0 - how.contrast, 1.0 + how.contrast)
    angle = draw.uniform(-1.0, 1.0) * (how.hue * math.pi / 180.0)
    # Of a range that is 2 wide.
    offset = draw.uniform(-2.0 * how.brightness, 2.0 * how.brightness)
    cos, sin = saturation * tf.cos(angle), saturation * tf.sin(angle)
    zero, one = tf.zeros_like(cos), tf.ones_like(cos)
    turn = tf.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], axis=1)
    to_yiq = tf.constant(_RGB_TO_YIQ)
    matrix = tf.linalg.inv(to_yiq) @ tf.reshape(turn, [-1, 3, 3]) @ to_yiq
    matrix *= contrast[:, None, None]
    return tf.einsum("bhwc,bdc->bhwd", images, matrix) + offset[:, None, None, None]


def _degrade(images: tf.Tensor, how: Strength, draw: _Draw) -> tf.Tensor:
    """Blur, low resolution and compression, pair by pair, since most pairs get none of them."""
    side = tf.shape(images)[1]
    pairs = tf.stack(tf.split(images, 2), axis=1)
    lowest = tf.cast(side, tf.float32) / 2.0
    draws = (
        tf.where(draw.chance(how.blur, both=False), draw.uniform(0.3, _MAX_BLUR, both=False), 0.0),
        tf.where(
            draw.chance(how.shrink, both=False),
            tf.cast(lowest * draw.uniform(1.0, 2.0, both=False), tf.int32),
            side,
        ),
        tf.where(
            draw.chance(how.jpeg, both=False),
            tf.cast(draw.uniform(how.jpeg_quality, 101.0, both=False), tf.int32),
            0,
        ),
    )

    def one(element):
        pair, sigma, small, quality = element
        pair = tf.cond(sigma > 0.0, lambda: _blur(pair, sigma), lambda: pair)
        pair = tf.cond(small < side, lambda: _shrink(pair, small, side), lambda: pair)
        return tf.cond(quality > 0, lambda: _compress(pair, quality), lambda: pair)

    spec = tf.TensorSpec([2, *images.shape[1:]], images.dtype)
    pairs = tf.map_fn(one, (pairs, *draws), fn_output_signature=spec)
    return tf.concat(tf.unstack(pairs, axis=1), axis=0)


def _blur(pair: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    offsets = tf.range(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=tf.float32)
    kernel = tf.nn.softmax(-0.5 * tf.square(offsets / sigma))
    margin = [_BLUR_RADIUS, _BLUR_RADIUS]
    pair = tf.pad(pair, [[0, 0], margin, margin, [0, 0]], "REFLECT")
    for shape in ([-1, 1, 1, 1], [1, -1, 1, 1]):
        weights = tf.tile(tf.reshape(kernel, shape), [1, 1, 3, 1])
        pair = tf.nn.depthwise_conv2d(pair, weights, [1, 1, 1, 1], "VALID")
    return pair


def _shrink(pair: tf.Tensor, small: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    down = tf.image.resize(pair, [small, small], antialias=True)
    return tf.image.resize(down, [side, side])


def _compress(pair: tf.Tensor, quality: tf.Tensor) -> tf.Tensor:
    unit = tf.clip_by_value(pair * 0.5 + 0.5, 0.0, 1.0)
    crops = [tf.image.adjust_jpeg_quality(crop, quality) for crop in tf.unstack(unit, num=2)]
    return tf.stack(crops) * 2.0 - 1.0


def _noise(images: tf.Tensor, how: Strength, draw: _Draw) -> tf.Tensor:
    sigma = draw.uniform(0.0, how.noise / 127.5)
    shape = tf.concat([[tf.shape(images)[0] // 2], tf.shape(images)[1:]], axis=0)
    noise = tf.random.stateless_normal(shape, draw.seed())
    return images + tf.tile(noise, [2, 1, 1, 1]) * sigma[:, None, None, None]


def _cut_out(images: tf.Tensor, how: Strength, draw: _Draw) -> tf.Tensor:
    """Covers a rectangle of a tenth to a third of the side, anywhere, with mid grey."""
    position = tf.linspace(0.0, 1.0, tf.shape(images)[1])

    def inside(centre, length):
        return tf.abs(position[None, :] - centre[:, None]) < length[:, None] / 2.0

    rows = inside(draw.uniform(), draw.uniform(0.1, 0.33))
    columns = inside(draw.uniform(), draw.uniform(0.1, 0.33))
    covered = rows[:, :, None] & columns[:, None, :] & draw.chance(how.cut_out)[:, None, None]
    return tf.where(covered[..., None], 0.0, images)
