"""The decoding child process, which `preprocessing.media.decoder` starts."""

from __future__ import annotations

# Nothing can be imported once the sandbox is entered. Texts in pictures come in these encodings.
import encodings.ascii
import encodings.cp1252
import encodings.latin_1
import encodings.utf_16
import encodings.utf_16_be
import encodings.utf_16_le  # noqa: F401
import importlib
import json
import os
import pkgutil
import resource
import socket
import threading
import time
from collections import deque
from typing import Any, BinaryIO

import av
import numpy as np

from preprocessing.media.decoder import FRAME, LENGTH
from preprocessing.media.frame import FrameRequest, MediaInfo
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia
from preprocessing.media.sandbox import enter, proof
from preprocessing.media.video import sample_file

# Address space: room for a 64-megapixel video, and far from a machine's memory.
MEMORY = 6 << 30
_DESCRIPTORS = 64
_MOST_REQUEST = 1 << 24
_SECONDS_BETWEEN_SIGNS = 1.0
# Bytes of decoded frames that wait for the parent: 12 of 1280x720 pixels.
_AHEAD = 32 << 20


def serve(memory: int = MEMORY) -> None:
    """Answers requests until the parent is gone.

    Args:
      memory: bytes of address space that this process may have.
    """
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Native code prints to descriptor 1, which must carry nothing but messages.
    file_output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    requests = socket.socket(fileno=0)
    for module in pkgutil.walk_packages(av.__path__, "av."):  # PyAV imports some when first used.
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    active = enter()
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    output = _Output(file_output)
    output.send(b"R")
    while (received := _receive(requests)) is not None:
        request, descriptor = received
        if descriptor is None:
            output.send_text(b"I", json.dumps({"active": active, "refused": proof()}))
            output.send(b"D")
        else:
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                _serve(output, file, request)


class _Output:
    """Sends messages from a thread of its own, so that decoding goes on while the parent is busy.

    Messages wait in memory up to `_AHEAD` bytes, or one message; then `send` waits.

    Args:
      file: unbuffered.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._parts: deque[memoryview] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._write, daemon=True).start()

    def send(self, *parts: bytes | np.ndarray) -> None:
        """Sends a message; its parts are not to be changed afterwards."""
        views = [memoryview(part) for part in parts]
        size = sum(view.nbytes for view in views)
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._waiting + size <= _AHEAD)
            self._parts.extend(views)
            self._waiting += size
            self._changed.notify_all()

    def send_text(self, tag: bytes, text: str) -> None:
        """Sends a message with a text."""
        data = text[:8000].encode("utf-8", "replace")
        self.send(tag + LENGTH.pack(len(data)), data)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._parts)
                view = self._parts.popleft()
            size = view.nbytes
            try:
                while len(view):
                    view = view[self._file.write(view) :]
            except OSError:  # Nobody reads what is sent.
                os._exit(1)
            with self._changed:
                self._waiting -= size
                self._changed.notify_all()


def _serve(output: _Output, file: BinaryIO, request: dict[str, Any]) -> None:
    last_sign = time.monotonic()

    def sign() -> None:
        nonlocal last_sign
        if time.monotonic() - last_sign > _SECONDS_BETWEEN_SIGNS:
            output.send(b".")
            last_sign = time.monotonic()

    def tell(info: MediaInfo) -> None:
        notes = [note[:500] for note in info.notes[:20]]
        description = {
            "kind": info.kind,
            "codec": info.codec,
            "frames": info.frames,
            "notes": notes,
        }
        output.send_text(b"I", json.dumps(description))

    frame_request, limits = FrameRequest(*request["args"]), Limits(**request["limits"])
    try:
        for frame in sample_file(file, frame_request, limits, request["threads"], sign, tell):
            head = FRAME.pack(frame.index, frame.timestamp_ms, *frame.pixels.shape[:2])
            output.send(b"F" + head, frame.pixels.reshape(-1))
        output.send(b"D")
    except UnreadableMedia as error:
        output.send_text(b"U", str(error))
    except DecodingFailed as error:
        output.send_text(b"X", str(error))
    except MemoryError:
        output.send_text(b"X", "the decoder ran out of memory")
    except (ValueError, ArithmeticError, LookupError) as error:
        output.send_text(b"U", f"it cannot be decoded: {type(error).__name__}: {error}")
    except (OSError, RuntimeError, ImportError) as error:
        output.send_text(b"X", f"the decoder failed: {type(error).__name__}: {error}")


def _receive(requests: socket.socket) -> tuple[dict[str, Any], int | None] | None:
    """The next request and the file that it is about; None when there will be none."""
    head, descriptors, _, _ = socket.recv_fds(requests, LENGTH.size, 1)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = bytearray()
    while len(body) < min(length, _MOST_REQUEST):
        part = requests.recv(length - len(body))
        if not part:
            return None
        body += part
    return json.loads(body), descriptors[0] if descriptors else None


def _limit(resource_kind: int, value: int) -> None:
    _, hard = resource.getrlimit(resource_kind)
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(resource_kind, (soft, soft))


def _leave_with(parent: int) -> None:
    # A killed parent closes the socket, which nobody looks at while a decoder hangs.
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_SIGNS)
    os._exit(1)
