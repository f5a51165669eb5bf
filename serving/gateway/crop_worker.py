"""A worker process that finds faces, as the gateway uses it.

Decoding and detection are large native libraries at work on hostile files, and cannot be
interrupted. In a process of their own they can: one that takes too long, needs too much memory or
crashes is ended and replaced, and the gateway goes on. `serving.gateway.crop_child` is the other
side.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import numpy as np

from preprocessing.faces.crop_settings import ANSWER, CropSettings
from preprocessing.faces.face_cropper import Crop
from preprocessing.faces.face_selection import FaceCounts
from preprocessing.media.frame import Frame
from serving.gateway import messages
from serving.gateway.limits import FileLimits
from serving.gateway.messages import Thumbnails
from serving.gateway.refusals import Refused, too_late, unavailable
from serving.gateway.spool import Spool

_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = (sys.executable, "-c", "from serving.gateway.crop_child import serve; serve()")
# Between looks whether anybody still waits for the answer.
_LOOK_SECONDS = 0.1
# For a worker to get ready: it takes seconds alone, a minute on a machine with no core free.
_START_SECONDS = 300.0
# For a worker that was told to stop, before it is killed: starting another costs seconds of CPU.
_STOP_SECONDS = 2.0
# Before the deadline, so that a worker which can still end by itself does.
_EARLY_SECONDS = 0.5
_READ_BYTES = 1 << 20
_Answer = TypeVar("_Answer")
# Called with the frames that are done, and how many there are; 0 where that is not known.
ProgressCallback = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class DetectedFaces:
    """The faces that a worker detected in one file.

    Attributes:
      crops: crops of the faces.
      counts: counts of `FaceCropper.crops`.
      thumbnails: number of a crop -> its thumbnail, a small JPEG; of the crops that were asked for.
    """

    crops: list[Crop]
    counts: FaceCounts
    thumbnails: dict[int, bytes]


class CropWorker:
    """One process. It is started at once, and awaited when it is first used.

    Args:
      settings: crop settings, so that the process can get ready.
      limits: limits per uploaded file.

    Attributes:
      settings: crop settings of the last request.
    """

    def __init__(self, settings: CropSettings, limits: FileLimits):
        self.settings = settings
        environment = dict(os.environ)
        paths = [str(_ROOT), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        # Libraries may leave files behind when they are killed.
        self._spool = Spool()
        environment["TMPDIR"] = str(self._spool.folder / "tmp")
        self._ready = False
        self._start_by = time.monotonic() + _START_SECONDS
        try:
            Path(environment["TMPDIR"]).mkdir()
            self._process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=environment,
                # Its own group: it is ended together with its decoder, and not by the terminal's
                # interrupt, after which the gateway still answers.
                start_new_session=True,
            )
        except BaseException:
            self._spool.close()
            raise
        self._input = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._output = self._answers.fileno()
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        # A process that ended at once is noticed, and its end explained, by whoever waits for it.
        with contextlib.suppress(BrokenPipeError):
            self._send({"settings": settings.to_dict(), "limits": dataclasses.asdict(limits)})

    @property
    def alive(self) -> bool:
        """Whether it can be asked; one that was ended, by whomever, cannot."""
        try:
            return self._process.returncode is None and self._status() is None
        except ChildProcessError:  # Another thread has just ended it.
            return False

    def wait(self, check: Callable[[], None]) -> None:
        """Waits until the process is ready.

        Raises:
          RuntimeError: it ended, and its log, on standard error, says why; or it hung, and was
            ended.
        """
        if self._ready:
            return

        def check_start() -> None:
            check()
            if time.monotonic() > self._start_by:
                raise _Ended(f"it was not ready after {_START_SECONDS:g} s")

        try:
            header, _ = messages.receive(self._reader(check_start, only_idle=True))
        except (_Ended, messages.BrokenMessage) as error:
            self.kill()
            raise RuntimeError(f"the process that finds faces did not start: {error}") from error
        self._ready = header.get("ready") is True

    def find(
        self,
        path: Path,
        settings: CropSettings,
        seconds: float,
        check: Callable[[], None],
        thumbnails: Thumbnails = Thumbnails.NONE,
        policy: str = ANSWER,
        on_progress: ProgressCallback = lambda _, __: None,
    ) -> DetectedFaces:
        """Detects the faces of one file.

        Args:
          path: the file.
          settings: crop settings.
          seconds: seconds after which `check` will raise.
          check: function that is called now and then; what it raises ends the work, with the
            process if need be.
          thumbnails: faces that thumbnails are wanted of.
          policy: policy of the faces that are kept, see `preprocessing.faces.face_selection`.
          on_progress: callback, called now and then with the number of frames that were searched,
            and 0.

        Raises:
          Refused: the file is unreadable or beyond a limit, or looking at it ended the process.
        """
        self.wait(check)
        self.settings = settings
        request = {
            "path": str(path),
            "settings": settings.to_dict(),
            "seconds": max(0.0, seconds - _EARLY_SECONDS),
            "thumbnails": thumbnails,
            "policy": policy,
        }
        return self._ask(request, check, on_progress, "crops", _unpack)

    def annotate(
        self,
        path: Path,
        folder: Path,
        faces: Sequence[dict[str, Any]],
        frames: int,
        heading: str,
        seconds: float,
        check: Callable[[], None],
        on_progress: ProgressCallback,
    ) -> str:
        """Writes a file with its faces marked, see `serving.pictures.annotated_file`.

        Args:
          path: the file.
          folder: folder that it is written to.
          faces: faces that were judged, with the keys `frame`, `track`, `box` and `score`.
          frames: number of frames that were sampled.
          heading: line of text above the frames.
          seconds: see `find`.
          check: see `find`.
          on_progress: callback, called now and then with the number of frames that were drawn, and
            of all.

        Returns:
          The name of what was written.

        Raises:
          Refused: see `find`.
        """
        self.wait(check)
        request = {
            "annotate": list(faces),
            "path": str(path),
            "folder": str(folder),
            "frames": frames,
            "heading": heading,
            "seconds": max(0.0, seconds - _EARLY_SECONDS),
        }
        return self._ask(
            request, check, on_progress, "annotated", lambda header, _: str(header["annotated"])
        )

    def _ask(
        self,
        request: dict[str, Any],
        check: Callable[[], None],
        on_progress: ProgressCallback,
        key: str,
        unpack: Callable[[dict[str, Any], list[bytes]], _Answer],
    ) -> _Answer:
        """Sends a request, and unpacks the answer that has the key."""
        try:
            self._send(request)
            while True:
                header, parts = messages.receive(self._reader(check))
                if "progress" not in header:
                    break
                on_progress(_count(header["progress"]), _count(header.get("of")))
            if key in header:
                return unpack(header, parts)
        except (_Ended, messages.BrokenMessage, BrokenPipeError) as error:
            self.kill()
            raise Refused(
                500, f"looking at the file ended the process that did it ({error})", "crashed"
            ) from error
        except BaseException:  # Of `check`.
            self._stop()
            raise
        raise _refused(header)

    def kill(self) -> None:
        """Ends the process and its decoder."""
        if self._process.returncode is None:
            # Before it is waited for: until then nobody else can get its number.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._input.close()
            self._answers.close()
            self._spool.close()

    def _send(self, header: dict[str, Any]) -> None:
        self._input.write(messages.pack(header))

    def _stop(self) -> None:
        """Asks the process to drop the file, and kills it when it does not."""
        end = time.monotonic() + _STOP_SECONDS

        def check() -> None:
            if time.monotonic() > end:
                raise _Ended

        try:
            self._send({"cancel": True})
            while "progress" in messages.receive(self._reader(check))[0]:
                pass
        except (_Ended, messages.BrokenMessage, BrokenPipeError):
            self.kill()

    def _reader(self, check: Callable[[], None], only_idle: bool = False) -> Callable[[int], bytes]:
        """A function that reads bytes; with `only_idle` a message that began is read to its end."""

        def read(size: int) -> bytes:
            data = bytearray()
            while len(data) < size:
                if not only_idle:
                    check()
                if not self._poll.poll(_LOOK_SECONDS * 1000):
                    check()
                    continue
                part = os.read(self._output, min(size - len(data), _READ_BYTES))
                if not part:
                    raise _Ended(self._why_ended())
                data += part
            return bytes(data)

        return read

    def _why_ended(self) -> str:
        end = time.monotonic() + _STOP_SECONDS
        try:
            while (status := self._status()) is None:
                if time.monotonic() > end:
                    return "its output was closed"
                time.sleep(0.01)
        except ChildProcessError:
            return "it was ended"
        if status.si_code == os.CLD_EXITED:
            return f"exit status {status.si_status}"
        return signal.Signals(status.si_status).name

    def _status(self) -> os.waitid_result | None:
        """How it ended; None while it runs. It is not waited for: see `kill`."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, options)


