"""Asynchronous jobs: queue, results and expiry.

A job has a folder of its own, in which its file is until inference has run on it, and its film
until the job is dropped, by the client or some time after it ended, or newer films take its room.
Jobs do not outlive the gateway, whose folder goes with it (see `serving.gateway.spool`).

All but the work itself happens on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from serving.gateway.examiner import Job
from serving.gateway.limits import JobLimits
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.refusals import Disconnected, Refused, failed, unavailable

_LOG = logging.getLogger(__name__)

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
FILM = "annotated.mp4"
# Ended jobs that are kept at most, for each one that may be unfinished.
_KEPT = 4


class StoredJob:
    """One job.

    Args:
      folder: folder of the job alone; holds the file.
      job: work to be done; its time begins when it runs.
      wants_film: whether the film with its faces marked is wanted.

    Attributes:
      name: unguessable; its path ends with it.
      state: WAITING, RUNNING, DONE or FAILED.
      progress: frames that are done, and how many there are, 0 where that is not known.
      answer: result of the job; None where there is none.
      failure: reason why there is none; None where there is one.
      ended: `time.monotonic` reading at its end.
    """

    def __init__(self, folder: Path, job: Job, wants_film: bool):
        self.folder = folder
        self.name = folder.name
        self.job = job
        self.wants_film = wants_film
        self.state = WAITING
        self.progress = (0, 0)
        self.answer: dict[str, Any] | None = None
        self.failure: Refused | None = None
        self.ended = 0.0
        self.task: asyncio.Task[None] | None = None

    @property
    def film(self) -> Path | None:
        """The film; None where there is none, or not yet."""
        path = self.folder / FILM
        return path if self.state == DONE and path.is_file() else None

    def delete_all_but_film(self) -> None:
        """Deletes the file, a marked picture, and what there is of a film that failed."""
        with contextlib.suppress(FileNotFoundError):  # The job was dropped, and its folder with it.
            for path in self.folder.iterdir():
                if path != self.film:
                    path.unlink()

    def set_progress(self, frames: int, total: int) -> None:
        """Sets how far the work is; called by the thread that does it."""
        self.progress = (frames, total)

    def status(self, keep: float) -> dict[str, Any]:
        """What `serving.gateway.answer.JobStatus` describes.

        Args:
          keep: seconds for which a result is kept.
        """
        ended = self.state in (DONE, FAILED)
        frames, total = self.progress
        return {
            "id": self.name,
            "name": self.job.name,
            "state": self.state,
            "progress": {"frames": frames, "of": total or None} if self.state == RUNNING else None,
            "answer": self.answer,
            "error": self.failure.message if self.failure else "",
            "status": self.failure.status if self.failure else None,
            "overlay": f"/v1/jobs/{self.name}/overlay.mp4" if self.film else "",
            "expires_in": max(0.0, self.ended + keep - time.monotonic()) if ended else None,
        }


class Jobs:
    """The jobs of a gateway.

    Args:
      folder: folder in which the jobs' folders are made.
      limits: limits of the jobs.
      examined: function that runs inference on a file when its turn has come.
      metrics: metrics in which jobs are counted.
    """

    def __init__(
        self,
        folder: Path,
        limits: JobLimits,
        examined: Callable[[StoredJob], Awaitable[dict[str, Any]]],
        metrics: GatewayMetrics,
    ):
        self.limits = limits
        self._folder = folder
        self._examined = examined
        self._metrics = metrics
        self._jobs: dict[str, StoredJob] = {}
        self._uploading = 0
        self._turns: asyncio.Semaphore | None = None

    @contextlib.contextmanager
    def admission(self) -> Iterator[None]:
        """Keeps a place in the queue for a job whose file is being uploaded.

        Raises:
          Refused: there is none.
        """
        unfinished = [job for job in self._jobs.values() if job.state in (WAITING, RUNNING)]
        if len(unfinished) + self._uploading >= self.limits.unfinished:
            raise unavailable(f"{self.limits.unfinished} jobs wait or run already", "busy")
        self._uploading += 1
        try:
            yield
        finally:
            self._uploading -= 1

    def add(self, file: Path, job: Job, wants_film: bool) -> StoredJob:
        """Takes a file over, and has inference run on it.

        Args:
          file: path of the file, which is moved into the job's folder.
          job: work to be done with it; path, time and overlay are set when it runs.
          wants_film: whether the film with its faces marked is wanted.
        """
        folder = self._folder / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700)
        path = file.rename(folder / "file")
        stored = StoredJob(folder, dataclasses.replace(job, path=path), wants_film)
        self._jobs[stored.name] = stored
        stored.task = asyncio.get_running_loop().create_task(self._run(stored))
        self._count()
        return stored

    def get(self, name: str) -> StoredJob:
        """The job of this name.

        Raises:
          Refused: 404, there is none, or none any more.
        """
        if name not in self._jobs:
            raise Refused(404, "there is no such job; results are kept for a time", "not_found")
        return self._jobs[name]

    def drop(self, name: str) -> None:
        """Ends a job, and forgets it with its files.

        Raises:
          Refused: see `get`.
        """
        stored = self.get(name)
        del self._jobs[name]
        stored.job.abandoned.set()
        if stored.state == WAITING and stored.task:
            stored.task.cancel()
        if stored.state in (WAITING, RUNNING):
            self._metrics.jobs_ended.labels("cancelled").inc()
        if stored.state != RUNNING:  # Of a running one the thread still writes.
            shutil.rmtree(stored.folder, ignore_errors=True)
        self._count()

    def begin(self, stored: StoredJob) -> Job:
        """What is to be done now that it is a job's turn; its time begins."""
        stored.job = dataclasses.replace(
            stored.job,
            end=time.monotonic() + self.limits.seconds,
            overlay=stored.folder if stored.wants_film else None,
            on_progress=stored.set_progress,
        )
        stored.state = RUNNING
        self._count()
        return stored.job

    async def _run(self, stored: StoredJob) -> None:
        if self._turns is None:  # Belongs to the loop, which is not there when this is made.
            self._turns = asyncio.Semaphore(self.limits.at_once)
        outcome = "error"
        try:
            async with self._turns:
                answer = await self._examined(stored)
            outcome = self._metrics.answered(answer)
            stored.answer, stored.state = answer, DONE
        except Refused as error:
            outcome, stored.failure, stored.state = error.outcome, error, FAILED
        except Disconnected:
            pass
        except Exception:
            _LOG.exception("a job failed")
            stored.failure, stored.state = failed(), FAILED
        finally:
            stored.delete_all_but_film()
        if stored.name not in self._jobs:
            shutil.rmtree(stored.folder, ignore_errors=True)
            return
        self._metrics.jobs_ended.labels(outcome).inc()
        stored.ended = time.monotonic()
        asyncio.get_running_loop().call_later(self.limits.keep, self._expire, stored.name)
        for old in self._ended()[: -_KEPT * self.limits.unfinished]:
            self.drop(old.name)
        self._delete_films()
        self._count()

    def _ended(self) -> list[StoredJob]:
        """Jobs that are done or failed, the oldest first."""
        ended = [job for job in self._jobs.values() if job.state in (DONE, FAILED)]
        return sorted(ended, key=lambda job: job.ended)

    def _delete_films(self) -> None:
        """Deletes the films for which there is no room beside newer ones."""
        total_bytes = 0
        for number, film in enumerate([job.film for job in reversed(self._ended()) if job.film]):
            total_bytes += film.stat().st_size
            if number and total_bytes > self.limits.film_bytes:
                film.unlink()

    def _expire(self, name: str) -> None:
        with contextlib.suppress(Refused):  # Was dropped before.
            self.drop(name)

    def _count(self) -> None:
        states = [job.state for job in self._jobs.values()]
        for state in (WAITING, RUNNING, DONE, FAILED):
            self._metrics.jobs.labels(state).set(states.count(state))
