"""Changes of the training crops that leave the label as it is.

Works on whole batches. Where crops 2i and 2i + 1 are a pair (see sampling.py), both get the same
draw: otherwise the network could tell them apart by the augmentation.

`deepfake augment-preview --strength all` shows what each strength does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from components.trainer import degradation
from components.trainer.seed_recipe import SeedRecipe, apply_seed_recipe
from preprocessing.faces.crop_geometry import TYPICAL_LANDMARKS


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
      video: chance of video compression.
      video_qp: lowest and highest quantisation parameter, see `degradation.compress_video`.
      cut_out: chance of a grey rectangle over a part of the face: both eyes, one of them, the nose
        or the mouth. A detector should not live by one of them.
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
    video: float = 0.0
    video_qp: tuple[float, float] = (23.0, 40.0)
    cut_out: float = 0.0


STRENGTHS: dict[str, Strength | SeedRecipe] = {
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
    # For crops that other programs cut: boxes of detectors differ by a fifth in scale. Two crops of
    # five keep their own compression, which is what is seen most.
    "varied": Strength(
        flip=0.5,
        warp=0.6,
        shift=0.08,
        scale=0.2,
        turn=12.0,
        brightness=0.15,
        contrast=0.25,
        hue=10.0,
        noise=3.0,
        blur=0.15,
        shrink=0.2,
        jpeg=0.5,
        jpeg_quality=40,
        video=0.1,
        cut_out=0.1,
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
        # Beyond this, skin turns magenta or green.
        hue=15.0,
        noise=8.0,
        blur=0.3,
        shrink=0.3,
        jpeg=0.7,
        jpeg_quality=40,
        video=0.3,
        cut_out=0.3,
    ),
    # The recipe that this project is compared with; not a recommendation.
    "seed_recipe": SeedRecipe(),
}
# Centre (as a mix of the five points), width and height (in distances from the eyes to the mouth)
# of the parts that are cut out: both eyes, left eye, right eye, nose, mouth.
_PARTS = (
    ((0.5, 0.5, 0.0, 0.0, 0.0), 1.9, 0.6),
    ((1.0, 0.0, 0.0, 0.0, 0.0), 0.9, 0.6),
    ((0.0, 1.0, 0.0, 0.0, 0.0), 0.9, 0.6),
    ((0.15, 0.15, 0.7, 0.0, 0.0), 0.7, 0.8),
    ((0.0, 0.0, 0.0, 0.5, 0.5), 1.3, 0.6),
)

# NTSC's colour space, where hue is an angle and saturation a radius in the I-Q plane.
_RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def augment(
    images: tf.Tensor,
    strength: str,
    seed: tf.Tensor,
    paired: bool = True,
    landmarks: tf.Tensor | None = None,
) -> tf.Tensor:
    """Augments a batch.

    Args:
      images: float32 [batch, side, side, 3] in [-1, 1].
      strength: key of STRENGTHS.
      seed: int [2]; equal seeds give equal draws.
      paired: crops 2i and 2i + 1 get the same draw (the batch is even then); False: each crop has
        its own. `seed_recipe` gives each crop its own in any case.
      landmarks: float32 [batch, 5, 2] in shares of the side, for cutting out parts of the face;
        where None or NaN, those of a typical face in the centre are taken.

    Returns:
      float32, shape as given, in [-1, 1].
    """
    parameters = STRENGTHS[strength]
    if parameters == Strength():
        return images
    shape = images.shape
    if isinstance(parameters, SeedRecipe):
        images = apply_seed_recipe(images, parameters.draw(tf.shape(images)[0], seed))
        return tf.ensure_shape(images, shape)
    draw = _Draw(seed, tf.shape(images)[0], 2 if paired else 1)
    if parameters.cut_out:
        # First, while the places of the points hold.
        images = _cut_out(images, parameters, draw, landmarks)
    images = _geometry(images, parameters, draw)
    images = _colour(images, parameters, draw)
    if parameters.blur or parameters.shrink or parameters.video or parameters.jpeg:
        images = _degrade(images, parameters, draw)
    if parameters.noise:
        images = _noise(images, parameters, draw)
    return tf.ensure_shape(tf.clip_by_value(images, -1.0, 1.0), shape)


class _Draw:
    """Random numbers of a batch: each call gives fresh ones, equal for the crops of a group.

    Attributes:
      group: crops that share their draws and stand together: 2 for pairs, 1 otherwise.
      groups: how many there are.
    """

    def __init__(self, seed: tf.Tensor, crops: tf.Tensor, group: int):
        self._seed = tf.cast(seed, tf.int64)
        self._calls = 0
        self.group = group
        self.groups = crops // group

    def seed(self) -> tf.Tensor:
        self._calls += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._calls)

    def uniform(self, low: float = 0.0, high: float = 1.0, each: bool = True) -> tf.Tensor:
        """float32 [batch] (without `each`: [groups]), in [low, high)."""
        values = tf.random.stateless_uniform([self.groups], self.seed(), low, high)
        return tf.repeat(values, self.group) if each else values

    def chance(self, probability: float, each: bool = True) -> tf.Tensor:
        """bool, shape as of `uniform`."""
        return self.uniform(each=each) < probability


def _geometry(images: tf.Tensor, strength: Strength, draw: _Draw) -> tf.Tensor:
    images = _change(images, draw.chance(strength.flip), lambda crops, _: tf.reverse(crops, [2]))
    if not strength.warp:
        return images
    side = tf.cast(tf.shape(images)[1], tf.float32)
    centre = (side - 1.0) / 2.0
    angle = draw.uniform(-1.0, 1.0) * (strength.turn * math.pi / 180.0)
    factor = tf.exp(draw.uniform(-1.0, 1.0) * math.log1p(strength.scale))
    shift_x = draw.uniform(-1.0, 1.0) * strength.shift * side
    shift_y = draw.uniform(-1.0, 1.0) * strength.shift * side
    cos, sin = tf.cos(angle) / factor, tf.sin(angle) / factor
    zero = tf.zeros_like(cos)
    # Rows of the map from a pixel of the result to one of the source, both around the centre.
    transforms = tf.stack(
        [
            cos,
            -sin,
            centre - cos * centre + sin * centre + shift_x,
            sin,
            cos,
            centre - sin * centre - cos * centre + shift_y,
            zero,
            zero,
        ],
        axis=1,
    )

    def warp(crops: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=crops,
            transforms=tf.gather(transforms, numbers),
            output_shape=tf.shape(crops)[1:3],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="REFLECT",
        )

    return _change(images, draw.chance(strength.warp), warp)


def _change(
    images: tf.Tensor, mask: tf.Tensor, change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Calls `change` with some of the images and their numbers; the others take no time."""
    numbers = tf.where(mask)
    changed = change(tf.gather(images, numbers[:, 0]), numbers[:, 0])
    return tf.tensor_scatter_nd_update(images, numbers, changed)


