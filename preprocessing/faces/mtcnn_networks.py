"""The three networks of MTCNN in OpenVINO, with the `mtcnn` package's weights.

The package builds its networks of Keras layers, and importing TensorFlow and Keras takes longer
than all that a prediction does with these networks. OpenVINO is made for networks on CPUs, and
imported in half a second. The package `mtcnn` is not imported: only its files are read.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openvino
from openvino import opset13 as ops


class _Pool(NamedTuple):
    """Maximum over squares of `size` pixels, which lie two pixels apart."""

    size: int
    padding: str


# What follows each of a network's convolutions with PReLU.
_POOLS: dict[str, tuple[_Pool | None, ...]] = {
    "pnet": (_Pool(2, "same_upper"), None, None),
    "rnet": (_Pool(3, "same_upper"), _Pool(3, "valid"), None),
    "onet": (_Pool(3, "same_upper"), _Pool(3, "valid"), _Pool(2, "same_upper"), None),
}
# Sides of the crops; P-Net takes pictures of any size.
_SIDES = {"pnet": -1, "rnet": 24, "onet": 48}
_TO_PLANES, _TO_PIXELS = (0, 3, 1, 2), (0, 2, 3, 1)


class Network:
    """One of the networks. Calls from several threads wait for each other.

    Args:
      name: `pnet` takes pictures of any size, `rnet` crops of 24 and `onet` crops of 48 pixels.
      threads: that compute; 0 takes all CPUs.

    Raises:
      ModuleNotFoundError: the package `mtcnn` is not installed.
    """

    def __init__(self, name: str, threads: int = 0):
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            # As exact on processors that compute in shorter numbers.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            # Processes side by side would be pinned to the same CPUs.
            "ENABLE_CPU_PINNING": False,
            # Shapes whose code is kept: each picture of another size, and each other number of
            # crops, adds some. The default is 5,000.
            "CPU_RUNTIME_CACHE_CAPACITY": 64,
        }
        model = _core().compile_model(_build(name), "CPU", settings)
        self._request = model.create_infer_request()
        self._outputs = model.outputs
        self._lock = threading.Lock()

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        """Applies the network.

        Args:
          pixels: uint8 [batch, height, width, 3], RGB.

        Returns:
          The offsets of the box, float32 [..., 4] in sides of the window; of `onet` also the
          landmarks [..., 10], five x and five y; and the probabilities [..., 2] of no face and a
          face. Of `pnet` for each place [batch, rows, columns, ...], else for each crop
          [batch, ...].
        """
        with self._lock:
            answers = self._request.infer([pixels], share_inputs=True)
            return tuple(np.array(answers[output]) for output in self._outputs)


@functools.lru_cache(maxsize=1)
def _core() -> openvino.Core:
    return openvino.Core()


def _build(name: str) -> openvino.Model:
    weights = iter(_read_weights(name))
    side = _SIDES[name]
    pixels = ops.parameter([-1, side, side, 3], np.uint8, "pixels")
    x = ops.divide(ops.subtract(ops.convert(pixels, np.float32), _value(127.5)), _value(128.0))
    x = ops.transpose(x, _TO_PLANES)
    for pool in _POOLS[name]:
        x = ops.prelu(_affine(x, next(weights), next(weights)), next(weights).ravel())
        if pool:
            size = [pool.size] * 2
            ones, none = [1, 1], [0, 0]
            pooled = ops.max_pool(x, [2, 2], ones, none, none, size, "floor", auto_pad=pool.padding)
            x = pooled.output(0)
    heads = list(weights)
    dense = heads[0].ndim == 2
    if dense:
        # The weights count columns before rows.
        x = ops.reshape(ops.transpose(x, (0, 3, 2, 1)), [-1, len(heads[0])], special_zero=False)
        kernel, bias, slopes, *heads = heads
        x = ops.prelu(_affine(x, kernel, bias), slopes.ravel())
    pairs = zip(heads[::2], heads[1::2], strict=True)
    *regressions, logits = [_affine(x, kernel, bias) for kernel, bias in pairs]
    answers = [*regressions, ops.softmax(logits, 1)]
    if not dense:
        answers = [ops.transpose(answer, _TO_PIXELS) for answer in answers]
    return openvino.Model(answers, [pixels], name)


def _affine(x: Any, kernel: np.ndarray, bias: np.ndarray) -> Any:
    """A convolution where the kernel is [rows, columns, in, out], else a dense layer."""
    if kernel.ndim == 2:
        return ops.add(ops.matmul(x, kernel, False, False), bias)
    ones, none = [1, 1], [0, 0]
    planes = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    return ops.add(ops.convolution(x, planes, ones, none, none, ones), bias.reshape(1, -1, 1, 1))


def _value(number: float) -> np.ndarray:
    return np.array(number, np.float32)


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
