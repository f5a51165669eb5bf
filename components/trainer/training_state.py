"""The state that a killed training resumes from: one file, replaced after every epoch."""

from __future__ import annotations

import json
import logging
import zipfile
from typing import Any

import numpy as np

from preprocessing.support.files import local_copy, place, replacing

_LOG = logging.getLogger(__name__)
_VALUES = "values"


class TrainingState:
    """Arrays and plain values of one training.

    Args:
      folder: where the file `training-state.npz` lies; may be in an object store. Empty: nothing is
        kept.
      key: says what is trained, with what and on what. A state of another key is not read.
    """

    def __init__(self, folder: str, key: str):
        self._folder = folder
        self._path = place(folder) / "training-state.npz"
        self._key = key

    def save(self, arrays: dict[str, list[np.ndarray]], values: dict[str, Any]) -> None:
        """Replaces the state; a kill in the middle leaves the one before.

        Args:
          arrays: lists of arrays by name.
          values: what JSON can hold.
        """
        if not self._folder:
            return
        flat: dict[str, Any] = {
            f"{name}/{i}": a for name, group in arrays.items() for i, a in enumerate(group)
        }
        text = json.dumps({"key": self._key, "values": values})
        flat[_VALUES] = np.array(text)
        with replacing(self._path, binary=True) as file:
            np.savez(file, **flat)

    def load(self) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]] | None:
        """What was saved last; None where there is nothing, or something of another training."""
        if not self._folder or not self._path.exists():
            return None
        try:
            with local_copy(self._path) as file, np.load(file) as flat:
                stored = json.loads(str(flat[_VALUES]))
                if stored["key"] != self._key:
                    _LOG.warning(
                        "%s is of a training with other data, settings or code; training starts "
                        "anew and replaces it",
                        self._path,
                    )
                    return None
                arrays: dict[str, list[np.ndarray]] = {}
                # In the order they were written, which is that of their numbers.
                for name in flat.files:
                    if name != _VALUES:
                        arrays.setdefault(name.rpartition("/")[0], []).append(flat[name])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            _LOG.warning("%s cannot be read; training starts anew", self._path, exc_info=True)
            return None
        return arrays, stored["values"]

    def clear(self) -> None:
        """Forgets the state, when training has come to its end."""
        if self._folder:
            self._path.unlink(missing_ok=True)
