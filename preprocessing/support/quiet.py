"""Keeps what libraries print while they load off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from preprocessing.support.without_keras import without_keras

# A variable that, when set, lets everything through: for a library that ends the process while it
# loads, its last words are the reason.
VERBOSE = "DEEPFAKE_VERBOSE"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what native libraries print to stderr off the terminal; Python errors still pass.

    File descriptor 2 belongs to the whole process, so nothing else may have to log meanwhile. With
    `DEEPFAKE_VERBOSE` set nothing is kept off.
    """
    if os.environ.get(VERBOSE):
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


def load_tensorflow() -> None:
    """Imports TensorFlow without Keras, and lets it look for devices without its notes.

    On a machine without a GPU these are errors of CUDA that nobody needs to act on, and on Python
    3.10 other packages' notes on its end of life. TensorFlow's later errors are still printed, its
    warnings and notes only when `TF_CPP_MIN_LOG_LEVEL` asks for them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet(), without_keras():
        import tensorflow as tf

        tf.config.list_physical_devices()
