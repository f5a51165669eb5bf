"""Decoding in a child process: a decoder that crashes or hangs takes nothing else down.

Media files come from anywhere, and decoders are large C libraries. The parent opens the file and
hands the child its descriptor, over a socket that is the child's standard input; the child can
open nothing itself (`preprocessing.media.child`, `preprocessing.media.sandbox`). It answers on its
standard output with tagged messages:

    R                                  ready
    .                                  a sign of life while it decodes
    F index ms height width, pixels    a frame
    I length, JSON                     what the file turned out to be
    U length, text                     the file is unreadable; ends the answer
    X length, text                     a passing fault; ends the answer
    D                                  done; ends the answer

The child decodes ahead while the parent is busy, until 32 MiB wait in its memory. What the child
says is checked: a decoder that a file has taken over can send anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from preprocessing.media.container import misnamed
from preprocessing.media.frame import Frame, MediaInfo
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import DeadlinePassed, DecodingFailed, UnreadableMedia
from preprocessing.media.source import open_media

# Not one step of decoding takes so long; a full disk cache or a loaded machine may take seconds.
TIMEOUT_SECONDS = 60.0
# Until a child is ready; imports take seconds on a busy machine.
_START_SECONDS = 60.0
FRAME = struct.Struct("<qqii")
LENGTH = struct.Struct("<i")
_MOST_TEXT = 1 << 16
_PIPE_BYTES = 1 << 20
_ATTEMPTS = 2
_ROOT = Path(__file__).resolve().parents[2]
_CHILD = "preprocessing.media.child"
_COMMAND = (sys.executable, "-c", f"from {_CHILD} import serve; serve()")
# The child computes nothing; idle threads would only take address space.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Decoder:
    """Samples frames in child processes, which it starts when needed and keeps.

    Calls from several threads work side by side, each with a child of its own.

    Args:
      threads: threads a child decodes with; 0 leaves it to FFmpeg.
      timeout: seconds without any progress after which a child counts as hanging; None takes a
        minute.
      command: the child's command line.
      limits: beyond which a file is refused.

    As in:

        with Decoder() as decoder:
            sizes = [frame.pixels.shape for frame in decoder.frames("clip.mp4", 32)]
    """

    def __init__(
        self,
        threads: int = 0,
        timeout: float | None = None,
        command: Sequence[str] | None = None,
        limits: Limits | None = None,
    ):
        self._threads = threads
        self._timeout = TIMEOUT_SECONDS if timeout is None else timeout
        self._command = command
        self._limits = limits or Limits()
        self._idle: list[_Child] = []

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts a child and does not wait for it, so that it is ready when a file comes."""
        self._idle.append(_Child(self._command or _COMMAND, self._timeout))

    def frames(
        self,
        path: str | Path,
        count: int,
        per_second: float = 0.0,
        indices: Sequence[int] | None = None,
        deadline: float | None = None,
        tell: Callable[[MediaInfo], None] | None = None,
    ) -> Iterator[Frame]:
        """As `preprocessing.media.video.sample_frames`, in a child process.

        Args:
          path: a video or picture file.
          count: see there.
          per_second: see there.
          indices: see there.
          deadline: value of `time.monotonic()` at which the child is ended; None for none.
          tell: called after the last frame with what the file turned out to be.

        Raises:
          UnreadableMedia: as there.
          DecodingFailed: the file is absent or cannot be read, or the decoder crashed, hung or ran
            out of memory on it twice.
          DeadlinePassed: the deadline passed.
        """
        request = {
            "args": [count, per_second, None if indices is None else [int(i) for i in indices]],
            "limits": dataclasses.asdict(self._limits),
            "threads": self._threads,
        }
        last = -1
        for attempt in range(_ATTEMPTS):
            try:
                for frame in self._attempt(path, request, deadline, tell):
                    if frame.index > last:  # Not seen in the first attempt.
                        last = frame.index
                        yield frame
                return
            except DeadlinePassed:
                raise
            except DecodingFailed:
                if attempt + 1 == _ATTEMPTS:
                    raise

    def sandbox(self) -> list[str]:
        """What children have given up, see `preprocessing.media.sandbox.enter`; for people.

        Raises:
          DecodingFailed: a child did not start, or could do what it should have given up.
        """
        child = self._child()
        try:
            child.ask({"sandbox": True}, None)
            answer: list[dict[str, Any]] = []
            for _ in child.answer(self._limits, None, answer.append):
                pass
        finally:
            child.kill()
        held = [name for name, refused in answer[0]["refused"].items() if not refused]
        if held:
            raise DecodingFailed(f"not refused: {', '.join(held)}")
        active: list[str] = answer[0]["active"]
        return active

    def close(self) -> None:
        """Ends the children."""
        while self._idle:
            self._idle.pop().kill()

    def __del__(self) -> None:
        self.close()

    def _attempt(
        self,
        path: str | Path,
        request: dict[str, Any],
        deadline: float | None,
        tell: Callable[[MediaInfo], None] | None,
    ) -> Iterator[Frame]:
        descriptor = open_media(path, self._limits)
        child = None
        finished = False
        try:
            child = self._child(deadline)
            child.ask(request, descriptor)
            descriptions: list[dict[str, Any]] = []
            yield from child.answer(self._limits, deadline, descriptions.append)
            try:
                infos = [_info(path, description) for description in descriptions]
            except (KeyError, TypeError) as error:
                raise child.invalid_answer() from error
            finished = True
            if tell is not None and infos:
                tell(infos[0])
        except UnreadableMedia:
            finished = child is not None and child.alive
            raise
        finally:
            os.close(descriptor)
            # One that still has frames to send, because the caller had enough, is of no use.
            if child is not None and finished:
                self._idle.append(child)
            elif child is not None:
                child.kill()

    def _child(self, deadline: float | None = None) -> _Child:
        """An idle child that lives, or a new one."""
        while True:
            try:
                child = self._idle.pop()
            except IndexError:
                child = _Child(self._command or _COMMAND, self._timeout)
                child.wait_until_ready(deadline)
                return child
            if child.alive:
                child.wait_until_ready(deadline)
                return child
            child.kill()


