"""Loads exported models, and says so where one is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preprocessing.support.errors import UsageError, first_line


def load_saved_model(folder: str | Path) -> Any:
    """Loads a SavedModel with TensorFlow 2's loader.

    Args:
      folder: folder of `saved_model.pb`.

    Returns:
      What `tf.saved_model.load` returns. Its signatures do not keep it alive.

    Raises:
      UsageError: a file of it is cut off, changed or missing.
    """
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(folder))
    # An IndexError is what comes of variables that are cut off.
    except (tf.errors.OpError, OSError, ValueError, KeyError, IndexError) as error:
        raise UsageError(
            f"the model in {folder} cannot be loaded: {first_line(error)}; a file of it is missing "
            "or damaged, so copy or export it anew"
        ) from error
