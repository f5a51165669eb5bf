"""From a file to the answer: crops of the served version, its scores, its verdict.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import base64
import dataclasses
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from preprocessing.aggregation import NonFiniteLogits
from preprocessing.face_cropper import Crop, FaceCropper, Settings
from preprocessing.face_selection import ALL, ANSWER, FaceCounts
from preprocessing.media.errors import UnreadableMedia
from serving import clients
from serving.gateway.errors import Disconnected, Refused, too_late
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.versions import ModelOptions, Version, Versions, refusal
from serving.predict import Verdict, judge

# Longer side of the faces that an answer carries: enough to tell who is meant.
_SHOWN_PIXELS = 128


@dataclasses.dataclass(frozen=True)
class Job:
    """One file to look at.

    Attributes:
      path: the file; its ending tells pictures from videos.
      name: what the client calls it.
      end: `time.monotonic` after which nobody waits for the answer.
      with_crops: whether the answer shows a crop of each track.
      all_faces: whether every face that is found is judged.
      abandoned: set when nobody waits any more.
    """

    path: Path
    name: str
    end: float
    with_crops: bool = False
    all_faces: bool = False
    abandoned: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def seconds_left(self) -> float:
        return self.end - time.monotonic()

    def check(self) -> None:
        """Raises `Disconnected` or `Refused` (504) when going on is of no use."""
        if self.abandoned.is_set():
            raise Disconnected
        if self.seconds_left <= 0:
            raise too_late("looking at the file took too long")


class Examiner:
    """Looks at files, as many at once as it has workers.

    Each worker has a cropper of its own. One could serve all, and gives the same crops; on two
    cores two of their own were a tenth faster, and 1.5 times as fast as one at a time.

    Args:
      options: model and server.
      workers: files looked at once.
      metrics: where times are counted.

    Attributes:
      versions: of the model.
    """

    def __init__(self, options: ModelOptions, workers: int, metrics: GatewayMetrics):
        self._options = options
        self._metrics = metrics
        self.versions = Versions(options)
        self._workers = workers
        self._croppers: queue.SimpleQueue[_Cropper] = queue.SimpleQueue()

    def start(self, settings: Settings) -> None:
        """Makes the croppers, which takes seconds, so that the first request need not wait."""
        for _ in range(self._workers):
            self._croppers.put(_Cropper(settings))

    def examine(self, job: Job) -> dict[str, Any]:
        """Looks at one file; at most `workers` calls may run at once.

        Returns:
          The answer, as README.md shows it; tracks come with the most suspicious first.

        Raises:
          Refused: the file is unreadable, the model server gave no scores, or time ran out.
          Disconnected: the job was abandoned.
        """
        cropper = self._croppers.get()
        try:
            return self._examine(job, cropper)
        finally:
            self._croppers.put(cropper)

    def close(self) -> None:
        """Ends the decoders; nothing may run any more."""
        while not self._croppers.empty():
            self._croppers.get().close()

    def _examine(self, job: Job, cropper: _Cropper) -> dict[str, Any]:
        cut_for: Settings | None = None
        for last in (False, True):
            job.check()
            version = self.versions.served()
            if version.settings != cut_for:
                crops, counts = self._crops(job, cropper, version.settings)
                cut_for = version.settings
            try:
                verdict = self._judge(job, crops, counts, version)
            except clients.ScoringError as error:
                # The server changed versions meanwhile; the new one may want other crops.
                if error.code == "NOT_FOUND" and not last:
                    continue
                if error.code == "DEADLINE_EXCEEDED":
                    raise too_late("the model server took too long") from error
                raise refusal(error) from error
            return self._answer(job, verdict, crops, version)
        raise AssertionError("unreachable")

    def _crops(
        self, job: Job, cropper: _Cropper, settings: Settings
    ) -> tuple[list[Crop], FaceCounts]:
        start = time.monotonic()
        try:
            crops, counts = cropper.crops_for(job, settings)
        except UnreadableMedia as error:
            raise Refused(
                400, f"the picture or video cannot be read: {error}", "unreadable"
            ) from error
        self._metrics.seconds.observe("faces", value=time.monotonic() - start)
        return crops, counts

    def _judge(self, job: Job, crops: list[Crop], counts: FaceCounts, version: Version) -> Verdict:
        options = self._options
        start = time.monotonic()
        with clients.connect(
            options.server, options.model, options.client, version.number
        ) as scorer:

            def logits_of(jpegs: Sequence[bytes]) -> np.ndarray:
                job.check()
                return scorer.score(jpegs, deadline=job.seconds_left).logits

            model = f"{options.model} version {version.number}"
            try:
                verdict = judge(job.name, crops, counts, logits_of, version.thresholds, model)
            except NonFiniteLogits as error:
                raise clients.ScoringError("INTERNAL", str(error)) from error
        self._metrics.seconds.observe("scores", value=time.monotonic() - start)
        return verdict

    def _answer(
        self, job: Job, verdict: Verdict, crops: list[Crop], version: Version
    ) -> dict[str, Any]:
        answer = {"name": job.name, **verdict.as_dict()}
        if job.with_crops:
            for entry in answer["tracks"]:
                of_track = [crop for crop in crops if crop.track == entry["track"]]
                entry["crop"] = _shown(max(of_track, key=lambda crop: crop.score).jpeg)
        answer["model"] = {
            "name": self._options.model,
            "version": version.number,
            "backbone": version.backbone,
        }
        return answer


class _Cropper:
    """A cropper whose settings can change."""

    def __init__(self, settings: Settings):
        self._cropper = FaceCropper(settings)

    def crops_for(self, job: Job, settings: Settings) -> tuple[list[Crop], FaceCounts]:
        """As `FaceCropper.crops`; raises what `Job.check` raises, too."""
        if settings != self._cropper.settings:
            self._cropper.close()
            self._cropper = FaceCropper(settings)
        policy = ALL if job.all_faces else ANSWER
        return self._cropper.crops(job.path, check=job.check, policy=policy)

    def close(self) -> None:
        self._cropper.close()


def _shown(jpeg: bytes) -> str:
    """A face crop made small, JPEG in base64."""
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    side = max(pixels.shape[:2])
    if side > _SHOWN_PIXELS:
        factor = _SHOWN_PIXELS / side
        pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    return base64.b64encode(jpeg).decode("ascii")
