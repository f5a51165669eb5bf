"""Frames out of media files: evenly sampled, upright, RGB, one at a time.

Containers lie about their frame count, frame rate and timing, so what they state is not used: a
pass over the packets, which decodes nothing, counts the frames and finds the key frames.

This module decodes in the calling process. Files from elsewhere can crash or stall a decoder:
`preprocessing.media.decoder` runs this in a child process.
"""

from __future__ import annotations

import bisect
import dataclasses
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from preprocessing.datasets.clip import IMAGE_ENDINGS
from preprocessing.media.errors import UnreadableMedia

# Larger frames are refused: decoding one would take gigabytes, and no camera makes them.
MAX_PIXELS = 64_000_000
# OpenCV jumps to the last key frame that is at least this many frames before the target.
_JUMP_LEAD = 16
# Fewer frames are decoded as fast as the decoder is flushed and filled again.
_SHORTEST_JUMP = 16
# How the containers of VIDEO_ENDINGS begin, as (offset, bytes). FFmpeg also opens playlists and
# session descriptions, which name other files and hosts; those are not media.
_CONTAINERS = (
    *((4, b) for b in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp")),
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    (0, b"FLV"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF, WMV
    (0, b"\x00\x00\x01"),  # MPEG program and elementary streams
    (188, b"\x47"),  # MPEG transport stream
    (196, b"\x47"),  # the same with time codes
)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
      index: its number in the clip, from 0.
      timestamp_ms: its presentation time in milliseconds (0 for pictures).
      pixels: uint8 [height, width, 3], RGB, upright.
    """

    index: int
    timestamp_ms: int
    pixels: np.ndarray


def sample_frames(
    path: str | Path,
    count: int,
    per_second: float = 0.0,
    indices: Sequence[int] | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[Frame]:
    """Yields frames evenly spread over the clip, in order.

    The clip is divided into equal parts and the middle frame of each is taken, so that fades at
    the very beginning and end are avoided. Clips with fewer frames give all of them. Pictures
    give one. Where decoding ends early, the frames up to there come.

    Args:
      path: a video or picture file.
      count: how many frames are wanted, at least 1.
      per_second: when above 0, this many frames for each second of the clip are wanted instead,
        and at most `count`.
      indices: the numbers of the frames that are wanted, rising, instead of evenly spread ones.
      tick: called before each step of decoding, so that a watcher knows that there is progress.

    Yields:
      Frames with increasing index.

    Raises:
      UnreadableMedia: the file is no regular file, is empty or not decodable, or holds no frame.
    """
    path = Path(os.path.abspath(path))
    _check_file(path)
    if path.suffix.lower() in IMAGE_ENDINGS:
        tick()
        yield _read_image(path)
        return
    _check_container(path)
    packets = _scan(path, tick)
    count = packets.wanted(count, per_second)
    wanted = middles(packets.total, count) if indices is None else indices
    some = False
    for passed, frame in _decode(path, packets, wanted, tick):
        if frame is not None:
            yield frame
            some = True
        elif not passed:
            raise UnreadableMedia("no frame can be decoded")
        elif not some and indices is None:
            # Decoding ended before the first wanted frame: what is there is sampled instead.
            again = _decode(path, packets, middles(passed, count), tick)
            yield from (frame for _, frame in again if frame is not None)


def middles(total: int, count: int) -> list[int]:
    """Numbers of the frames in the middle of `count` equal parts of `total` frames."""
    count = min(total, count)
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]


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

    def wanted(self, count: int, per_second: float) -> int:
        if not per_second or not self.seconds:
            return count
        return max(1, min(count, round(self.seconds * per_second)))


def _scan(path: Path, tick: Callable[[], None]) -> _Packets:
    # With FORMAT -1 packets are handed out as they are: about 10 microseconds each.
    capture = _open(path, [cv2.CAP_PROP_FORMAT, -1])
    stamps: list[float] = []
    keys: list[float] = []
    while capture.grab():
        tick()
        stamps.append(capture.get(cv2.CAP_PROP_PTS))
        if capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME):
            keys.append(stamps[-1])
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    if not stamps:
        raise UnreadableMedia("it holds no video frame")
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
    wanted: Sequence[int],
    tick: Callable[[], None],
) -> Iterator[tuple[int, Frame | None]]:
    """Yields (frames passed so far, frame) for each wanted frame, or (frames there are, None)."""
    capture = _open(path)
    try:
        position = 0
        for number, index in enumerate(wanted):
            tick()
            jump = _key_before(packets.keys, index - _JUMP_LEAD) > position + _SHORTEST_JUMP
            if jump and capture.set(cv2.CAP_PROP_POS_FRAMES, index):
                position = index
            while position <= index:
                tick()
                if not capture.grab():
                    yield position, None
                    return
                position += 1
            if jump and capture.get(cv2.CAP_PROP_PTS) != packets.first + index:
                # It landed elsewhere: the rest is decoded from the beginning, without jumps.
                steps = dataclasses.replace(packets, keys=())
                yield from _decode(path, steps, wanted[number:], tick)
                return
            milliseconds = max(0, round(capture.get(cv2.CAP_PROP_POS_MSEC)))
            ok, pixels = capture.retrieve()
            if ok:
                yield position, Frame(index, milliseconds, _to_rgb(pixels))
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
        raise UnreadableMedia("it holds no video that can be decoded")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # On by default in some versions only.
    width, height = (capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MAX_PIXELS:
        capture.release()
        raise UnreadableMedia(f"its frames of {width:.0f}x{height:.0f} pixels are too large")
    return capture


def _check_file(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UnreadableMedia("its name is not UTF-8; rename it") from error
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise UnreadableMedia(f"it is {kind}")
        if status.st_size == 0:
            raise UnreadableMedia("the file is empty")
        with path.open("rb"):
            pass
    except OSError as error:
        raise UnreadableMedia(f"the file cannot be opened: {error.strerror}") from error


def _check_container(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(256)
    if not any(head[at : at + len(mark)] == mark for at, mark in _CONTAINERS):
        raise UnreadableMedia("it is no video file: it begins like none")


def _read_image(path: Path) -> Frame:
    try:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error as error:  # More pixels than OPENCV_IO_MAX_IMAGE_PIXELS, for one.
        raise UnreadableMedia(f"the picture cannot be decoded: {error.err}") from error
    if pixels is None:
        raise UnreadableMedia("the picture cannot be decoded")
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise UnreadableMedia(f"its {pixels.shape[1]}x{pixels.shape[0]} pixels are too large")
    return Frame(0, 0, _to_rgb(pixels))


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
