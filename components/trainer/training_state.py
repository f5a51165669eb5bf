"""The state that a killed training resumes from: a file of its own, replaced after every epoch."""

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
      folder: where the file `training-state-KEY.npz` lies, KEY being the first 16 characters of
        `key`; may be in an object store. Empty: nothing is kept.
      key: digest of what is trained, with what and on what. States of other keys lie beside this
        one, and are neither read nor deleted: their trainings may be going on elsewhere.
    """

    def __init__(self, folder: str, key: str):
        self._folder = folder
        self._path = place(folder) / f"training-state-{key[:16]}.npz"

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
        flat[_VALUES] = np.array(json.dumps(values))
        with replacing(self._path, binary=True) as file:
            np.savez(file, **flat)

    def load(self) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]] | None:
        """What was saved last; None where there is nothing, or nothing that can be read.

        States of other trainings are named in the log.
        """
        if not self._folder:
            return None
        self._log_others()
        if not self._path.exists():
            return None
        try:
            with local_copy(self._path) as file, np.load(file) as flat:
                values = json.loads(str(flat[_VALUES]))
                arrays: dict[str, list[np.ndarray]] = {}
                # In the order they were written, which is that of their numbers.
                for name in flat.files:
                    if name != _VALUES:
                        arrays.setdefault(name.rpartition("/")[0], []).append(flat[name])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            _LOG.warning("%s cannot be read; training starts anew", self._path, exc_info=True)
            return None
        return arrays, values

    def _log_others(self) -> None:
        states = place(self._folder).glob("training-state-*.npz")
        names = sorted(path.name for path in states if path != self._path)
        if names:
            _LOG.info(
                "%s has states of other trainings, with other data, settings or code: %s. Each is "
                "of one that is going on, or goes on when it is started again with these; delete "
                "those that shall not",
                self._folder,
                ", ".join(names),
            )

    def clear(self) -> None:
        """Forgets the state of this training, when it has come to its end."""
        if self._folder:
            self._path.unlink(missing_ok=True)
