"""The gateway's HTTP face: what its paths do; `serving.gateway.routes` says which there are.

The event loop only moves bytes; inference runs in worker threads. So health, metrics and
refusals are answered at once, however long a video takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from concurrent import futures
from typing import Any, cast

from preprocessing.support.errors import UsageError
from serving.gateway.examiner import Examiner, Job
from serving.gateway.jobs import Jobs, StoredJob
from serving.gateway.limits import JobLimits
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.page import Page
from serving.gateway.refusals import Disconnected, Refused, too_late, unavailable
from serving.gateway.request_query import RequestQuery
from serving.gateway.routes import make_api
from serving.gateway.spool import Spool
from serving.gateway.upload import Upload, uploaded
from serving.http.bearer import authorized

_LOG = logging.getLogger(__name__)

# A client that waited this long for a worker had better come again later.
_LONGEST_WAIT = 30.0
# For inference that still runs when the gateway ends.
_STOP_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class GatewayOptions:
    """What the gateway allows.

    Attributes:
      max_bytes: bytes of a file at most.
      workers: number of worker processes, and so of files at once.
      waiting: further requests that may upload or wait; one more is refused.
      timeout: seconds for the upload, and again from there to the answer.
      token: bearer token that requests must hold; empty asks for none.
      jobs: limits of asynchronous jobs.
    """

    max_bytes: int
    workers: int
    waiting: int
    timeout: float
    token: str = dataclasses.field(default="", repr=False)
    jobs: JobLimits = dataclasses.field(default_factory=JobLimits)


class Gateway:
    """The ASGI application.

    Args:
      options: limits and token.
      examiner: examiner that runs inference on files.
      metrics: metrics that the metrics page shows.

    Attributes:
      jobs: asynchronous jobs.
      cut_off: whether a request got no answer because the drain took too long.
    """

    def __init__(self, options: GatewayOptions, examiner: Examiner, metrics: GatewayMetrics):
        self._options = options
        self._examiner = examiner
        self._metrics = metrics
        self._page = Page(options.max_bytes, bool(options.token))
        self._spool = Spool()
        self._folder = self._spool.folder
        self._threads = futures.ThreadPoolExecutor(options.workers, "examine")
        self._probes = futures.ThreadPoolExecutor(1, "probe")
        self._probe: asyncio.Future | None = None
        self._turns: asyncio.Semaphore | None = None
        self._admitted = 0
        self._running: set[Job] = set()
        self.cut_off = False
        self._lock = threading.Lock()
        self.jobs = Jobs(self._folder, options.jobs, self._job_examined, metrics)
        self._api = make_api(self)

    def close(self) -> bool:
        """Removes what is left.

        Returns:
          False where a thread may still run, and so holds the process: a request was cut off, or
          work that nobody waits for does not end.
        """
        with self._lock:
            unfinished = list(self._running)
        for job in unfinished:
            job.abandoned.set()
        # The server's drain did not wait for jobs, nor for work whose client went away.
        end = time.monotonic() + _STOP_SECONDS
        while self._running and time.monotonic() < end:
            time.sleep(0.02)
        with self._lock:
            unfinished = list(self._running)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._probes.shutdown(wait=False, cancel_futures=True)
        self._spool.close()
        return not (unfinished or self.cut_off)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers a request, as ASGI has it."""
        if scope["type"] != "http":
            return
        try:
            await self._api(scope, receive, send)
        except asyncio.CancelledError:  # The server's drain took too long.
            self.cut_off = True
            raise
        except Exception:
            # Was answered with 500. Starlette raises it once more, upon which uvicorn would close
            # the connection.
            _LOG.exception("a request failed")

    def authorized(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a request with these headers may be answered."""
        return authorized(headers.get(b"authorization", b""), self._options.token)

    async def page(self) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
        """The page, and its headers."""
        text = await asyncio.get_running_loop().run_in_executor(None, self._page_now)
        return text, self._page.headers

    def metrics_page(self) -> bytes:
        """The page that Prometheus reads."""
        return self._metrics.page()

    async def ready(self) -> bytes:
        """Says in JSON which version would answer.

        Raises:
          Refused: none would.
        """
        # Probes that come while one is asking share its answer.
        if self._probe is None or self._probe.done():
            loop = asyncio.get_running_loop()
            self._probe = loop.run_in_executor(self._probes, self._examiner.versions.served)
        version = await asyncio.shield(self._probe)
        return json.dumps({"status": "ready", "version": version.number}).encode()

    async def verdict(self, scope: MutableMapping[str, Any], receive: Any) -> bytes:
        """Receives the file of a request, runs inference on it, and counts how the request ended.

        Args:
          scope: ASGI scope.
          receive: ASGI receive callable; nothing of the body was read.

        Returns:
          The answer in JSON.

        Raises:
          Refused: there is no answer.
          Disconnected: the client went away.
        """
        outcome = "error"
        try:
            with self._admission():
                answer = await self._verdict(scope, receive)
            outcome = self._metrics.answered(answer)
            return json.dumps(answer).encode()
        except Exception as error:
            outcome = _outcome(error)
            raise
        finally:
            self._metrics.requests.labels(outcome).inc()

    async def add_job(self, scope: MutableMapping[str, Any], receive: Any) -> StoredJob:
        """Takes the file of a request in as a job.

        Args:
          scope: ASGI scope.
          receive: ASGI receive callable; nothing of the body was read.

        Raises:
          Refused: there is no room for it, or the request cannot be read.
          Disconnected: the client went away.
        """
        try:
            query = RequestQuery(scope["query_string"])
            with self.jobs.admission(), self._admission():
                async with self._uploaded(scope, receive) as upload:
                    job = query.job(upload.path, upload.name, self.jobs.limits.seconds)
                    return self.jobs.add(upload.path, job, query.asks("overlay"))
        except Exception as error:
            self._metrics.jobs_refused.labels(_outcome(error)).inc()
            raise

    def _page_now(self) -> bytes:
        """The page with what the card of the newest version says."""
        try:
            newest = self._examiner.versions.newest()
        except UsageError as error:
            _LOG.warning("the page cannot say which model answers: %s", error)
            return self._page.html()
        warning = newest.decision_rule.warning and newest.decision_rule.meaning()
        return self._page.html(warning, newest.provenance)

    @contextlib.contextmanager
    def _admission(self) -> Iterator[None]:
        """Bounds the requests that are in the gateway, and so the room that their files take."""
        max_requests = self._options.workers + self._options.waiting
        if self._admitted >= max_requests:
            raise unavailable(f"{max_requests} files are being looked at or wait already", "busy")
        self._admitted += 1
        self._metrics.in_flight.set(self._admitted)
        try:
            yield
        finally:
            self._admitted -= 1
            self._metrics.in_flight.set(self._admitted)

    async def _verdict(self, scope: MutableMapping[str, Any], receive: Any) -> dict[str, Any]:
        # Before the body, which may be long.
        query = RequestQuery(scope["query_string"])
        async with self._uploaded(scope, receive) as upload:
            job = query.job(upload.path, upload.name, self._options.timeout)
            answer = asyncio.create_task(self._examined(job))
            disconnected = asyncio.create_task(_disconnected(receive))
            try:
                await asyncio.wait({answer, disconnected}, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    raise Disconnected
                return answer.result()
            finally:
                job.abandoned.set()
                for task in (answer, disconnected):
                    task.cancel()
                await asyncio.gather(answer, disconnected, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _uploaded(
        self, scope: MutableMapping[str, Any], receive: Any
    ) -> AsyncIterator[Upload]:
        options, start = self._options, time.monotonic()
        async with uploaded(
            receive, dict(scope["headers"]), self._folder, options.max_bytes, options.timeout
        ) as upload:
            self._metrics.seconds.labels("upload").observe(time.monotonic() - start)
            yield upload

    async def _examined(self, job: Job) -> dict[str, Any]:
        start = time.monotonic()
        try:
            await asyncio.wait_for(self._turn().acquire(), min(_LONGEST_WAIT, job.seconds_left))
        except asyncio.TimeoutError:
            raise unavailable("too many files wait to be looked at", "busy") from None
        self._metrics.seconds.labels("wait").observe(time.monotonic() - start)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._begun(job)), job.seconds_left)
        except asyncio.TimeoutError:
            raise too_late("looking at the file took too long") from None

    async def _job_examined(self, stored: StoredJob) -> dict[str, Any]:
        """As `_examined`, of a job, which waits for its turn as long as it takes."""
        await self._turn().acquire()
        # The job itself ends the thread in time.
        return await asyncio.wrap_future(self._begun(self.jobs.begin(stored)))

    def _turn(self) -> asyncio.Semaphore:
        if self._turns is None:  # Belongs to the loop, which is not there when this is made.
            self._turns = asyncio.Semaphore(self._options.workers)
        return self._turns

    def _begun(self, job: Job) -> futures.Future[dict[str, Any]]:
        """Starts inference on a file whose turn it is; the turn ends with the thread."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._running.add(job)
        running = self._threads.submit(self._examiner.examine, job)
        running.add_done_callback(lambda _: self._end_turn(loop, job))
        return running

    def _end_turn(self, loop: asyncio.AbstractEventLoop, job: Job) -> None:
        with self._lock:
            self._running.discard(job)
        with contextlib.suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(cast("asyncio.Semaphore", self._turns).release)


def _outcome(error: Exception) -> str:
    """The word that the metrics count a request under which has no answer."""
    if isinstance(error, Refused):
        return error.outcome
    return "disconnected" if isinstance(error, Disconnected) else "error"


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
