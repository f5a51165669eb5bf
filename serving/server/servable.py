"""One loaded version of a model: its signatures and a session that runs them."""

from __future__ import annotations

import collections
import ctypes
import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from serving.server.status_codes import Code, ServingError, from_tensorflow

_LOG = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
# Prepared steps that a version keeps; each belongs to one choice of inputs and outputs.
_MOST_STEPS = 64


class Servable:
    """A SavedModel in memory.

    It runs in a session, as TensorFlow Serving's do, and not through `tf.saved_model.load`:
    a session serves models of TensorFlow 1 and 2 alike, gives its memory back when it is closed,
    and its answers were measured to be bit for bit those of the eager signature. Steps are
    prepared once (the session's callables) and not by `Session.run`, which holds what is fed
    against the shapes of the placeholders: TensorFlow Serving leaves that to the graph. A step
    cannot be interrupted; what waits for it may stop waiting.

    Args:
      name: of the model.
      version: its number.
      path: folder of `saved_model.pb`.
      tags: of the meta graph to load.

    Attributes:
      signatures: the SignatureDefs by name.

    Raises:
      ServingError: the folder holds no SavedModel that can be loaded.
    """

    def __init__(
        self,
        name: str,
        version: int,
        path: str | Path,
        tags: Sequence[str] = (tf.saved_model.SERVING,),
    ):
        self.name = name
        self.version = version
        self.path = str(path)
        self._steps: collections.OrderedDict[Any, Callable] = collections.OrderedDict()
        self._lock = threading.Lock()
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                # Not the meta graph itself: it holds a second copy of the whole graph.
                self.signatures = dict(_load(self._session, self.path, tags).signature_def)
        except Exception as error:
            self.close()
            raise _load_error(error, self.path) from error
        graph.finalize()

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], deadline: float
    ) -> list[np.ndarray]:
        """Runs the graph.

        Args:
          feeds: arrays by the names of their tensors; of any shape, which the graph may refuse.
          fetches: names of the tensors to compute.
          deadline: of `time.monotonic`; a step does not begin after it.

        Returns:
          An array for each of `fetches`.

        Raises:
          ServingError: with the code of TensorFlow's error, or DEADLINE_EXCEEDED.
        """
        if time.monotonic() >= deadline:
            raise ServingError(Code.DEADLINE_EXCEEDED, "the deadline passed before the model ran")
        names = tuple(sorted(feeds))
        try:
            values = self._step(names, tuple(fetches))(*(feeds[name] for name in names))
        except tf.errors.OpError as error:
            raise from_tensorflow(error, hide=self.path) from error
        # The session gives a scalar string as bytes.
        return [
            np.array(value, object) if isinstance(value, bytes) else np.asarray(value)
            for value in values
        ]

    def _step(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Callable:
        key = (feeds, fetches)
        with self._lock:
            step = self._steps.get(key)
            if step is None:
                options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
                # The only way of a session to run a graph on shapes that its placeholders do not
                # declare; `Session.make_callable` checks them too.
                step = self._session._make_callable_from_options(options)
                self._steps[key] = step
                if len(self._steps) > _MOST_STEPS:
                    self._steps.popitem(last=False)
            self._steps.move_to_end(key)
            return step

    def close(self) -> None:
        """Frees the graph, its variables, and what the allocator keeps of them."""
        self._steps.clear()
        self._session.close()
        # Graphs are cycles of Python objects.
        self._session = None
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc keeps freed arenas, and swaps would add up.
            trim(0)


def is_complete(folder: Path) -> bool:
    """Whether a version's folder holds a SavedModel. Pusher writes saved_model.pb last."""
    return any((folder / name).is_file() for name in SAVED_MODEL_FILES)


def _load(session: tf.compat.v1.Session, path: str, tags: Sequence[str]) -> Any:
    # The loader warns at every call that it is meant for TensorFlow 1.
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return tf.compat.v1.saved_model.loader.load(session, list(tags), path)
    finally:
        logger.setLevel(level)


def _load_error(error: Exception, path: str) -> ServingError:
    if isinstance(error, tf.errors.OpError):
        return from_tensorflow(error, hide=path)
    if isinstance(error, OSError | RuntimeError | ValueError):
        # The loader's own words for files that are missing or cannot be parsed.
        text = str(error).strip().split("\n")[0].replace(path, "<model>")
        return ServingError(Code.FAILED_PRECONDITION, text)
    _LOG.exception("loading %s failed", path)
    return ServingError(Code.INTERNAL, "the model could not be loaded; the server's log says why")
