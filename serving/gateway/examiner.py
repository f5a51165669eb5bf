"""Examines a file: crops for the served version, its scores, its verdict.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import base64
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from preprocessing.faces.crop_settings import ALL, ANSWER, CropSettings
from preprocessing.support.errors import UsageError
from serving import clients
from serving.gateway import face_strips
from serving.gateway.crop_worker import CropWorker, DetectedFaces, ProgressCallback
from serving.gateway.limits import FileLimits
from serving.gateway.messages import Thumbnails, best_of_tracks
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.refusals import Disconnected, Refused, too_late
from serving.gateway.served_versions import ModelOptions, ServedVersion, Versions, refusal
from serving.model.aggregation import NonFiniteLogits
from serving.model.outputs import NO_HEAT_MAPS, CropOutputs
from serving.model.verdict import Verdict, judge
from serving.pictures.marks import heading_of, judged_faces

_LOG = logging.getLogger(__name__)

# Until the workers are ready; imports take seconds, and many times that on a busy machine.
_START_SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class Job:
    """One uploaded file to run inference on.

    Attributes:
      path: the file.
      name: name that the client gives it.
      end: deadline, a `time.monotonic` reading; nobody waits for the answer afterwards.
      with_crops: whether the answer shows a crop of each track.
      explain: whether the answer shows faces with heat maps.
      all_faces: whether every face that is found is judged.
      false_positive_rate: rate for this answer; None for the gateway's.
      miss_rate: rate for this answer; None for the gateway's.
      overlay: folder that the file is written to with its faces marked; None for none.
      on_progress: callback, see `CropWorker.find` and `CropWorker.annotate`.
      abandoned: event that is set when nobody waits any more.
    """

    path: Path
    name: str
    end: float
    with_crops: bool = False
    explain: bool = False
    all_faces: bool = False
    false_positive_rate: float | None = None
    miss_rate: float | None = None
    overlay: Path | None = None
    on_progress: ProgressCallback = lambda _, __: None
    abandoned: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def seconds_left(self) -> float:
        """Until the caller is told that it took too long."""
        return self.end - time.monotonic()

    def check(self) -> None:
        """Raises `Disconnected` or `Refused` (504) when going on is of no use."""
        if self.abandoned.is_set():
            raise Disconnected
        if self.seconds_left <= 0:
            raise too_late("looking at the file took too long")


class Examiner:
    """Runs inference on uploads, one per worker process at a time.

    For the workers see `serving.gateway.crop_worker`.

    Args:
      options: model and server.
      workers: number of worker processes, and so of files at once.
      metrics: metrics in which times are counted.
      limits: limits per uploaded file.

    Attributes:
      versions: versions of the model that the server has.
    """

    def __init__(
        self,
        options: ModelOptions,
        workers: int,
        metrics: GatewayMetrics,
        limits: FileLimits | None = None,
    ):
        self._options = options
        self._metrics = metrics
        self._limits = limits or FileLimits()
        self.versions = Versions(options)
        self._worker_count = workers
        self._workers: queue.SimpleQueue[CropWorker] = queue.SimpleQueue()
        self._started_workers: set[CropWorker] = set()
        self._closed = False
        self._lock = threading.Lock()

    def start(self, settings: CropSettings) -> None:
        """Starts the workers, and does not wait for them."""
        for _ in range(self._worker_count):
            self._workers.put(self._new_worker(settings))

    def wait(self) -> None:
        """Waits until all workers are ready, so that the first request need not.

        Raises:
          RuntimeError: one did not start.
        """
        end = time.monotonic() + _START_SECONDS

        def check() -> None:
            if time.monotonic() > end:
                raise RuntimeError(f"a worker was not ready in {_START_SECONDS:g} s")

        for worker in list(self._started_workers):
            worker.wait(check)

    def examine(self, job: Job) -> dict[str, Any]:
        """Runs inference on one file; at most `workers` calls may run at once.

        Returns:
          The answer, see `serving.model.answer.Answer`; tracks come with the most suspicious first.

        Raises:
          Refused: the file is unreadable or beyond a limit, the model server gave no scores, or
            time ran out.
          Disconnected: the job was abandoned.
        """
        worker = self._workers.get()
        try:
            # It may have been killed while it was idle, which no file is to blame for.
            worker = self._usable(worker)
            with self.versions.connect().for_file() as scorer:
                return self._examine(job, worker, scorer)
        finally:
            try:
                worker = self._usable(worker)
            except OSError as error:  # No memory, process or disk is left; the next call tries.
                _LOG.warning("no other worker could be started: %s", error)
            self._workers.put(worker)

    def close(self) -> None:
        """Ends the workers, and the connection to the model server."""
        with self._lock:
            self._closed = True
            for worker in self._started_workers:
                worker.kill()
            self._started_workers.clear()
        self.versions.close()

    def _new_worker(self, settings: CropSettings) -> CropWorker:
        with self._lock:
            worker = CropWorker(settings, self._limits)
            self._started_workers.add(worker)
        return worker

    def _usable(self, worker: CropWorker) -> CropWorker:
        """The worker, or another one where it was ended."""
        if worker.alive or self._closed:
            return worker
        _LOG.warning("a worker was ended; another one is started")
        worker.kill()
        self._metrics.replaced.inc()
        with self._lock:
            self._started_workers.discard(worker)
        return self._new_worker(worker.settings)

    def _examine(self, job: Job, worker: CropWorker, scorer: clients.Scorer) -> dict[str, Any]:
        cut_for: CropSettings | None = None
        for last in (False, True):
            job.check()
            version = self.versions.served(scorer)
            if version.settings != cut_for:
                faces = self._find(job, worker, version.settings)
                cut_for = version.settings
            try:
                verdict = self._judge(job, faces, version, scorer)
                explanation = (
                    self._explain(job, verdict, faces, version, scorer) if job.explain else {}
                )
            except clients.ScoringError as error:
                # The server changed versions meanwhile; the new one may want other crops.
                if error.code == "NOT_FOUND" and not last:
                    continue
                if error.code == "DEADLINE_EXCEEDED":
                    raise too_late("the model server took too long") from error
                raise refusal(error) from error
            if job.overlay and verdict.tracks:
                self._annotate(job, worker, verdict, faces)
            return self._answer(job, verdict, faces, version, explanation)
        raise AssertionError("unreachable")

    def _find(self, job: Job, worker: CropWorker, settings: CropSettings) -> DetectedFaces:
        start = time.monotonic()
        policy = ALL if job.all_faces else ANSWER
        thumbnails = Thumbnails.TRACKS if job.with_crops else Thumbnails.NONE
        if job.explain:
            thumbnails = Thumbnails.FACES
        faces = worker.find(
            job.path, settings, job.seconds_left, job.check, thumbnails, policy, job.on_progress
        )
        self._metrics.seconds.labels("faces").observe(time.monotonic() - start)
        return faces

    def _judge(
        self, job: Job, faces: DetectedFaces, version: ServedVersion, scorer: clients.Scorer
    ) -> Verdict:
        start = time.monotonic()

        def outputs_of(jpegs: Sequence[bytes]) -> CropOutputs:
            scores = scorer.score(
                jpegs,
                deadline=job.seconds_left,
                version=version.number,
                appearance=version.decision_rule.familiarity is not None,
                check=job.check,
            )
            return CropOutputs(scores.logits, scores.appearance)

        model = f"{self._options.model} version {version.number}"
        try:
            rule = version.decision_rule.at(job.false_positive_rate, job.miss_rate)
        except UsageError as error:
            raise Refused(400, str(error), "usage") from error
        try:
            verdict = judge(job.name, faces.crops, faces.counts, outputs_of, rule, model)
        except NonFiniteLogits as error:
            raise clients.ScoringError("INTERNAL", str(error)) from error
        self._metrics.seconds.labels("scores").observe(time.monotonic() - start)
        return verdict

    def _explain(
        self,
        job: Job,
        verdict: Verdict,
        faces: DetectedFaces,
        version: ServedVersion,
        scorer: clients.Scorer,
    ) -> dict[str, Any]:
        """What the answer shows of faces: `strips` by track, and why they have no heat map."""
        crops_by_track = face_strips.strip_faces(verdict, faces)
        jpegs = [
            faces.crops[number].jpeg for numbers in crops_by_track.values() for number in numbers
        ]
        if not jpegs:
            return {"strips": {}, "no_heat_maps": ""}
        start = time.monotonic()
        cells = scorer.cells(
            jpegs, deadline=job.seconds_left, version=version.number, check=job.check
        )
        self._metrics.seconds.labels("heat_maps").observe(time.monotonic() - start)
        return {
            "strips": face_strips.strips(verdict, faces, crops_by_track, cells),
            "no_heat_maps": NO_HEAT_MAPS if cells is None else "",
        }

    def _annotate(
        self, job: Job, worker: CropWorker, verdict: Verdict, faces: DetectedFaces
    ) -> None:
        start = time.monotonic()
        judged = [
            {
                "frame": face.frame,
                "track": face.track,
                "box": face.box.tolist(),
                "score": face.score,
            }
            for face in judged_faces(verdict, faces.crops)
        ]
        worker.annotate(
            job.path,
            cast("Path", job.overlay),
            judged,
            verdict.counts.frames,
            heading_of(verdict),
            job.seconds_left,
            job.check,
            job.on_progress,
        )
        self._metrics.seconds.labels("overlay").observe(time.monotonic() - start)

    def _answer(
        self,
        job: Job,
        verdict: Verdict,
        faces: DetectedFaces,
        version: ServedVersion,
        explanation: dict[str, Any],
    ) -> dict[str, Any]:
        answer = verdict.answer(version.about)
        best_crops = best_of_tracks(faces.crops) if job.with_crops else {}
        for entry in answer["tracks"]:
            if job.with_crops:
                picture = faces.thumbnails[best_crops[entry["track"]]]
                entry["crop"] = base64.b64encode(picture).decode("ascii")
            if job.explain:
                entry["strip"] = explanation["strips"][entry["track"]]
        if job.explain:
            answer["no_heat_maps"] = explanation["no_heat_maps"]
        return answer