class _Child:
    """One child process and the conversation with it."""

    def __init__(self, command: Sequence[str], timeout: float):
        environment = dict(os.environ, **_ENVIRONMENT)
        paths = [str(_ROOT), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._command = command
        self._ready = False
        self._timeout = timeout
        self._worked = 0.0
        self._deadline: float | None = None
        self._limits = Limits()
        self._socket, child_socket = socket.socketpair()
        with child_socket:
            self._process = subprocess.Popen(
                command,
                stdin=child_socket.fileno(),
                stdout=subprocess.PIPE,
                bufsize=0,
                env=environment,
            )
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._output = self._answers.fileno()
        with contextlib.suppress(OSError):  # Fewer switches between the two; a system may refuse.
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)

    def wait_until_ready(self, deadline: float | None) -> None:
        """Waits until the child takes requests; at once when it was waited for before.

        Raises:
          DecodingFailed: it did not start.
          DeadlinePassed: the deadline passed.
        """
        if self._ready:
            return
        timeout, self._timeout = self._timeout, max(self._timeout, _START_SECONDS)
        self._deadline = deadline
        try:
            self._ready = bytes(self._read(1)) == b"R"
        except DeadlinePassed:
            raise
        except DecodingFailed:
            pass
        if not self._ready:
            self.kill()
            raise DecodingFailed(f"the decoder process did not start: {' '.join(self._command)}")
        self._timeout = timeout

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], descriptor: int | None) -> None:
        """Sends a request, with the file that it is about."""
        body = json.dumps(request).encode("ascii")
        try:
            head = [LENGTH.pack(len(body))]
            if descriptor is None:
                self._socket.sendall(head[0])
            else:
                socket.send_fds(self._socket, head, [descriptor])
            self._socket.sendall(body)
        except OSError as error:
            raise DecodingFailed(self._crash()) from error

    def answer(
        self,
        limits: Limits,
        deadline: float | None,
        tell: Callable[[dict[str, Any]], None],
    ) -> Iterator[Frame]:
        """Yields the frames that the child sends; hands what it says about the file to `tell`."""
        self._worked = 0.0
        self._limits, self._deadline = limits, deadline
        last = -1
        while (tag := bytes(self._read(1))) != b"D":
            if tag == b"F":
                index, milliseconds, height, width = FRAME.unpack(self._read(FRAME.size))
                sound = height > 0 and width > 0 and height * width <= limits.pixels
                if not sound or index <= last or milliseconds < 0:
                    raise self.invalid_answer()
                last = index
                pixels = self._read(height * width * 3).reshape(height, width, 3)
                yield Frame(index, milliseconds, pixels)
            elif tag == b"I":
                try:
                    tell(json.loads(self._text()))
                except (ValueError, RecursionError) as error:
                    raise self.invalid_answer() from error
            elif tag == b"U":
                raise UnreadableMedia(self._text())
            elif tag == b"X":
                raise DecodingFailed(self._text())
            elif tag != b".":
                raise self.invalid_answer()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()
        self._answers.close()

    def _text(self) -> str:
        (length,) = LENGTH.unpack(self._read(LENGTH.size))
        if not 0 <= length <= _MOST_TEXT:
            raise self.invalid_answer()
        return self._read(length).tobytes().decode("utf-8", "replace")

    def _read(self, size: int) -> np.ndarray:
        """The next bytes, uint8 [size]."""
        data = np.empty(size, np.uint8)
        view, received = memoryview(data), 0
        while received < size:
            self._wait()
            count = os.readv(self._output, [view[received:]])
            if not count:
                raise DecodingFailed(self._crash())
            received += count
        return data

    def _wait(self) -> None:
        """Waits until there is something to read; ends the child when that takes too long."""
        start = time.monotonic()
        bounds = [(self._timeout, self._hung)]
        if self._deadline is not None:
            bounds.append((self._deadline - start, self._past_deadline))
        if self._limits.wall_seconds is not None:
            bounds.append((self._limits.wall_seconds - self._worked, self._slow))
        seconds, fault = min(bounds, key=lambda bound: bound[0])
        if seconds <= 0 or not self._poll.poll(seconds * 1000):
            self.kill()
            raise fault()
        self._worked += time.monotonic() - start

    def _hung(self) -> DecodingFailed:
        return DecodingFailed(f"the decoder hung: no progress in {self._timeout:g} s")

    def _past_deadline(self) -> DecodingFailed:
        return DeadlinePassed("the deadline passed while the file was being decoded")

    def _slow(self) -> DecodingFailed:
        return DecodingFailed(f"decoding took longer than {self._limits.wall_seconds:g} s")

    def invalid_answer(self) -> DecodingFailed:
        """Ends the process, and says that it sent what no decoder sends."""
        self.kill()
        return DecodingFailed("the decoder sent an answer that cannot be right")

    def _crash(self) -> str:
        try:
            status = self._process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return "the decoder closed its output"
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"the decoder crashed ({name})"


def _info(path: str | Path, description: dict[str, Any]) -> MediaInfo:
    """What the child said about a file, and what its name adds.

    Raises:
      KeyError, TypeError: the child said something else than `MediaInfo` holds.
    """
    kind, codec, frames, notes = (description[key] for key in ("kind", "codec", "frames", "notes"))
    types = [type(value) for value in (kind, codec, frames, notes)]
    if types != [str, str, int, list] or any(type(note) is not str for note in notes):
        raise TypeError("the child described a file by values of other types")
    wrong_ending = misnamed(path, kind)
    return MediaInfo(kind, codec, frames, (wrong_ending, *notes) if wrong_ending else tuple(notes))
