"""One loaded version of a model: its signatures and a session that runs them."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session as v1_session

from serving.server.allocator import give_memory_back
from serving.server.status_codes import Code, ServingError, from_tensorflow

_LOG = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
# Thread pools for the operations of steps. A step takes one that no other has: in a pool that all
# share, its operations would queue behind those of steps that run on after their deadlines.
_POOLS = 8


class Servable:
    """A SavedModel in memory.

    It runs in a session, as TensorFlow Serving's do, and not through `tf.saved_model.load`:
    a session serves models of TensorFlow 1 and 2 alike, gives its memory back when it is closed,
    has deadlines, and its answers were measured to be bit for bit those of the eager signature.

    Args:
      name: name of the model.
      version: number of the version.
      path: folder of `saved_model.pb`.
      tags: tags of the meta graph to load.

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
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=_session_config())
        try:
            with graph.as_default():
                # Not the meta graph itself: it holds a second copy of the whole graph.
                self.signatures = dict(_load(self._session, self.path, tags).signature_def)
                # Hands the graph to the session, which else waits for the first `Session.run`.
                self._session.run(tf.no_op())
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
          deadline: `time.monotonic` reading. A step that loops ends then; any other runs to its end
            and fails after it, since TensorFlow looks for the deadline nowhere else.

        Returns:
          An array for each of `fetches`.

        Raises:
          ServingError: with the code of TensorFlow's error, or DEADLINE_EXCEEDED.
        """
        milliseconds = int((deadline - time.monotonic()) * 1000)
        if milliseconds < 1:
            raise ServingError(Code.DEADLINE_EXCEEDED, "the deadline passed before the model ran")
        with _pools.taken() as pool:
            run_options = config_pb2.RunOptions(
                timeout_in_ms=milliseconds, inter_op_thread_pool=pool
            )
            values = self._run_step(feeds, fetches, run_options)
        # The session gives a scalar string as bytes.
        return [
            np.array(value, object) if isinstance(value, bytes) else np.asarray(value)
            for value in values
        ]

    def _run_step(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        run_options: config_pb2.RunOptions,
    ) -> Any:
        options = v1_session.TF_NewBufferFromString(run_options.SerializeToString())
        try:
            # Not `Session.run`: it holds what is fed against the shapes that placeholders
            # declare, which TensorFlow Serving leaves to the graph.
            return self._session._call_tf_sessionrun(
                options,
                {self._tensor(name): value for name, value in feeds.items()},
                [self._tensor(name) for name in fetches],
                [],
                None,
            )
        except tf.errors.OpError as error:
            if isinstance(error, tf.errors.DeadlineExceededError):
                raise ServingError(Code.DEADLINE_EXCEEDED, "the model ran too long") from None
            raise from_tensorflow(error, hide=self.path) from error
        finally:
            v1_session.TF_DeleteBuffer(options)

    def _tensor(self, name: str) -> Any:
        return self._session.graph.get_tensor_by_name(name)._as_tf_output()

    def close(self) -> None:
        """Frees the graph, its variables, and what the allocator keeps of them."""
        self._session.close()
        # Graphs are cycles of Python objects.
        self._session = None
        give_memory_back()


class _Pools:
    """Gives each step a thread pool of its own while there are enough; then they share."""

    def __init__(self) -> None:
        self._steps = [0] * _POOLS
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def taken(self) -> Iterator[int]:
        """The number of a pool with the fewest steps."""
        with self._lock:
            pool = min(range(_POOLS), key=self._steps.__getitem__)
            self._steps[pool] += 1
        try:
            yield pool
        finally:
            with self._lock:
                self._steps[pool] -= 1


_pools = _Pools()


def _session_config() -> config_pb2.ConfigProto:
    """Of every session: the pools are shared by all models."""
    threads = tf.config.threading.get_inter_op_parallelism_threads()
    pools = [
        config_pb2.ThreadPoolOptionProto(num_threads=threads, global_name=f"steps-{number}")
        for number in range(_POOLS)
    ]
    return config_pb2.ConfigProto(session_inter_op_thread_pool=pools)


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
