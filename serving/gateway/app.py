"""The gateway's HTTP face: what its paths do; `serving.gateway.routes` says which there are.

The event loop only moves bytes; files are looked at in worker threads. So health, metrics and
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
import urllib.parse
from collections.abc import Iterator, MutableMapping
from concurrent import futures
from typing import Any, cast

from preprocessing.support.errors import UsageError
from serving.gateway.examiner import Examiner, Job
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.page import Page
from serving.gateway.refusals import Disconnected, Refused, too_late, unavailable
from serving.gateway.routes import make_api
from serving.gateway.spool import Spool
from serving.gateway.upload import uploaded
from serving.http.bearer import authorized
from serving.model.rates import Rates

_LOG = logging.getLogger(__name__)

# A client that waited this long for a worker had better come again later.
_LONGEST_WAIT = 30.0
_LONGEST_NAME = 200


@dataclasses.dataclass(frozen=True)
class GatewayOptions:
    """What the gateway allows.

    Attributes:
      max_bytes: of a file.
      workers: files that are looked at at once.
      waiting: further requests that may upload or wait; one more is refused.
      timeout: seconds for the upload, and again from there to the answer.
      token: what `Authorization: Bearer` must hold; empty asks for none.
    """

    max_bytes: int
    workers: int
    waiting: int
    timeout: float
    token: str = dataclasses.field(default="", repr=False)


class Gateway:
    """The ASGI application.

    Args:
      options: limits.
      examiner: looks at files.
      metrics: what the metrics page shows.
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
        self._lock = threading.Lock()
        self._api = make_api(self)

    def close(self) -> bool:
        """Removes what is left; False when a worker still runs, and so holds the process."""
        with self._lock:
            left = list(self._running)
        for job in left:
            job.abandoned.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._probes.shutdown(wait=False, cancel_futures=True)
        self._spool.close()
        return not left

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers a request, as ASGI has it."""
        if scope["type"] != "http":
            return
        try:
            await self._api(scope, receive, send)
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
        """Takes the file of a request in, looks at it, and counts what the request ended with.

        Args:
          scope: of ASGI.
          receive: of ASGI; nothing of the body was read.

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
            outcome = _outcome(answer)
            return json.dumps(answer).encode()
        except Refused as error:
            outcome = error.outcome
            raise
        except Disconnected:
            outcome = "disconnected"
            raise
        finally:
            self._metrics.requests.labels(outcome).inc()

    def _page_now(self) -> bytes:
        """The page with what the card of the newest version says."""
        try:
            newest = self._examiner.versions.newest()
        except UsageError as error:
            _LOG.warning("the page cannot say which model answers: %s", error)
            return self._page.html(())
        notes = (newest.wording.warning and newest.wording.meaning(), newest.about["about"])
        return self._page.html(notes)

    @contextlib.contextmanager
    def _admission(self) -> Iterator[None]:
        """Bounds the requests that are in the gateway, and so the room that their files take."""
        most = self._options.workers + self._options.waiting
        if self._admitted >= most:
            raise unavailable(f"{most} files are being looked at or wait already", "busy")
        self._admitted += 1
        self._metrics.in_flight.set(self._admitted)
        try:
            yield
        finally:
            self._admitted -= 1
            self._metrics.in_flight.set(self._admitted)

    async def _verdict(self, scope: MutableMapping[str, Any], receive: Any) -> dict[str, Any]:
        query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
        options = self._options
        # Before the body, which may be long.
        rates = _rates(query)
        start = time.monotonic()
        async with uploaded(
            receive, dict(scope["headers"]), self._folder, options.max_bytes, options.timeout
        ) as upload:
            self._metrics.seconds.labels("upload").observe(time.monotonic() - start)
            job = Job(
                upload.path,
                query.get("name", [upload.name])[-1][:_LONGEST_NAME],
                time.monotonic() + options.timeout,
                with_crops=query.get("crops", ["0"])[-1] == "1",
                all_faces=query.get("all_faces", ["0"])[-1] == "1",
                false_positive_rate=rates.get("false_positive_rate"),
                miss_rate=rates.get("miss_rate"),
            )
            answer = asyncio.create_task(self._examined(job))
            gone = asyncio.create_task(_gone(receive))
            try:
                await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    raise Disconnected
                return answer.result()
            finally:
                job.abandoned.set()
                for task in (answer, gone):
                    task.cancel()
                await asyncio.gather(answer, gone, return_exceptions=True)

    async def _examined(self, job: Job) -> dict[str, Any]:
        if self._turns is None:  # Belongs to the loop, which is not there when this is made.
            self._turns = asyncio.Semaphore(self._options.workers)
        loop = asyncio.get_running_loop()
        start = time.monotonic()
        try:
            await asyncio.wait_for(self._turns.acquire(), min(_LONGEST_WAIT, job.seconds_left))
        except asyncio.TimeoutError:
            raise unavailable("too many files wait to be looked at", "busy") from None
        self._metrics.seconds.labels("wait").observe(time.monotonic() - start)
        with self._lock:
            self._running.add(job)
        running = self._threads.submit(self._examiner.examine, job)
        # The turn ends with the thread, which an answer in time does not wait for.
        running.add_done_callback(lambda _: self._end_turn(loop, job))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(running), job.seconds_left)
        except asyncio.TimeoutError:
            raise too_late("looking at the file took too long") from None

    def _end_turn(self, loop: asyncio.AbstractEventLoop, job: Job) -> None:
        with self._lock:
            self._running.discard(job)
        with contextlib.suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(cast("asyncio.Semaphore", self._turns).release)


def _rates(query: dict[str, list[str]]) -> dict[str, float]:
    """The rates that a request asks for, by name.

    Raises:
      Refused: one is no number, or out of range.
    """
    rates: dict[str, float] = {}
    for name in ("false_positive_rate", "miss_rate"):
        if name in query:
            try:
                rates[name] = float(query[name][-1])
            except ValueError:
                message = f"{name} is {query[name][-1][:40]!r}; give a number, as in 0.01"
                raise Refused(400, message, "usage") from None
    try:
        Rates().replace(**rates)
    except UsageError as error:
        raise Refused(400, str(error), "usage") from error
    return rates


def _outcome(answer: dict[str, Any]) -> str:
    """The word that the metrics count an answer under."""
    if answer["score"] is None:
        return "no_face"
    return "made_data" if answer["warning"] else answer["verdict"] or "no_band"


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
