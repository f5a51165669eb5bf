"""Films through PyAV: FFmpeg's demuxers and decoders, fed from an open file.

The demuxer is named, never probed, and whatever it would open besides the file is refused, so a
film can name other files in vain. The picture that comes out is the one that players show: of the
stream that they choose, cropped, with square pixels, turned upright, deinterlaced. Colours are
converted by FFmpeg's swscale with the matrix and range that the frame is tagged with; untagged
frames count as BT.601 with limited range, which is swscale's rule. High dynamic range is not tone
mapped.
"""

from __future__ import annotations

import array
import dataclasses
import fractions
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import av
import numpy as np
from av.stream import Discard, Disposition

from preprocessing.media.container import Kind
from preprocessing.media.cropping import boxes
from preprocessing.media.display import Display
from preprocessing.media.errors import UnreadableMedia
from preprocessing.media.frame import Frame, MediaInfo, Request, middles
from preprocessing.media.limits import Limits
from preprocessing.media.source import Watched

# Fewer frames are decoded as fast as the decoder is flushed and filled again.
_SHORTEST_JUMP = 16
# Bytes read at a time.
_BUFFER = 1 << 17
_NO_FILM = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
_REMEDY = "convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
_NO_KEYS = np.empty(0, np.int64)


class Film:
    """One film, read from an open file.

    Args:
      file: at any position; read and seeked.
      kind: what it is, see `container.identify`.
      limits: beyond which it is refused.
      threads: that decode; 0 leaves it to FFmpeg.
      tick: called before each step, so that a watcher knows that there is progress.

    Raises:
      UnreadableMedia: it holds no film that can be decoded, or is beyond a limit.
      DecodingFailed: reading the file failed.
    """

    def __init__(
        self,
        file: Watched,
        kind: Kind,
        limits: Limits,
        threads: int = 0,
        tick: Callable[[], None] = lambda: None,
    ):
        self._file = file
        self._kind = kind
        self._limits = limits
        self._threads = threads
        self._tick = tick
        self._notes: list[str] = []
        self._crops = boxes(file, kind.demuxer)
        with self._open() as opened:
            self._packets, self._stream_index = self._scan(opened)
            self._codec = opened.streams[self._stream_index].codec_context.codec.canonical_name

    @property
    def info(self) -> MediaInfo:
        """What is known so far; complete when all frames were taken."""
        notes = tuple(dict.fromkeys(self._notes))
        return MediaInfo(self._kind.name, self._codec, self._packets.total, notes)

    def frames(self, request: Request) -> Iterator[Frame]:
        """Yields the wanted frames, in order; where decoding ends early, those up to there.

        Raises:
          UnreadableMedia: no frame can be decoded, or a frame is beyond the limits.
          DecodingFailed: reading the file failed.
        """
        packets = self._packets
        count = packets.wanted(request.count, request.per_second)
        wanted = middles(packets.total, count) if request.indices is None else request.indices
        exact = request.indices is not None
        some = 0
        if packets.ordered is not None:
            for frame in self._by_time(wanted, exact):
                yield frame
                some += 1
        if not some:
            for frame in self._by_number(wanted, None if exact else count):
                yield frame
                some += 1
        expected = sum(index < packets.total for index in wanted)
        if some < expected and not exact:
            self._notes.append(f"{expected - some} of {expected} frames could not be decoded")

    def _open(self, options: dict[str, str] | None = None) -> av.container.InputContainer:
        self._file.seek(0)
        try:
            return av.open(
                self._file,
                format=self._kind.demuxer,
                options=options or {"max_pixels": str(self._limits.pixels)},
                buffer_size=_BUFFER,
                io_open=_refuse_to_open,
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, ValueError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> UnreadableMedia:
        _raise_passing(self._file, error)
        return UnreadableMedia(
            f"it begins like {self._kind.name}, but holds no video that can be decoded; "
            "it is damaged or cut off"
        )

    def _scan(self, opened: av.container.InputContainer) -> tuple[_Packets, int]:
        """Counts the packets of each stream that may be the film, and chooses one."""
        candidates = {}
        for stream in opened.streams:
            if stream.type == "video" and not stream.disposition & _NO_FILM:
                candidates[stream.index] = _Times()
            else:
                stream.discard = Discard.all
        if not candidates:
            covers = any(stream.type == "video" for stream in opened.streams)
            what = "only a cover picture or thumbnails" if covers else "no video stream"
            raise UnreadableMedia(
                f"its {self._kind.name} container holds {what}; it holds no video that can be "
                "decoded"
            )
        self._collect(opened, candidates)
        chosen = max(
            candidates,
            key=lambda index: _rank(opened.streams[index], candidates[index]),
        )
        stream = opened.streams[chosen]
        self._check(stream)
        packets = candidates[chosen].packets(stream)
        if not packets.total:
            raise UnreadableMedia("it holds no video frame")
        limit = self._limits.seconds
        if limit is not None and packets.seconds > limit:
            raise UnreadableMedia(f"it plays for {packets.seconds:.0f} s; the limit is {limit:g} s")
        others = sum(times.total > 1 for index, times in candidates.items() if index != chosen)
        if others:
            self._notes.append(
                f"it holds {others + 1} video streams; stream {chosen}, which players show, was "
                "read"
            )
        return packets, chosen

    def _collect(self, opened: av.container.InputContainer, streams: dict[int, _Times]) -> None:
        left = self._limits.packets
        try:
            for packet in opened.demux([opened.streams[index] for index in streams]):
                self._tick()
                if not packet.size:
                    continue
                streams[packet.stream_index].add(packet)
                left -= 1
                if left < 0:
                    raise UnreadableMedia(
                        f"it holds more than {self._limits.packets} video packets, the limit"
                    )
        except (av.error.FFmpegError, OSError) as error:
            _raise_passing(self._file, error)
            self._notes.append("it is damaged or cut off; what comes after that is not read")

    def _check(self, stream: av.video.stream.VideoStream) -> None:
        context = stream.codec_context
        if context is None:
            raise UnreadableMedia(
                f"its video is coded as {stream.codec_tag or 'an unknown format'!r}, for which "
                f"this FFmpeg has no decoder; {_REMEDY}"
            )
        if context.width and context.height:
            self._check_size(context.width, context.height)
            return
        # FFmpeg has refused the first frame. Without a decoder, what the header states remains.
        with self._open({"codec_whitelist": "none"}) as stated:
            if stream.index < len(stated.streams):
                context = stated.streams[stream.index].codec_context
                self._check_size(context.width, context.height)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._limits.pixels:
            raise UnreadableMedia(
                f"its frames of {width}x{height} pixels are too large; the limit is "
                f"{self._limits.pixels} pixels"
            )

    def _reader(self) -> _Reader:
        opened = self._open()
        stream = opened.streams[self._stream_index]
        for other in opened.streams:
            if other.index != self._stream_index:
                other.discard = Discard.all
        context = stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = self._threads
        context.options = {"max_pixels": str(self._limits.pixels)}
        return _Reader(opened, stream, self._file, self._tick)

    def _shown(self, frame: av.VideoFrame, display: Display, index: int) -> Frame | None:
        width, height = display.size(frame)
        self._check_size(width, height)
        try:
            pixels = display.pixels(frame)
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError):
            return None
        return Frame(index, self._packets.milliseconds(frame, index), pixels)

    def _display(self, reader: _Reader) -> Display:
        crop = self._crops.get(self._stream_index)
        return Display(reader.stream, crop, self._notes)

    def _by_time(self, wanted: Sequence[int], exact: bool) -> Iterator[Frame]:
        """Frames found by their time stamps, with jumps to key frames on the way.

        A frame that cannot be decoded is replaced by the next one, unless `exact`.
        """
        packets = self._packets
        targets = [int(packets.ordered[index]) for index in wanted if index < packets.total]
        last = -1
        with self._reader() as reader:
            display = self._display(reader)
            decoded = reader.frames(0)
            for number, target in enumerate(targets):
                key = packets.key_before(wanted[number])
                if key is not None and key.number > last + _SHORTEST_JUMP:
                    if not reader.jump(key):
                        # It landed elsewhere: decode from the beginning, without jumps.
                        reader.close()
                        self._packets = dataclasses.replace(packets, keys=_NO_KEYS)
                        yield from self._by_time(wanted[number:], exact)
                        return
                    decoded = reader.frames(target)
                reader.target = target
                frame = _first_from(decoded, target)
                if frame is None:
                    return
                following = targets[number + 1 : number + 2]
                if frame.pts != target and (exact or (following and frame.pts >= following[0])):
                    decoded = itertools.chain([frame], decoded)
                    continue
                last = packets.number_at(frame.pts)
                shown = self._shown(frame, display, last)
                if shown is not None:
                    yield shown

    def _by_number(self, wanted: Sequence[int], count: int | None) -> Iterator[Frame]:
        """Frames found by counting what is decoded, for films without usable time stamps.

        Where decoding ends before the first wanted frame, the frames that are there are sampled
        instead, `count` of them.
        """
        passed = 0
        some = False
        with self._reader() as reader:
            display = self._display(reader)
            left = iter(wanted)
            index = next(left, None)
            for frame in reader.frames(None):
                if index is None:
                    return
                if passed == index:
                    shown = self._shown(frame, display, index)
                    if shown is not None:
                        yield shown
                        some = True
                    index = next(left, None)
                passed += 1
        if not passed:
            raise UnreadableMedia(
                f"no frame can be decoded of its video, which is coded as {self._codec}; "
                f"if players show it, {_REMEDY}"
            )
        if not some and count is not None:
            yield from self._by_number(middles(passed, count), None)


