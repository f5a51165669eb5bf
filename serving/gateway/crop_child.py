"""The worker process that finds faces, until its input ends.

A thread reads the requests, because it must also see when the gateway is gone or drops a file
while another thread works.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import logging
import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from serving.gateway import messages
from serving.gateway.limits import FileLimits
from serving.gateway.messages import Thumbnails

if TYPE_CHECKING:
    from preprocessing.faces.crop_settings import CropSettings
    from preprocessing.faces.face_cropper import Crop, FaceCropper
    from preprocessing.faces.face_selection import FaceCounts

_LOG = logging.getLogger(__name__)

# Longer side of the faces that an answer carries: enough to tell who is meant.
_THUMBNAIL_PIXELS = 128
# Seconds between messages on how far the work is.
_PROGRESS_SECONDS = 0.5


class _Dropped(Exception):
    """Nobody waits for this file any more."""


class _DeadlineExceeded(Exception):
    """The file's time is up."""


class _Inbox:
    """Requests that a thread reads; the process ends with its input, whatever it is doing."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._dropped = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> dict[str, Any]:
        """The next request."""
        request = self._requests.get()
        self._dropped.clear()
        return request

    def check(self, end: float) -> None:
        """Raises when the work on the current request is of no more use."""
        if self._dropped.is_set():
            raise _Dropped
        if time.monotonic() > end:
            raise _DeadlineExceeded

    def _read(self) -> None:
        try:
            while True:
                header, _ = messages.receive(self._read_exactly)
                if "cancel" in header:
                    self._dropped.set()
                else:
                    self._requests.put(header)
        finally:
            # With the decoder, which is in this group.
            os.killpg(0, signal.SIGKILL)

    def _read_exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data


def serve() -> None:
    """Answers requests until the input ends."""
    # Native code prints to descriptor 1, which must carry nothing but messages.
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    inbox = _Inbox(os.fdopen(os.dup(0), "rb"))
    first = inbox.next()
    limits = FileLimits(**first["limits"])
    _confine(limits)
    worker = _Worker(inbox, limits, lambda message: _send(output, message))
    worker.prepare(_settings(first))
    _send(output, messages.pack({"ready": True}))
    while True:
        _send(output, worker.answer(inbox.next()))


def _confine(limits: FileLimits) -> None:
    """Bounds the memory, and has the kernel choose this process first when it runs out of it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = limits.worker_bytes
    resource.setrlimit(
        resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )
    with contextlib.suppress(OSError):  # Not everywhere may a process say so.
        Path("/proc/self/oom_score_adj").write_text("1000")


class _Worker:
    """A cropper whose settings can change, and answers from it."""

    def __init__(self, inbox: _Inbox, limits: FileLimits, send: Callable[[bytes], None]):
        self._inbox = inbox
        self._limits = limits
        self._send = send
        self._last_progress = 0.0
        self._cropper: FaceCropper | None = None

    def prepare(self, settings: CropSettings) -> None:
        """Makes the cropper, which takes seconds for the first settings."""
        from preprocessing.faces.face_cropper import FaceCropper
        from preprocessing.support.quiet import quiet

        if self._cropper is None or settings != self._cropper.settings:
            if self._cropper:
                self._cropper.close()
            with quiet():
                self._cropper = FaceCropper(settings, limits=self._limits.of_decoder())

    def answer(self, request: dict[str, Any]) -> bytes:
        """The message that answers a request."""
        from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

        try:
            return self._annotate(request) if "annotate" in request else self._find(request)
        except UnreadableMedia as error:
            return messages.pack({"failure": "unreadable", "message": str(error)})
        except DecodingFailed as error:
            return messages.pack({"failure": "failed", "message": str(error)})
        except _DeadlineExceeded:
            return messages.pack({"failure": "late"})
        except _Dropped:
            return messages.pack({"failure": "dropped"})
        except MemoryError:
            return messages.pack({"failure": "memory"})
        except Exception as error:
            failure = _failure(error)
            if failure == "error":
                _LOG.exception("a file could not be looked at")
            return messages.pack({"failure": failure})

    def _find(self, request: dict[str, Any]) -> bytes:
        end = time.monotonic() + request["seconds"]
        frames = itertools.count(1)
        self.prepare(_settings(request))
        crops, counts = cast("FaceCropper", self._cropper).crops(
            request["path"],
            check=lambda: self._check(end, next(frames)),
            policy=request["policy"],
        )
        return _answer(crops, counts, request["thumbnails"])

    def _annotate(self, request: dict[str, Any]) -> bytes:
        import numpy as np

        from preprocessing.media.decoder import Decoder
        from serving.pictures.annotated_file import annotate_file
        from serving.pictures.marks import JudgedFace

        end = time.monotonic() + request["seconds"]
        faces = [
            JudgedFace(face["frame"], face["track"], np.array(face["box"]), face["score"], b"")
            for face in request["annotate"]
        ]
        with Decoder(limits=self._limits.of_decoder()) as decoder:
            written = annotate_file(
                decoder,
                Path(request["path"]),
                Path(request["folder"]),
                faces,
                request["frames"],
                request["heading"],
                lambda done, total: self._check(end, done, total),
            )
        return messages.pack({"annotated": written.name})

    def _check(self, end: float, done: int, total: int = 0) -> None:
        """Tells how far the work is, and ends it where it is of no more use."""
        self._inbox.check(end)
        now = time.monotonic()
        if now - self._last_progress > _PROGRESS_SECONDS:
            self._last_progress = now
            self._send(messages.pack({"progress": done, "of": total}))


def _settings(request: dict[str, Any]) -> CropSettings:
    from preprocessing.faces.crop_settings import CropSettings

    return CropSettings.from_dict(request["settings"], key="settings")


def _failure(error: Exception) -> str:
    """The word for an error that the file may not be to blame for."""
    # Of Python, OpenCV and OpenVINO.
    words = ("Insufficient memory", "bad_alloc")
    if isinstance(error, MemoryError) or any(word in str(error) for word in words):
        return "memory"
    no_room = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "room" if no_room else "error"


def _answer(crops: list[Crop], counts: FaceCounts, thumbnails: str) -> bytes:
    entries = [
        {
            "track": int(crop.track),
            "frame": int(crop.frame.index),
            "ms": int(crop.frame.timestamp_ms),
            "box": [float(value) for value in crop.box],
            "landmarks": [[float(value) for value in point] for point in crop.landmarks],
            "score": float(crop.score),
        }
        for crop in crops
    ]
    numbers = _thumbnail_numbers(crops, thumbnails)
    header = {"crops": entries, "counts": dataclasses.asdict(counts), "thumbnails": numbers}
    pictures = [_thumbnail(crops[number].jpeg) for number in numbers]
    return messages.pack(header, [*(crop.jpeg for crop in crops), *pictures])


def _thumbnail_numbers(crops: list[Crop], thumbnails: str) -> list[int]:
    """Numbers of the crops that thumbnails are wanted of, see `Thumbnails`."""
    if thumbnails == Thumbnails.FACES:
        return list(range(len(crops)))
    return list(messages.best_of_tracks(crops).values()) if thumbnails == Thumbnails.TRACKS else []


def _thumbnail(jpeg: bytes) -> bytes:
    """A face crop made small, as JPEG."""
    import cv2
    import numpy as np

    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    side = max(pixels.shape[:2])
    if side <= _THUMBNAIL_PIXELS:
        return jpeg
    factor = _THUMBNAIL_PIXELS / side
    pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def _send(output: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while len(view):
        view = view[output.write(view) :]
