"""The worker process that finds faces, until its input ends.

A thread reads the requests, because it must also see when the gateway is gone or drops a file
while another thread works.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import queue
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from serving.gateway import messages
from serving.gateway.limits import FileLimits

if TYPE_CHECKING:
    from preprocessing.faces.crop_settings import CropSettings
    from preprocessing.faces.face_cropper import Crop, FaceCropper
    from preprocessing.faces.face_selection import FaceCounts

_LOG = logging.getLogger(__name__)

# Longer side of the faces that an answer carries: enough to tell who is meant.
_SHOWN_PIXELS = 128


class _Dropped(Exception):
    """Nobody waits for this file any more."""


class _Late(Exception):
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
            raise _Late

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
    worker = _Worker(inbox, limits)
    worker.prepare(_settings(first))
    _send(output, messages.pack({"ready": True}))
    while True:
        _send(output, worker.answer(inbox.next()))


def _confine(limits: FileLimits) -> None:
    """Bounds the memory, and has the kernel choose this process first when it runs out of it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = limits.worker_bytes
    resource.setrlimit(
        resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )
    with contextlib.suppress(OSError):  # Not everywhere may a process say so.
        Path("/proc/self/oom_score_adj").write_text("1000")


class _Worker:
    """A cropper whose settings can change, and answers from it."""

    def __init__(self, inbox: _Inbox, limits: FileLimits):
        self._inbox = inbox
        self._limits = limits
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

        end = time.monotonic() + request["seconds"]
        try:
            self.prepare(_settings(request))
            crops, counts = cast("FaceCropper", self._cropper).crops(
                request["path"],
                check=lambda: self._inbox.check(end),
                policy=request["policy"],
            )
            return _answer(crops, counts, request["shown"])
        except UnreadableMedia as error:
            return messages.pack({"failure": "unreadable", "message": str(error)})
        except DecodingFailed as error:
            return messages.pack({"failure": "failed", "message": str(error)})
        except _Late:
            return messages.pack({"failure": "late"})
        except _Dropped:
            return messages.pack({"failure": "dropped"})
        except MemoryError:
            return messages.pack({"failure": "memory"})
        except Exception as error:
            memory = _is_out_of_memory(error)
            if not memory:
                _LOG.exception("a file could not be looked at")
            return messages.pack({"failure": "memory" if memory else "error"})


def _settings(request: dict[str, Any]) -> CropSettings:
    from preprocessing.faces.crop_settings import CropSettings

    return CropSettings.from_dict(request["settings"], key="settings")


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error of TensorFlow or OpenCV means that memory ran out."""
    return type(error).__name__ == "ResourceExhaustedError" or "Insufficient memory" in str(error)


def _answer(crops: list[Crop], counts: FaceCounts, shown: bool) -> bytes:
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
    best: dict[int, Crop] = {}
    if shown:
        for crop in crops:
            if crop.track not in best or crop.score > best[crop.track].score:
                best[crop.track] = crop
    header = {
        "crops": entries,
        "counts": dataclasses.asdict(counts),
        "shown": [int(track) for track in best],
    }
    pictures = [_small(crop.jpeg) for crop in best.values()]
    return messages.pack(header, [*(crop.jpeg for crop in crops), *pictures])


def _small(jpeg: bytes) -> bytes:
    """A face crop made small, as JPEG."""
    import cv2
    import numpy as np

    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    side = max(pixels.shape[:2])
    if side <= _SHOWN_PIXELS:
        return jpeg
    factor = _SHOWN_PIXELS / side
    pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def _send(output: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while len(view):
        view = view[output.write(view) :]