class _Ended(Exception):
    """The process is not there any more, or has no time left."""


def _refused(header: dict[str, Any]) -> Exception:
    """The exception for an answer without crops."""
    message = str(header.get("message", ""))[:1000]
    failure = header.get("failure")
    if failure == "unreadable":
        return Refused(400, f"the picture or video cannot be read: {message}", "unreadable")
    if failure == "failed":
        return Refused(500, f"the picture or video was not read: {message}; try again", "failed")
    if failure == "late":
        return too_late("looking at the file took too long")
    if failure == "room":
        return unavailable("there is no room for the film", "busy")
    if failure == "memory":
        return Refused(413, "looking at the file takes more memory than is allowed", "too_large")
    return Refused(500, "looking at the file failed; the gateway's log says how", "error")


def _unpack(header: dict[str, Any], parts: list[bytes]) -> DetectedFaces:
    """Checks what a worker sent, and makes it what `FaceCropper.crops` gave there.

    Raises:
      BrokenMessage: it is not of the agreed form.
    """
    try:
        entries, numbers = header["crops"], header["thumbnails"]
        counts = _counts(header["counts"])
        crops = [_crop(entry, jpeg) for entry, jpeg in zip(entries, parts, strict=False)]
        thumbnails = dict(zip(map(_integer, numbers), parts[len(entries) :], strict=True))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise messages.BrokenMessage(f"crops of another form: {error}") from error
    if len(crops) != len(entries) or not set(thumbnails) <= set(range(len(crops))):
        raise messages.BrokenMessage("crops of another form")
    return DetectedFaces(crops, counts, thumbnails)


