"""A decoding child that misbehaves as C libraries do, when a file ends with a certain word."""

from __future__ import annotations

import ctypes
import sys
import time

import numpy as np

from preprocessing.media import child
from preprocessing.media.decoder import FRAME, LENGTH
from preprocessing.media.frame import Frame

_real = child.sample_file


def serve() -> None:
    """As the real child's, with faults."""
    child.sample_file = _sample
    child.serve()


def _sample(file, request, limits, threads, tick, tell):
    file.seek(-16, 2)
    word = file.read(16)
    for fault, misbehave in _FAULTS.items():
        if word.endswith(fault):
            yield from misbehave(tick) or ()
            return
    yield from _real(file, request, limits, threads, tick, tell)


def _crash(tick):
    ctypes.memset(0, 1, 8)


def _hang(tick):
    # Holds on to the interpreter, so that no Python code of this process runs any more.
    ctypes.PyDLL(None).sleep(1000)


def _greedy(tick):
    bytearray(1 << 40)


def _signs(tick):
    for _ in range(1000):
        _say(b".")
        time.sleep(0.01)
    time.sleep(1000)


def _vast(tick):
    _say(b"F" + FRAME.pack(0, 0, 1 << 30, 1 << 30))
    time.sleep(1000)


def _negative(tick):
    _say(b"F" + FRAME.pack(0, 0, -5, -5))
    time.sleep(1000)


def _backwards(tick):
    yield Frame(3, 0, np.zeros((2, 2, 3), np.uint8))
    yield Frame(2, 0, np.zeros((2, 2, 3), np.uint8))


def _epic(tick):
    _say(b"U" + LENGTH.pack(-1))
    time.sleep(1000)


def _listing(tick):
    _say(b"I" + LENGTH.pack(2) + b"[]" + b"D")
    time.sleep(1000)


def _wordy(tick):
    text = b'{"kind": "MP4", "codec": "", "frames": "many", "notes": [5]}'
    _say(b"I" + LENGTH.pack(len(text)) + text + b"D")
    time.sleep(1000)


def _nested(tick):
    text = b"[" * 30_000
    _say(b"I" + LENGTH.pack(len(text)) + text)
    time.sleep(1000)


def _babble(tick):
    _say(b"Once upon a time")
    time.sleep(1000)


def _say(data: bytes) -> None:
    # The child keeps its output on the lowest free descriptor.
    import os

    os.write(_output(), data)


def _output() -> int:
    import os
    import stat

    for number in range(3, 32):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                return number
        except OSError:
            continue
    sys.exit("there is no pipe")


_FAULTS = {
    b"crash": _crash,
    b"hang": _hang,
    b"greedy": _greedy,
    b"signs": _signs,
    b"vast": _vast,
    b"negative": _negative,
    b"backwards": _backwards,
    b"epic": _epic,
    b"babble": _babble,
    b"listing": _listing,
    b"wordy": _wordy,
    b"nested": _nested,
}
