"""Runs requests: admission, execution slots, and batching."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from serving.server.batching import MAX_ABANDONED, Batcher, too_many_abandoned
from serving.server.metrics import Metrics
from serving.server.servable import Servable
from serving.server.status_codes import Code, ServingError
from serving.server.text_config import BatchingConfig


class Admission:
    """Bounds the inference requests that are in the server, and the bytes of their REST bodies.

    A bound is what keeps overload harmless: more waiting requests would only be answered after
    their clients gave up, and hold memory until then.

    Args:
      limit: requests of both protocols together; one more is refused.
      metrics: metrics in which the number is shown.
      max_bytes: bytes at most of all REST bodies together, as they were sent and as they were
        unpacked.
    """

    def __init__(self, limit: int, metrics: Metrics, max_bytes: int = 1 << 62):
        self._limit = limit
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._count = 0
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def admitted(self) -> Iterator[Ticket]:
        """Counts one request while it is answered, and the room that its ticket takes.

        Raises:
          ServingError: RESOURCE_EXHAUSTED when the server is full, UNAVAILABLE when it drains.
        """
        ticket = self.enter()
        try:
            yield ticket
        finally:
            self.leave(ticket)

    def enter(self) -> Ticket:
        """Counts a request; see `admitted`. Never waits."""
        with self._changed:
            if self._closed:
                raise ServingError(Code.UNAVAILABLE, "the server is shutting down")
            if self._count >= self._limit:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"{self._limit} requests are being answered or wait already; try again later",
                )
            self._count += 1
            self._metrics.in_flight.set(to=self._count)
        return Ticket(self)

    def leave(self, ticket: Ticket | None = None) -> None:
        """The request of a ticket was answered."""
        with self._changed:
            self._count -= 1
            self._bytes -= ticket.size if ticket else 0
            self._metrics.in_flight.set(to=self._count)
            self._changed.notify_all()

    def close(self, wait_seconds: float) -> bool:
        """Refuses new requests and waits for the others; False when some were left."""
        with self._changed:
            self._closed = True
            return self._changed.wait_for(lambda: self._count == 0, wait_seconds)

    def _grow(self, ticket: Ticket, size: int) -> None:
        with self._changed:
            growth = size - ticket.size
            if growth <= 0:
                return
            if self._bytes + growth > self._max_bytes:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"the bodies of all requests together may hold {self._max_bytes} bytes, and "
                    "this one would not fit in; try again later",
                )
            self._bytes += growth
            ticket.size = size


class Ticket:
    """The room that one admitted request holds; it is given back with the request's end.

    Args:
      admission: admission that the room is given back to.

    Attributes:
      size: bytes that are held.
    """

    def __init__(self, admission: Admission):
        self._admission = admission
        self.size = 0

    def reserve(self, size: int) -> None:
        """Sees to it that at least `size` bytes are held. Never waits.

        Raises:
          ServingError: RESOURCE_EXHAUSTED when there is no room.
        """
        self._admission._grow(self, size)


class Slots:
    """Bounds the steps that run at once, by their deadlines.

    Not every step of TensorFlow can be stopped (see `Servable.run`). One that is late runs on, but
    no longer counts: no request waits longer than until the deadline of one that came before it.

    Args:
      count: steps that run at once.
    """

    def __init__(self, count: int):
        self._count = count
        self._deadlines: list[float] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, deadline: float) -> Iterator[None]:
        """Waits for a slot and holds it.

        Args:
          deadline: deadline of the request (`time.monotonic`).

        Raises:
          ServingError: DEADLINE_EXCEEDED, or RESOURCE_EXHAUSTED where too many late steps run.
        """
        with self._changed:
            while not self._is_free():
                now = time.monotonic()
                if now >= deadline:
                    self._changed.notify()  # The slot that this thread was woken for, if any.
                    raise ServingError(Code.DEADLINE_EXCEEDED, "the deadline passed in the queue")
                running = [end for end in self._deadlines if end > now]
                self._changed.wait(min([deadline, *running]) - now)
            self._deadlines.append(deadline)
        try:
            yield
        finally:
            with self._changed:
                self._deadlines.remove(deadline)
                self._changed.notify()

    def _is_free(self) -> bool:
        now = time.monotonic()
        late = sum(end <= now for end in self._deadlines)
        if late >= MAX_ABANDONED * self._count:
            raise too_many_abandoned(late)
        return len(self._deadlines) - late < self._count


class Runner:
    """Runs requests, at most `slots` at once, or in batches.

    Args:
      slots: unbatched requests that run at once. TensorFlow's own thread pools use all cores for
        one request already; many at once only take the cores from each other.
      batching: parameters, or None.
      metrics: metrics in which times are counted.
    """

    def __init__(self, slots: int, batching: BatchingConfig | None, metrics: Metrics):
        self._slots = Slots(slots)
        self._metrics = metrics
        self._batcher = Batcher(batching, metrics) if batching else None

    def run(
        self,
        servable: Servable,
        api: str,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        deadline: float,
    ) -> list[np.ndarray]:
        """Waits for its turn and runs; see `Servable.run`.

        Args:
          servable: the version.
          api: name of the method, for the metrics.
          feeds: see `Servable.run`.
          fetches: see `Servable.run`.
          deadline: see `Servable.run`; it includes the waiting.
        """
        start = time.perf_counter()
        if self._batcher:
            outputs = self._batcher.run(servable, feeds, fetches, deadline)
        else:
            with self._slots.taken(deadline):
                start = time.perf_counter()
                outputs = servable.run(feeds, fetches, deadline)
        self._metrics.runtime_latency.observe(
            servable.name, api, "TF1", value=(time.perf_counter() - start) * 1e6
        )
        return outputs

    def close(self) -> None:
        """Stops the batching threads."""
        if self._batcher:
            self._batcher.close()
