"""Batches across requests, under TensorFlow Serving's parameters (batching/README.md there).

Requests that feed and fetch the same tensors of the same version, with equal shapes but for the
rows, share a queue. A queue gives a batch when `max_batch_size` rows wait in it or its oldest
request has waited `batch_timeout_micros`, as soon as one of `num_batch_threads` is free.

A batch that fails is run again request by request, so that each gets what it would have got alone.
TensorFlow Serving fails all of them with the error of one. A batch that nobody waits for any more
runs on where TensorFlow cannot stop it, but another thread takes its thread's place.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from serving.server.metrics import Metrics
from serving.server.servable import Servable
from serving.server.status_codes import Code, ServingError, from_tensorflow, invalid
from serving.server.text_config import BatchingConfig

_LOG = logging.getLogger(__name__)

# What one request of a batch may have caused by itself, so that the others may succeed without it:
# a picture that cannot be decoded, values or sizes that an operation cannot take.
_PERHAPS_OF_ONE = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.OUT_OF_RANGE,
        Code.UNKNOWN,
        Code.INTERNAL,
        Code.UNIMPLEMENTED,
        Code.DATA_LOSS,
        Code.RESOURCE_EXHAUSTED,
    }
)

# Steps that nobody waits for any more, for each that may run at once. Each holds memory.
MAX_ABANDONED = 4


@dataclasses.dataclass
class _Task:
    servable: Servable
    feeds: Mapping[str, np.ndarray]
    fetches: tuple[str, ...]
    rows: int
    deadline: float
    enqueued: float = dataclasses.field(default_factory=time.monotonic)
    done: threading.Event = dataclasses.field(default_factory=threading.Event)
    outputs: list[np.ndarray] | None = None
    error: ServingError | None = None
    abandoned: bool = False
    batch: _Batch | None = None


@dataclasses.dataclass
class _Batch:
    """Tasks that run together.

    Attributes:
      tasks: tasks that run.
      abandoned: whether nobody waits for them any more; another thread took the place of theirs.
      finished: whether their thread is done with them.
    """

    tasks: list[_Task]
    abandoned: bool = False
    finished: bool = False


class Batcher:
    """Threads that turn queued requests into batches.

    Args:
      config: the parameters.
      metrics: metrics in which waiting times and batch sizes are counted.
    """

    def __init__(self, config: BatchingConfig, metrics: Metrics):
        self._config = config
        self._metrics = metrics
        self._queues: dict[Any, collections.deque[_Task]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._abandoned_batches = 0
        self._threads: list[threading.Thread] = []
        for _ in range(config.num_batch_threads):
            self._start_thread()

    def run(
        self,
        servable: Servable,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        deadline: float,
    ) -> list[np.ndarray]:
        """Waits for a batch with this request and returns its rows; see `Servable.run`.

        Raises:
          ServingError: INVALID_ARGUMENT for what cannot be batched, UNAVAILABLE for a full queue,
            RESOURCE_EXHAUSTED where too many batches run that nobody waits for,
            DEADLINE_EXCEEDED, or what the batch failed with.
        """
        rows = self._rows(feeds)
        most = self._config.most_rows
        fetches = tuple(fetches)
        tasks = [
            _Task(
                servable,
                {name: feed[start : start + most] for name, feed in feeds.items()},
                fetches,
                min(most, rows - start),
                deadline,
            )
            for start in range(0, rows, most)
        ]
        self._enqueue(tasks)
        try:
            for task in tasks:
                self._await(task)
        except ServingError:
            self._abandon(tasks)
            raise
        if len(tasks) == 1:
            return cast("list[np.ndarray]", tasks[0].outputs)
        parts = zip(*(cast("list[np.ndarray]", task.outputs) for task in tasks), strict=True)
        return [np.concatenate(part) for part in parts]

    def _enqueue(self, tasks: Sequence[_Task]) -> None:
        with self._changed:
            if self._closed:
                raise ServingError(Code.UNAVAILABLE, "the server is shutting down")
            if self._abandoned_batches >= MAX_ABANDONED * self._config.num_batch_threads:
                raise too_many_abandoned(self._abandoned_batches)
            queues = [self._queues.setdefault(_key(task), collections.deque()) for task in tasks]
            queued_rows = sum(task.rows for task in queues[0])
            if queued_rows >= self._config.max_enqueued_batches * self._config.most_rows:
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full",
                )
            for queue, task in zip(queues, tasks, strict=True):
                queue.append(task)
            self._changed.notify(len(tasks))

    def _await(self, task: _Task) -> None:
        """Returns when a task has its outputs, and raises its error."""
        if not task.done.wait(max(0.0, task.deadline - time.monotonic())):
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                "the deadline passed while the model ran"
                if task.batch
                else "the deadline passed in the batching queue",
            )
        if task.error:
            raise task.error

    def _abandon(self, tasks: Sequence[_Task]) -> None:
        """Starts threads in the place of those whose batches nobody waits for any more."""
        with self._changed:
            for task in tasks:
                task.abandoned = True
                batch = task.batch
                if (
                    batch
                    and not (batch.abandoned or batch.finished)
                    and all(other.abandoned for other in batch.tasks)
                ):
                    batch.abandoned = True
                    self._abandoned_batches += 1
                    self._start_thread()

    def _start_thread(self) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=self._work, name="batch", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Lets the queued requests finish and ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _rows(self, feeds: Mapping[str, np.ndarray]) -> int:
        if any(feed.ndim == 0 for feed in feeds.values()):
            raise invalid("Batching session Run() input tensors must have at least one dimension")
        sizes = {feed.shape[0] for feed in feeds.values()}
        if len(sizes) != 1:
            raise invalid("Batching session Run() input tensors must have equal 0th-dimension size")
        (rows,) = sizes
        if rows == 0:
            raise invalid("Batching session Run() input tensors must have at least one row")
        if rows > self._config.max_batch_size:
            raise invalid(
                f"Task size {rows} is larger than maximum input batch size "
                f"{self._config.max_batch_size}"
            )
        return rows

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._run_batch(batch.tasks)
            with self._changed:
                batch.finished = True
                if batch.abandoned:
                    self._abandoned_batches -= 1
                    return

    def _next_batch(self) -> _Batch | None:
        """Waits for a batch; None when the batcher was closed and nothing waits."""
        with self._changed:
            while True:
                now = time.monotonic()
                key, wait = self._most_urgent(now)
                if key is not None and wait <= 0:
                    return self._take(key)
                if key is None and self._closed:
                    return None
                self._changed.wait(wait if key is not None else None)

    def _most_urgent(self, now: float) -> tuple[Any, float]:
        """The queue to serve next, and the seconds until it may be."""
        timeout = 0.0 if self._closed else self._config.batch_timeout_micros / 1e6
        best, best_order = None, (1, 0.0)
        for key, queue in self._queues.items():
            full = sum(task.rows for task in queue) >= self._config.most_rows
            due = queue[0].enqueued if full else queue[0].enqueued + timeout
            # Full queues go first, then those whose oldest request waited longest.
            order = (0 if full or due <= now else 1, due)
            if best is None or order < best_order:
                best, best_order = key, order
        if best is None:
            return None, 0.0
        return best, 0.0 if best_order[0] == 0 else best_order[1] - now

    def _take(self, key: Any) -> _Batch:
        queue = self._queues[key]
        batch, rows = _Batch([]), 0
        while queue and rows + queue[0].rows <= self._config.most_rows:
            task = queue.popleft()
            if not task.abandoned:
                task.batch = batch
                batch.tasks.append(task)
                rows += task.rows
        if queue:  # What is left may be another thread's batch.
            self._changed.notify()
        else:
            del self._queues[key]
        return batch

    def _run_batch(self, batch: list[_Task]) -> None:
        if not batch:
            return
        now = time.monotonic()
        for task in batch:
            self._metrics.queuing_latency.observe(
                self._config.thread_pool_name, value=(now - task.enqueued) * 1e6
            )
        try:
            error = self._error_of(batch)
            if error and len(batch) > 1 and error.code in _PERHAPS_OF_ONE:
                for task in batch:
                    task.error = None if task.abandoned else self._error_of([task])
            else:
                for task in batch:
                    task.error = error
        finally:
            for task in batch:
                task.done.set()

    def _error_of(self, batch: list[_Task]) -> ServingError | None:
        """Runs a batch; returns its error, or None when each task has its outputs."""
        try:
            self._run_merged(batch)
        except ServingError as error:
            return error
        except Exception as error:
            _LOG.exception("a batch of %s failed", batch[0].servable.name)
            return from_tensorflow(error)
        return None

    def _run_merged(self, batch: list[_Task]) -> None:
        first = batch[0]
        rows = sum(task.rows for task in batch)
        self._metrics.batch_size.observe(first.servable.name, value=rows)
        padding = self._padded(rows) - rows
        feeds = {}
        for name in first.feeds:
            parts = [task.feeds[name] for task in batch]
            if padding:
                parts.append(np.repeat(parts[0][:1], padding, axis=0))
            feeds[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        deadline = max(task.deadline for task in batch)
        outputs = first.servable.run(feeds, first.fetches, deadline)
        for output in outputs:
            if output.ndim == 0 or output.shape[0] != rows + padding:
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors",
                )
        start = 0
        for task in batch:
            task.outputs = [output[start : start + task.rows] for output in outputs]
            start += task.rows

    def _padded(self, rows: int) -> int:
        return next((size for size in self._config.allowed_batch_sizes if size >= rows), rows)


def _key(task: _Task) -> Any:
    """What tasks of one batch have in common."""
    return (
        id(task.servable),
        task.fetches,
        tuple((name, feed.dtype.str, feed.shape[1:]) for name, feed in sorted(task.feeds.items())),
    )


def too_many_abandoned(count: int) -> ServingError:
    """RESOURCE_EXHAUSTED, for a server that is busy with what nobody waits for."""
    return ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"{count} steps whose deadlines passed still run; try again later",
    )