def _count(value: Any) -> int:
    """A number of frames.

    Raises:
      BrokenMessage: it is none.
    """
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise messages.BrokenMessage(f"{value!r} is no number of frames")
    return value


def _counts(values: dict[str, Any]) -> FaceCounts:
    texts = ("boxes", "note")
    checked: dict[str, Any] = {
        name: str(value) if name in texts else _integer(value)
        for name, value in values.items()
        if name not in ("dropped", "notes")
    }
    dropped = {str(reason): _integer(number) for reason, number in values["dropped"].items()}
    notes = [str(note) for note in values["notes"]]
    return FaceCounts(dropped=dropped, notes=notes, **checked)


def _crop(entry: dict[str, Any], jpeg: bytes) -> Crop:
    frame = Frame(_integer(entry["frame"]), _integer(entry["ms"]), np.empty(0, np.uint8))
    box = np.array(entry["box"], np.float32).reshape(4)
    landmarks = np.array(entry["landmarks"], np.float32).reshape(5, 2)
    score = float(entry["score"])
    if not math.isfinite(score):
        raise ValueError(f"score {score}")
    return Crop(jpeg, _integer(entry["track"]), frame, box, landmarks, score)


def _integer(value: Any) -> int:
    if type(value) is not int or abs(value) >= 1 << 62:
        raise ValueError(f"{value!r} is no number of 64 bits")
    return value