def _colour(images: tf.Tensor, strength: Strength, draw: _Draw) -> tf.Tensor:
    contrast = draw.uniform(1.0 - strength.contrast, 1.0 + strength.contrast)
    saturation = draw.uniform(1.0 - strength.contrast, 1.0 + strength.contrast)
    angle = draw.uniform(-1.0, 1.0) * (strength.hue * math.pi / 180.0)
    # Of a range that is 2 wide.
    offset = draw.uniform(-2.0 * strength.brightness, 2.0 * strength.brightness)
    cos, sin = saturation * tf.cos(angle), saturation * tf.sin(angle)
    zero, unit = tf.zeros_like(cos), tf.ones_like(cos)
    turn = tf.stack([unit, zero, zero, zero, cos, -sin, zero, sin, cos], axis=1)
    to_yiq = tf.constant(_RGB_TO_YIQ)
    matrix = tf.linalg.inv(to_yiq) @ tf.reshape(turn, [-1, 3, 3]) @ to_yiq
    matrix *= contrast[:, None, None]
    return tf.einsum("bhwc,bdc->bhwd", images, matrix) + offset[:, None, None, None]


def _degrade(images: tf.Tensor, strength: Strength, draw: _Draw) -> tf.Tensor:
    """Blur, low resolution and compression, group by group, since most groups get none of them."""
    side = tf.shape(images)[1]
    group_shape = [draw.group, *images.shape[1:]]
    groups = tf.reshape(images, tf.concat([[-1, draw.group], tf.shape(images)[1:]], axis=0))
    lowest = tf.cast(side, tf.float32) / 2.0

    def sometimes(probability: float, low: float, high: float, otherwise: float) -> tf.Tensor:
        on, value = draw.chance(probability, each=False), draw.uniform(low, high, each=False)
        return tf.where(on, value, otherwise)

    draws = (
        sometimes(strength.blur, 0.3, degradation.MAX_BLUR, 0.0),
        tf.cast(lowest * sometimes(strength.shrink, 1.0, 2.0, 2.0), tf.int32),
        sometimes(strength.video, *strength.video_qp, 0.0),
        # Of the frame before, in pixels: some motion, and never one grid of blocks for all.
        tf.random.stateless_uniform([draw.groups, 2], draw.seed(), -8.0, 8.0),
        tf.cast(sometimes(strength.jpeg, strength.jpeg_quality, 101.0, 0.0), tf.int32),
    )

    def degrade_group(element: tuple[tf.Tensor, ...]) -> tf.Tensor:
        crops, sigma, small, qp, move, quality = element
        crops = tf.cond(sigma > 0.0, lambda: degradation.blur(crops, sigma), lambda: crops)
        crops = tf.cond(small < side, lambda: degradation.shrink(crops, small, side), lambda: crops)
        crops = tf.cond(
            qp > 0.0, lambda: degradation.compress_video(crops, qp, move), lambda: crops
        )
        return tf.cond(
            quality > 0,
            lambda: degradation.compress_jpeg(crops, quality, draw.group),
            lambda: crops,
        )

    spec = tf.TensorSpec(group_shape, images.dtype)
    groups = tf.map_fn(degrade_group, (groups, *draws), fn_output_signature=spec)
    return tf.reshape(groups, tf.shape(images))


