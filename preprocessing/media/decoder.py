"""Decoding in a child process: a decoder that crashes or hangs takes nothing else down.

Media files come from anywhere, and decoders are large C libraries. The child reads requests (one
JSON line each) from its standard input and answers on its standard output with tagged messages:

    R                                  ready
    .                                  a sign of life while it decodes
    F index ms height width, pixels    a frame
    U length, text                     the file is unreadable; ends the answer
    D                                  done; ends the answer

Frames go through the pipe one at a time, so that neither side holds more than it works on.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from preprocessing.media.errors import UnreadableMedia
from preprocessing.media.video import MAX_PIXELS, Frame, sample_frames

# Not one step of decoding takes so long; a full disk cache or a loaded machine may take seconds.
TIMEOUT_SECONDS = 60.0
# Address space of the child: room for a 64-megapixel video, and far from a machine's memory.
_MEMORY = 6 << 30
_FRAME = struct.Struct("<qqii")
_LENGTH = struct.Struct("<i")
_PIPE_BYTES = 1 << 20
_SECONDS_BETWEEN_SIGNS = 1.0
_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = (sys.executable, "-c", "from preprocessing.media.decoder import serve; serve()")
_ENVIRONMENT = {
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS),
    # What is wrong with a file is said in the report.
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_LOG_LEVEL": "SILENT",
    # The child computes nothing; idle threads would only take address space.
    "OPENBLAS_NUM_THREADS": "1",
}


class Decoder:
    """Samples frames in child processes, which it starts when needed and keeps.

    Calls from several threads work side by side, each with a child of its own.

    Args:
      threads: threads a child decodes with; 0 leaves it to FFmpeg.
      timeout: seconds without any progress after which a child counts as hanging; None takes a
        minute.
      command: the child's command line.

    >>> with Decoder() as decoder:                                    # doctest: +SKIP
    ...     sizes = [frame.pixels.shape for frame in decoder.frames("clip.mp4", 32)]
    """

    def __init__(
        self,
        threads: int = 0,
        timeout: float | None = None,
        command: Sequence[str] | None = None,
    ):
        self._threads = threads
        self._timeout = TIMEOUT_SECONDS if timeout is None else timeout
        self._command = command
        self._idle: list[_Child] = []

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(
        self,
        path: str | Path,
        count: int,
        per_second: float = 0.0,
        indices: Sequence[int] | None = None,
    ) -> Iterator[Frame]:
        """As `preprocessing.media.video.sample_frames`, in a child process.

        Raises:
          UnreadableMedia: as there, or the decoder crashed or hung on the file.
        """
        try:
            child = self._idle.pop()
        except IndexError:
            child = _Child(self._command or _COMMAND, self._threads, self._timeout)
        finished = False
        try:
            child.ask({"path": str(path), "args": [count, per_second, indices]})
            yield from child.answer()
            finished = True
        except UnreadableMedia:
            finished = child.alive
            raise
        finally:
            # One that still has frames to send, because the caller had enough, is of no use.
            if finished:
                self._idle.append(child)
            else:
                child.kill()

    def close(self) -> None:
        """Ends the children."""
        while self._idle:
            self._idle.pop().kill()

    def __del__(self) -> None:
        self.close()


class _Child:
    """One child process and the conversation with it."""

    def __init__(self, command: Sequence[str], threads: int, timeout: float):
        environment = dict(os.environ, **_ENVIRONMENT)
        paths = [str(_ROOT), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        if threads:
            environment["OPENCV_FFMPEG_THREADS"] = str(threads)
        self._timeout = timeout
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment
        )
        self._output = self._process.stdout.fileno()
        with contextlib.suppress(OSError):  # Fewer switches between the two; a system may refuse.
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        try:
            ready = bytes(self._read(1)) == b"R"
        except UnreadableMedia:
            ready = False
        if not ready:
            self.kill()
            raise RuntimeError(f"the decoder process did not start: {' '.join(command)}")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict) -> None:
        try:
            self._process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
        except BrokenPipeError as error:
            raise UnreadableMedia(self._crash()) from error

    def answer(self) -> Iterator[Frame]:
        while (tag := bytes(self._read(1))) != b"D":
            if tag == b"F":
                index, milliseconds, height, width = _FRAME.unpack(self._read(_FRAME.size))
                pixels = self._read(height * width * 3).reshape(height, width, 3)
                yield Frame(index, milliseconds, pixels)
            elif tag == b"U":
                (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
                raise UnreadableMedia(self._read(length).tobytes().decode())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _read(self, size: int) -> np.ndarray:
        """The next bytes, uint8 [size]."""
        data = np.empty(size, np.uint8)
        view, got = memoryview(data), 0
        while got < size:
            if not self._poll.poll(self._timeout * 1000):
                self.kill()
                raise UnreadableMedia(f"the decoder hung: no progress in {self._timeout:g} s")
            read = os.readv(self._output, [view[got:]])
            if not read:
                raise UnreadableMedia(self._crash())
            got += read
        return data

    def _crash(self) -> str:
        status = self._process.wait()
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"the decoder crashed ({name})"


def serve() -> None:
    """What the child does: answers requests until its input ends."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Native code prints to descriptor 1, which must carry nothing but messages.
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    _send(output, b"R")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _serve(output, request["path"], *request["args"])


def _serve(
    output: BinaryIO, path: str, count: int, per_second: float, indices: list[int] | None
) -> None:
    last_sign = time.monotonic()

    def sign() -> None:
        nonlocal last_sign
        if time.monotonic() - last_sign > _SECONDS_BETWEEN_SIGNS:
            _send(output, b".")
            last_sign = time.monotonic()

    try:
        for frame in sample_frames(path, count, per_second, indices, tick=sign):
            head = _FRAME.pack(frame.index, frame.timestamp_ms, *frame.pixels.shape[:2])
            _send(output, b"F" + head, frame.pixels.reshape(-1))
        _send(output, b"D")
    except UnreadableMedia as error:
        _refuse(output, str(error))
    except (cv2.error, MemoryError, ValueError, ArithmeticError, OSError) as error:
        _refuse(output, f"the decoder failed: {getattr(error, 'err', '') or type(error).__name__}")


def _refuse(output: BinaryIO, reason: str) -> None:
    text = reason.encode("utf-8", "replace")
    _send(output, b"U" + _LENGTH.pack(len(text)), text)


def _send(output: BinaryIO, *parts: bytes | np.ndarray) -> None:
    for part in parts:
        view = memoryview(part)
        while len(view):
            view = view[output.write(view) :]


def _leave_with(parent: int) -> None:
    # A killed parent closes the pipe, which nobody looks at while a decoder hangs.
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_SIGNS)
    os._exit(1)
