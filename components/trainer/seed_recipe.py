"""The augmentation of the recipe that this project started from, kept for comparison.

That recipe used Keras' ImageDataGenerator(rescale=1/255, rotation_range=45, width_shift_range=0.3,
height_shift_range=0.3, shear_range=0.3, zoom_range=0.3, horizontal_flip=True, vertical_flip=True).
Rescaling is the model's business here (`model.input=unit_range`); the other seven operations are
below, as ImageDataGenerator defines them:

  - every crop has draws of its own, all of them uniform;
  - rotation, shift, shear and zoom are one affine map, bilinear, about the centre of the picture;
  - shear is an angle in degrees: 0.3 hardly moves a pixel, and was most likely meant as a share;
  - zoom is drawn for x and y apart, so faces get wider or taller by up to 1.3 / 0.7;
  - beyond the border, the nearest pixel is repeated (its default fill mode).
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class SeedRecipe:
    """Bounds of the draws, with ImageDataGenerator's meanings.

    Attributes:
      rotation: degrees to either side.
      width_shift: share of the width to either side.
      height_shift: share of the height to either side.
      shear: degrees to either side.
      zoom: the zoom of each axis lies in [1 - zoom, 1 + zoom]; above 1 shows more of the picture.
      horizontal_flip: chance.
      vertical_flip: chance.
    """

    rotation: float = 45.0
    width_shift: float = 0.3
    height_shift: float = 0.3
    shear: float = 0.3
    zoom: float = 0.3
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.5

    def draw(self, count: int | tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Draws for `count` crops, float32 [count] each.

        Args:
          count: how many.
          seed: int [2]; equal seeds give equal draws.

        Returns:
          `theta` and `shear` (degrees), `tx` and `ty` (shares of the side), `zx` and `zy`, and
          the flips `horizontal` and `vertical` (0 or 1).
        """
        bounds = {
            "theta": (-self.rotation, self.rotation),
            "tx": (-self.width_shift, self.width_shift),
            "ty": (-self.height_shift, self.height_shift),
            "shear": (-self.shear, self.shear),
            "zx": (1.0 - self.zoom, 1.0 + self.zoom),
            "zy": (1.0 - self.zoom, 1.0 + self.zoom),
            "horizontal": (0.0, 1.0),
            "vertical": (0.0, 1.0),
        }
        seeds = tf.random.experimental.stateless_split(seed, len(bounds))
        draws = {
            name: tf.random.stateless_uniform([count], seeds[row], *ends)
            for row, (name, ends) in enumerate(bounds.items())
        }
        draws["horizontal"] = tf.cast(draws["horizontal"] < self.horizontal_flip, tf.float32)
        draws["vertical"] = tf.cast(draws["vertical"] < self.vertical_flip, tf.float32)
        return draws


def apply_seed_recipe(images: tf.Tensor, draws: dict[str, tf.Tensor]) -> tf.Tensor:
    """Applies draws of a SeedRecipe.

    Args:
      images: float32 [batch, side, side, 3].
      draws: of `SeedRecipe.draw` for batch crops.

    Returns:
      float32, shape as given.
    """
    side = tf.cast(tf.shape(images)[1], tf.float32)
    theta, shear = (draws[name] * (math.pi / 180.0) for name in ("theta", "shear"))
    zero, unit = tf.zeros_like(theta), tf.ones_like(theta)

    def matrix(*rows: tuple[tf.Tensor, ...]) -> tf.Tensor:
        return tf.stack([tf.stack(row, axis=1) for row in (*rows, (zero, zero, unit))], axis=1)

    rotation = matrix((tf.cos(theta), -tf.sin(theta), zero), (tf.sin(theta), tf.cos(theta), zero))
    shift = matrix((unit, zero, draws["tx"] * side), (zero, unit, draws["ty"] * side))
    shearing = matrix((unit, -tf.sin(shear), zero), (zero, tf.cos(shear), zero))
    zoom = matrix((draws["zx"], zero, zero), (zero, draws["zy"], zero))
    # ImageDataGenerator flips what comes out of the affine map: the flip's coordinates go in first.
    flip = matrix(
        (1.0 - 2.0 * draws["horizontal"], zero, zero), (zero, 1.0 - 2.0 * draws["vertical"], zero)
    )
    centre = (side - 1.0) / 2.0 * unit
    from_centre = matrix((unit, zero, centre), (zero, unit, centre))
    to_centre = matrix((unit, zero, -centre), (zero, unit, -centre))
    # From a pixel of the result to one of the source.
    combined = from_centre @ rotation @ shift @ shearing @ zoom @ flip @ to_centre
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.reshape(combined, [-1, 9])[:, :8],
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
