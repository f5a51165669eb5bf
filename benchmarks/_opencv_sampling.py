"""Sampling as it was before PyAV: OpenCV's VideoCapture. Only for `benchmarks.decoding`."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from preprocessing.media.frame import Frame, middles

# OpenCV jumps to the last key frame that is at least this many frames before the target.
_JUMP_LEAD = 16
# Fewer frames are decoded as fast as the decoder is flushed and filled again.
_SHORTEST_JUMP = 16


def sample_frames(path: str | Path, count: int) -> Iterator[Frame]:
    """Yields `count` frames evenly spread over a film that is sound."""
    packets = _scan(Path(path))
    for _, frame in _decode(Path(path), packets, middles(packets.total, count)):
        if frame is not None:
            yield frame


@dataclasses.dataclass(frozen=True)
class _Packets:
    """What the packets of a video say.

    Attributes:
      total: number of frames.
      first: time stamp of the first frame, in frames.
      keys: numbers of the key frames, rising; empty where frames cannot be addressed by time.
      seconds: how long it plays; 0 when unknown.
    """

    total: int
    first: float
    keys: tuple[int, ...]
    seconds: float


def _scan(path: Path) -> _Packets:
    # With FORMAT -1 packets are handed out as they are: about 10 microseconds each.
    capture = _open(path, [cv2.CAP_PROP_FORMAT, -1])
    stamps: list[float] = []
    keys: list[float] = []
    while capture.grab():
        stamps.append(capture.get(cv2.CAP_PROP_PTS))
        if capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME):
            keys.append(stamps[-1])
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    ordered = sorted(stamps)
    # OpenCV counts time stamps in frames; only a constant frame rate makes them frame numbers.
    steady = ordered == [ordered[0] + number for number in range(len(ordered))]
    numbers = tuple(sorted(int(key - ordered[0]) for key in keys)) if steady else ()
    span = ordered[-1] - ordered[0] + 1
    seconds = span / rate if 0.1 <= rate <= 1000 and span >= 1 else 0.0
    return _Packets(len(stamps), ordered[0], numbers, seconds)


def _decode(
    path: Path,
    packets: _Packets,
    indices: Sequence[int],
) -> Iterator[tuple[int, Frame | None]]:
    """Yields (frames passed so far, frame) for each wanted frame, or (frames there are, None)."""
    capture = _open(path)
    try:
        position = 0
        for number, index in enumerate(indices):
            jump = _key_before(packets.keys, index - _JUMP_LEAD) > position + _SHORTEST_JUMP
            if jump and capture.set(cv2.CAP_PROP_POS_FRAMES, index):
                position = index
            while position <= index:
                if not capture.grab():
                    yield position, None
                    return
                position += 1
            if jump and capture.get(cv2.CAP_PROP_PTS) != packets.first + index:
                # It landed elsewhere: the rest is decoded from the beginning, without jumps.
                steps = dataclasses.replace(packets, keys=())
                yield from _decode(path, steps, indices[number:])
                return
            milliseconds = max(0, round(capture.get(cv2.CAP_PROP_POS_MSEC)))
            ok, pixels = capture.retrieve()
            if ok:
                yield position, Frame(index, milliseconds, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()


def _key_before(keys: tuple[int, ...], index: int) -> int:
    """The last of `keys` that is not after `index`; 0 without one."""
    after = bisect.bisect_right(keys, index)
    return keys[after - 1] if after else 0


def _open(path: Path, parameters: Sequence[int] = ()) -> cv2.VideoCapture:
    # FFmpeg by name: other backends read a '%' in a name as a pattern of pictures.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, list(parameters))
    if not capture.isOpened():
        raise SystemExit(f"OpenCV cannot open {path}")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # On by default in some versions only.
    return capture
