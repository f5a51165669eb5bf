"""Encoded crop -> what the network reads. This graph is also part of every exported model."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from preprocessing.extraction.face_example import IMAGE, LABEL

# Names of the transformed features.
PIXELS = "image"


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.Tensor]:
    """The function that the Transform component traces.

    Args:
      inputs: raw features; `image/encoded` (string) and `label` (int64) are read, each of shape
        [batch] or [batch, 1].
      custom_config: `image_size`, the side of the network's input in pixels.

    Returns:
      `image`: float32 [batch, image_size, image_size, 3], RGB in [-1, 1];
      `label`: int64 [batch].
    """
    encoded = tf.reshape(inputs[IMAGE], [-1])
    return {
        PIXELS: decode_images(encoded, int(custom_config["image_size"])),
        LABEL: tf.reshape(inputs[LABEL], [-1]),
    }


def decode_images(encoded: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes, resizes and scales a batch of crops.

    Args:
      encoded: string [batch], JPEG or PNG each; grey pictures become RGB, transparency is dropped.
      size: side of the result in pixels.

    Returns:
      float32 [batch, size, size, 3] in [-1, 1]; [0, size, size, 3] for an empty batch.
    """
    return tf.map_fn(
        lambda crop: decode_image(crop, size),
        encoded,
        fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
    )


def decode_image(encoded: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes, resizes and scales one crop.

    Bilinear with a triangle filter that widens as it shrinks (antialias): larger crops keep no
    aliasing that could pass for a cue, and smaller ones are interpolated without overshoot.

    Args:
      encoded: string scalar, JPEG or PNG.
      size: side of the result in pixels.

    Returns:
      float32 [size, size, 3], pixels / 127.5 - 1 as NASNet's `preprocess_input` has it.
    """
    # This op reads PNG too. The accurate DCT is what OpenCV and Pillow decode with, and does not
    # depend on the platform as TensorFlow's default may.
    pixels = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    pixels = tf.image.resize(tf.cast(pixels, tf.float32), [size, size], antialias=True)
    pixels.set_shape([size, size, 3])
    return pixels / 127.5 - 1.0