class _Times:
    """Time stamps and key frames of one stream's packets, in 17 bytes each."""

    def __init__(self):
        self.presentation = array.array("q")
        self.decoding = array.array("q")
        self.keys = bytearray()
        self.complete = True

    @property
    def total(self) -> int:
        return len(self.keys)

    def add(self, packet: av.Packet) -> None:
        if packet.is_discard:  # An edit list cuts it off; the decoder gives no frame for it.
            return
        if packet.pts is None:
            self.complete = False
        self.presentation.append(0 if packet.pts is None else packet.pts)
        self.decoding.append(self.presentation[-1] if packet.dts is None else packet.dts)
        self.keys.append(packet.is_keyframe)

    def packets(self, stream: av.video.stream.VideoStream) -> _Packets:
        stamps = np.frombuffer(self.presentation, np.int64)
        order = np.argsort(stamps, kind="stable")
        ordered = stamps[order]
        usable = self.complete and bool((np.diff(ordered) > 0).all())
        keys = _NO_KEYS
        if usable:
            keys = np.flatnonzero(np.frombuffer(self.keys, np.uint8)[order])
        rate = stream.average_rate or stream.guessed_rate
        frame_seconds = 1 / float(rate) if rate and 0.1 <= float(rate) <= 1000 else 0.0
        time_base = stream.time_base or fractions.Fraction(1, 1000)
        seconds = 0.0
        if usable and len(ordered):
            seconds = float((int(ordered[-1]) - int(ordered[0])) * time_base) + frame_seconds
        elif frame_seconds:
            seconds = self.total * frame_seconds
        return _Packets(
            self.total,
            ordered if usable else None,
            np.frombuffer(self.decoding, np.int64)[order],
            keys,
            seconds,
            time_base,
            frame_seconds,
        )


