"""The three networks of MTCNN in TensorFlow's own operations, with the `mtcnn` package's weights.

The package builds its networks of Keras layers. Importing Keras takes longer than all that a
prediction does with these networks, so they are written out here, and the package is not imported:
only its files are read.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class _Pool(NamedTuple):
    """Maximum over squares of `size` pixels, which lie two pixels apart."""

    size: int
    padding: str


# What follows each of a network's convolutions with PReLU.
_POOLS: dict[str, tuple[_Pool | None, ...]] = {
    "pnet": (_Pool(2, "SAME"), None, None),
    "rnet": (_Pool(3, "SAME"), _Pool(3, "VALID"), None),
    "onet": (_Pool(3, "SAME"), _Pool(3, "VALID"), _Pool(2, "SAME"), None),
}


class Network:
    """One of the networks, to be called in a `tf.function`.

    Args:
      name: `pnet` takes pictures of any size, `rnet` crops of 24 and `onet` crops of 48 pixels.

    Raises:
      ModuleNotFoundError: the package `mtcnn` is not installed.
    """

    def __init__(self, name: str):
        self._pools = _POOLS[name]
        self._weights = _read_weights(name)

    def __call__(self, pixels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Applies the network.

        Args:
          pixels: float32 [batch, height, width, 3], (RGB - 127.5) / 128.

        Returns:
          The offsets of the box, [..., 4] in sides of the window; of `onet` also the landmarks
          [..., 10], five x and five y; and the probabilities [..., 2] of no face and a face. Of
          `pnet` for each place [batch, rows, columns, ...], else for each crop [batch, ...].
        """
        weights = iter(self._weights)
        x = pixels
        for pool in self._pools:
            x = _prelu(_affine(x, next(weights), next(weights)), next(weights))
            if pool:
                x = tf.nn.max_pool2d(x, pool.size, 2, pool.padding)
        heads = list(weights)
        if heads[0].ndim == 2:
            # The weights count columns before rows.
            x = tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, len(heads[0])))
            kernel, bias, slopes, *heads = heads
            x = _prelu(_affine(x, kernel, bias), slopes)
        *regressions, logits = [
            _affine(x, kernel, bias) for kernel, bias in zip(heads[::2], heads[1::2], strict=True)
        ]
        return (*regressions, tf.nn.softmax(logits))


def _affine(x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    """A convolution where the kernel is [rows, columns, in, out], else a dense layer."""
    x = tf.nn.conv2d(x, kernel, 1, "VALID") if kernel.ndim == 4 else tf.matmul(x, kernel)
    return tf.nn.bias_add(x, bias)


def _prelu(x: tf.Tensor, slopes: np.ndarray) -> tf.Tensor:
    return tf.nn.relu(x) - slopes * tf.nn.relu(-x)


def _read_weights(name: str) -> list[np.ndarray]:
    """Kernel and bias of each layer, and the slopes of the PReLU behind it, in the layers' order.

    mtcnn's own stages hand the compressed file's name to joblib, which prints "Exception ignored
    ... I/O operation on closed file" on Python 3.13, and prefer a file of that name in the working
    directory.
    """
    import joblib
    import lz4.frame

    # The folder of a package is told without importing it.
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package mtcnn, whose weights find faces, is not installed")
    file = Path(spec.origin).parent / "assets" / "weights" / f"{name}.lz4"
    weights: Any = joblib.load(io.BytesIO(lz4.frame.decompress(file.read_bytes())))
    return [np.asarray(array, np.float32) for array in weights]
