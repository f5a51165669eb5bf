"""Importing TensorFlow without Keras, for processes that run models and build none."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator

# Which of the two TensorFlow imports, TF_USE_LEGACY_KERAS in the environment decides; importing
# tensorflow_transform sets it, so that what a TFX node starts has it as well.
_KERAS = ("keras", "tf_keras")


@contextlib.contextmanager
def without_keras() -> Iterator[None]:
    """Keeps the first import of TensorFlow from importing Keras, which takes as long again.

    TensorFlow imports Keras' optimizers, where Keras is installed, so that their state in a
    SavedModel can be restored. A module without anything in it stands in Keras' place meanwhile;
    TensorFlow then goes on as it does without Keras. Afterwards `import keras` and `tf.keras` work
    as ever. Nothing changes where TensorFlow or Keras are imported already.

    As in:

        with without_keras():
            import tensorflow as tf
    """
    if any(name in sys.modules for name in ("tensorflow", *_KERAS)):
        yield
        return
    for name in _KERAS:
        placeholder = types.ModuleType(name)
        # TensorFlow also asks for the folder of Keras, without importing it.
        placeholder.__spec__ = importlib.util.find_spec(name)
        sys.modules[name] = placeholder
    try:
        yield
    finally:
        for name in _KERAS:
            del sys.modules[name]