@dataclasses.dataclass(frozen=True)
class _Key:
    """A key frame: its number, and its presentation and decoding time stamps."""

    number: int
    pts: int
    dts: int


@dataclasses.dataclass(frozen=True)
class _Packets:
    """What the packets of a film say.

    Attributes:
      total: number of frames.
      ordered: int64 [total], presentation time stamps, rising; None where they are of no use.
      decoding: int64 [total], decoding time stamps, in the same order.
      keys: int64, numbers of the key frames, rising; empty where frames are not reached by jumps.
      seconds: how long it plays; 0 when unknown.
      time_base: seconds of one unit of a time stamp.
      frame_seconds: of one frame by the stated rate; 0 when unknown.
    """

    total: int
    ordered: np.ndarray | None
    decoding: np.ndarray
    keys: np.ndarray
    seconds: float
    time_base: fractions.Fraction
    frame_seconds: float

    def wanted(self, count: int, per_second: float) -> int:
        if not per_second or not self.seconds:
            return count
        return max(1, min(count, round(self.seconds * per_second)))

    def key_before(self, index: int) -> _Key | None:
        after = int(np.searchsorted(self.keys, index, side="right"))
        if not after:
            return None
        number = int(self.keys[after - 1])
        return _Key(number, int(self.ordered[number]), int(self.decoding[number]))

    def number_at(self, stamp: int) -> int:
        """The number of the last frame that begins at or before a time stamp."""
        return max(0, int(np.searchsorted(self.ordered, stamp, side="right")) - 1)

    def milliseconds(self, frame: av.VideoFrame, index: int) -> int:
        if self.ordered is None or frame.pts is None:
            return round(index * self.frame_seconds * 1000)
        return max(0, round((frame.pts - int(self.ordered[0])) * self.time_base * 1000))