def _noise(images: tf.Tensor, strength: Strength, draw: _Draw) -> tf.Tensor:
    """Normal noise. Groups take overlapping parts of one field: drawing it is what takes time."""
    sigma = draw.uniform(0.0, strength.noise / 127.5, each=False)
    rows, width = tf.shape(images)[1], tf.shape(images)[2]
    apart = tf.maximum(rows // draw.groups, 1)
    field = tf.random.stateless_normal([rows + apart * draw.groups, width, 3], draw.seed())
    first = apart * tf.range(draw.groups)
    noise = tf.gather(field, first[:, None] + tf.range(rows)) * sigma[:, None, None, None]
    groups = tf.reshape(images, [-1, draw.group, rows, width, 3]) + noise[:, None]
    return tf.reshape(groups, tf.shape(images))


def _cut_out(
    images: tf.Tensor, strength: Strength, draw: _Draw, landmarks: tf.Tensor | None
) -> tf.Tensor:
    """Covers a part of the face with mid grey."""
    points = tf.tile(TYPICAL_LANDMARKS[None], [tf.shape(images)[0], 1, 1])
    if landmarks is not None:
        points = tf.where(tf.math.is_finite(landmarks), landmarks, points)
    mixes, widths, heights = (np.array(column, np.float32) for column in zip(*_PARTS, strict=True))
    part = tf.cast(draw.uniform(0.0, len(_PARTS)), tf.int32)
    centre = tf.einsum("bpx,bp->bx", points, tf.gather(mixes, part))
    eyes, mouth = tf.reduce_mean(points[:, :2], axis=1), tf.reduce_mean(points[:, 3:], axis=1)
    size = tf.norm(mouth - eyes, axis=1) * draw.uniform(0.7, 1.3)
    position = (tf.range(tf.shape(images)[1], dtype=tf.float32) + 0.5) / tf.cast(
        tf.shape(images)[1], tf.float32
    )

    def inside(middle: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        return tf.abs(position[None, :] - middle[:, None]) < length[:, None] / 2.0

    columns = inside(centre[:, 0], size * tf.gather(widths, part))
    rows = inside(centre[:, 1], size * tf.gather(heights, part))
    covered = rows[:, :, None] & columns[:, None, :] & draw.chance(strength.cut_out)[:, None, None]
    return tf.where(covered[..., None], 0.0, images)
