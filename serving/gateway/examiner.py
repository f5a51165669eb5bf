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
from preprocessing.media.errors import UnreadableMedia
from preprocessing.verdict import NO_BAND
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
      abandoned: set when nobody waits any more.
    """

    path: Path
    name: str
    end: float
    with_crops: bool = False
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
                crops, frames = self._crops(job, cropper, version.settings)
                cut_for = version.settings
            try:
                verdict = self._judge(job, crops, frames, version)
            except clients.ScoringError as error:
                # The server changed versions meanwhile; the new one may want other crops.
                if error.code == "NOT_FOUND" and not last:
                    continue
                if error.code == "DEADLINE_EXCEEDED":
                    raise too_late("the model server took too long") from error
                raise refusal(error) from error
            return self._answer(job, verdict, crops, version)
        raise AssertionError("unreachable")

    def _crops(self, job: Job, cropper: _Cropper, settings: Settings) -> tuple[list[Crop], int]:
        start = time.monotonic()
        try:
            crops, counts = cropper.crops_for(job, settings)
        except UnreadableMedia as error:
            raise Refused(
                400, f"the picture or video cannot be read: {error}", "unreadable"
            ) from error
        self._metrics.seconds.observe("faces", value=time.monotonic() - start)
        return crops, counts["frames"]

    def _judge(self, job: Job, crops: list[Crop], frames: int, version: Version) -> Verdict:
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
                verdict = judge(job.name, crops, frames, logits_of, version.thresholds, model)
            except NonFiniteLogits as error:
                raise clients.ScoringError("INTERNAL", str(error)) from error
        self._metrics.seconds.observe("scores", value=time.monotonic() - start)
        return verdict

    def _answer(
        self, job: Job, verdict: Verdict, crops: list[Crop], version: Version
    ) -> dict[str, Any]:
        tracks = []
        for track, score in sorted(verdict.tracks.items(), key=lambda item: -item[1]):
            own = [crop for crop in crops if crop.track == track]
            entry = {"track": track, "score": score, "faces": len(own)}
            if job.with_crops:
                entry["crop"] = _shown(max(own, key=lambda crop: crop.score).jpeg)
            tracks.append(entry)
        thresholds = version.thresholds
        return {
            "name": job.name,
            "verdict": verdict.verdict,
            "score": verdict.score,
            "logit": verdict.logit,
            "reason": verdict.reason,
            "frames": verdict.frames,
            "faces": verdict.faces,
            "tracks": tracks,
            "thresholds": dataclasses.asdict(thresholds) if thresholds else None,
            "meaning": thresholds.text() if thresholds else NO_BAND,
            "model": {
                "name": self._options.model,
                "version": version.number,
                "backbone": version.backbone,
            },
        }


class _Cropper:
    """A cropper whose settings can change."""

    def __init__(self, settings: Settings):
        self._cropper = FaceCropper(settings)

    def crops_for(self, job: Job, settings: Settings) -> tuple[list[Crop], dict[str, Any]]:
        """As `FaceCropper.crops`; raises what `Job.check` raises, too."""
        if settings != self._cropper.settings:
            self._cropper.close()
            self._cropper = FaceCropper(settings)
        return self._cropper.crops(job.path, check=job.check)

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