class _Reader:
    """An opened film at a position.

    Attributes:
      stream: that is decoded.
      target: time stamp of the frame that is wanted next; frames before it that no other one
        refers to need not be decoded.
    """

    def __init__(self, opened, stream, file: Watched, tick: Callable[[], None]):
        self.stream = stream
        self.target: int | None = None
        self._opened = opened
        self._file = file
        self._tick = tick
        self._first: av.Packet | None = None
        self._packets = opened.demux(stream)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def jump(self, key: _Key) -> bool:
        """Goes to a key frame; says whether it came to stand exactly there."""
        self._first = None
        try:
            self._opened.seek(key.dts, stream=self.stream, backward=True)
            self._packets = self._opened.demux(self.stream)
            for packet in self._packets:
                self._tick()
                if not packet.size or packet.pts is None:
                    return False
                if packet.pts == key.pts:
                    self._first = packet
                    return True
                if packet.dts is None or packet.dts > key.dts:
                    return False
        except (av.error.FFmpegError, OSError) as error:
            _raise_passing(self._file, error)
        return False

    def frames(self, target: int | None) -> Iterator[av.VideoFrame]:
        """Decodes from here on; frames that are damaged beyond decoding do not come."""
        self.target = target
        context = self.stream.codec_context
        if self._first is not None:
            first, self._first = self._first, None
            yield from self._decode(context, first)
        while True:
            self._tick()
            try:
                packet = next(self._packets, None)
            except (av.error.FFmpegError, OSError) as error:
                _raise_passing(self._file, error)
                packet = None
            if packet is None or not packet.size:
                yield from self._decode(context, None)
                return
            yield from self._decode(context, packet)

    def _decode(self, context, packet: av.Packet | None) -> list[av.VideoFrame]:
        if packet is not None and self.target is not None:
            early = packet.pts is not None and packet.pts < self.target
            context.skip_frame = "NONREF" if early else "DEFAULT"
        try:
            return context.decode(packet)
        except EOFError:
            return []
        except (av.error.FFmpegError, ValueError) as error:
            _raise_passing(self._file, error)
            return []


def _raise_passing(file: Watched, error: Exception) -> None:
    """Raises where a call failed for a reason that is not the file's content."""
    file.check()
    if isinstance(error, MemoryError):
        raise error


def _refuse_to_open(url: str, flags: int, options: dict) -> BinaryIO:
    raise PermissionError("a film may not open other files")


def _rank(stream: av.video.stream.VideoStream, times: _Times) -> tuple[bool, bool, int, int, int]:
    """Players take the default stream; a still one beside a moving one is a cover."""
    context = stream.codec_context
    area = context.width * context.height if context is not None else 0
    default = bool(stream.disposition & Disposition.default)
    return times.total > 1, default, area, times.total, -stream.index


def _first_from(decoded: Iterator[av.VideoFrame], target: int) -> av.VideoFrame | None:
    """The first frame at or after a time stamp."""
    for frame in decoded:
        if frame.pts is not None and frame.pts >= target:
            return frame
    return None
