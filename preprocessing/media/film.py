"""Films through PyAV: FFmpeg's demuxers and decoders, fed from an open file.

The demuxer is named, never probed, and whatever it would open besides the file is refused, so a
film can name other files in vain. The picture that comes out is the one that players show: of the
stream that they choose, cropped, with square pixels, turned upright, deinterlaced. Colours are
converted by FFmpeg's swscale with the matrix and range that the frame is tagged with; untagged
frames count as BT.601 with limited range, which is swscale's rule. High dynamic range is not tone
mapped.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, cast

import av
from av.stream import Discard, Disposition

from preprocessing.media.container import Kind
from preprocessing.media.display import Display
from preprocessing.media.frame import Frame, FrameRequest, MediaInfo, middles
from preprocessing.media.headers import Header, read_headers
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import UnreadableMedia
from preprocessing.media.packets import NO_KEYS, Packets, PacketTimes
from preprocessing.media.reader import FilmReader, raise_passing
from preprocessing.media.source import Watched

# Fewer frames are decoded as fast as the decoder is flushed and filled again.
_SHORTEST_JUMP = 16
# Bytes read at a time.
_BUFFER = 1 << 17
_NO_FILM = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
# Of others, FFmpeg's duration comes from what is there: the last time stamps, or the size.
_STATING_SECONDS = frozenset(("matroska", "mov", "flv", "asf"))
# Containers without presentation times (AVI), or with what is none in some files (ASF), and codecs
# whose packets FFmpeg then stamps as they are stored, whatever the order of their frames.
_WITHOUT_TIMES = frozenset(("avi", "asf"))
_REORDERED = frozenset(("h264", "hevc"))
_REMEDY = "convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"


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
        self._headers = read_headers(file, kind.demuxer)
        with self._open() as container:
            self._packets, self._stream_index = self._scan(container)
            context = _video(container, self._stream_index).codec_context
            self._sized = bool(context.width)
            self._codec = context.codec.canonical_name

    @property
    def info(self) -> MediaInfo:
        """What is known so far; complete when all frames were taken."""
        notes = tuple(dict.fromkeys(self._notes))
        return MediaInfo(self._kind.name, self._codec, self._packets.total, notes)

    def frames(self, request: FrameRequest) -> Iterator[Frame]:
        """Yields the wanted frames, in order; where decoding ends early, those up to there.

        Raises:
          UnreadableMedia: no frame can be decoded, or a frame is beyond the limits.
          DecodingFailed: reading the file failed.
        """
        packets = self._packets
        count = packets.wanted(request.count, request.per_second)
        indices = middles(packets.total, count) if request.indices is None else request.indices
        exact = request.indices is not None
        decoded = 0
        for frame in self._by_time(indices, exact):
            yield frame
            decoded += 1
        if not decoded:
            for frame in self._by_number(indices, None if exact else count):
                yield frame
                decoded += 1
        if exact:
            return
        if not decoded:
            raise UnreadableMedia(
                f"none of its frames can be converted to RGB; its video is coded as {self._codec}; "
                f"{_REMEDY}"
            )
        expected = sum(index < packets.total for index in indices)
        if decoded < expected:
            self._notes.append(f"{expected - decoded} of {expected} frames could not be decoded")

    def _open(self, options: dict[str, str] | None = None) -> av.container.InputContainer:
        self._file.seek(0)
        try:
            return av.open(
                self._file,
                mode="r",
                format=self._kind.demuxer,
                options=options or {"max_pixels": str(self._limits.pixels)},
                buffer_size=_BUFFER,
                io_open=_refuse_to_open,
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> UnreadableMedia:
        raise_passing(self._file, error)
        return UnreadableMedia(
            f"it begins like {self._kind.name}, but holds no video that can be decoded; "
            "it is damaged or cut off"
        )

    def _scan(self, container: av.container.InputContainer) -> tuple[Packets, int]:
        """Counts the packets of each stream that may be the film, and chooses one."""
        candidates = {}
        for stream in container.streams:
            if stream.type == "video" and not stream.disposition & _NO_FILM:
                candidates[stream.index] = PacketTimes()
            else:
                stream.discard = Discard.all
        if not candidates:
            has_covers = any(stream.type == "video" for stream in container.streams)
            content = "only a cover picture or thumbnails" if has_covers else "no video stream"
            raise UnreadableMedia(
                f"its {self._kind.name} container holds {content}; it holds no video that can be "
                "decoded"
            )
        self._collect(container, candidates)
        chosen = max(
            candidates,
            key=lambda index: _rank(_video(container, index), candidates[index]),
        )
        video = _video(container, chosen)
        self._check(video)
        if not candidates[chosen].total:
            raise UnreadableMedia("it holds no video frame")
        may_be_of_storage = self._kind.demuxer in _WITHOUT_TIMES and _is_reordered(video)
        packets = candidates[chosen].packets(video, may_be_of_storage)
        limit = self._limits.seconds
        if limit is not None and packets.seconds > limit:
            raise UnreadableMedia(f"it plays for {packets.seconds:.0f} s; the limit is {limit:g} s")
        if packets.is_cut_off(self._stated_seconds(container), video.frames):
            self._notes.append(
                f"its video ends after {packets.seconds:.1f} s, and its header says that there is "
                "more: it is cut off, or its sound goes on without it"
            )
        others = sum(times.total > 1 for index, times in candidates.items() if index != chosen)
        if others:
            self._notes.append(
                f"it holds {others + 1} video streams; stream {chosen}, which players show, was "
                "read"
            )
        return packets, chosen

    def _stated_seconds(self, container: av.container.InputContainer) -> float:
        """When the film ends as its header tells; 0 when unknown."""
        states = self._kind.demuxer in _STATING_SECONDS
        return (container.duration or 0) / av.time_base if states else 0.0

    def _collect(
        self, container: av.container.InputContainer, streams: dict[int, PacketTimes]
    ) -> None:
        packets_left = self._limits.packets
        try:
            for packet in container.demux([container.streams[index] for index in streams]):
                self._tick()
                if not packet.size:
                    continue
                streams[packet.stream_index].add(packet)
                packets_left -= 1
                if packets_left < 0:
                    raise UnreadableMedia(
                        f"it holds more than {self._limits.packets} video packets, the limit"
                    )
        except (av.error.FFmpegError, OSError) as error:
            raise_passing(self._file, error)
            self._notes.append("it is damaged or cut off; what comes after that is not read")

    def _check(self, stream: av.video.stream.VideoStream) -> None:
        context = stream.codec_context
        if context is None:
            codec = self._headers.get(stream.index, Header()).codec or "an unknown format"
            raise UnreadableMedia(
                f"its video is coded as {codec!r}, for which this FFmpeg has no decoder; {_REMEDY}"
            )
        if context.width and context.height:
            self._check_size(context.width, context.height)
            return
        # FFmpeg has refused the first frame. Without a decoder, what the header states remains.
        with self._open({"codec_whitelist": "none"}) as container:
            if stream.index < len(container.streams):
                context = _video(container, stream.index).codec_context
                self._check_size(context.width, context.height)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._limits.pixels:
            raise UnreadableMedia(
                f"its frames of {width}x{height} pixels are too large; the limit is "
                f"{self._limits.pixels} pixels"
            )

    def _reader(self) -> FilmReader:
        container = self._open()
        stream = _video(container, self._stream_index)
        for other in container.streams:
            if other.index != self._stream_index:
                other.discard = Discard.all
        context = stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = self._threads
        context.options = {"max_pixels": str(self._limits.pixels)}
        return FilmReader(container, stream, self._file, self._tick)

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

    def _display(self, reader: FilmReader) -> Display:
        header = self._headers.get(self._stream_index, Header())
        return Display(reader.stream, header.crop, self._notes)

    def _by_time(self, indices: Sequence[int], exact: bool) -> Iterator[Frame]:
        """Frames found by their time stamps, with jumps to key frames on the way.

        A frame that cannot be decoded is replaced by the next one, unless `exact`. Nothing comes
        of films without usable time stamps.
        """
        packets = self._packets
        if packets.ordered is None or packets.counted:
            return
        targets = [int(packets.ordered[index]) for index in indices if index < packets.total]
        last = -1
        with self._reader() as reader:
            display = self._display(reader)
            decoded = reader.frames(0)
            for number, target in enumerate(targets):
                key = packets.key_before(indices[number])
                if key is not None and key.number > last + _SHORTEST_JUMP:
                    if not reader.jump(key):
                        # It landed elsewhere: decode from the beginning, without jumps.
                        reader.close()
                        self._packets = dataclasses.replace(packets, keys=NO_KEYS)
                        yield from self._by_time(indices[number:], exact)
                        return
                    decoded = reader.frames(target)
                reader.target = target
                frame = _first_from(decoded, target)
                if frame is None or frame.pts is None:
                    return
                following = targets[number + 1 : number + 2]
                if frame.pts != target and (exact or (following and frame.pts >= following[0])):
                    decoded = itertools.chain([frame], decoded)
                    continue
                last = packets.number_at(frame.pts)
                picture = self._shown(frame, display, last)
                if picture is not None:
                    yield picture

    def _by_number(self, indices: Sequence[int], count: int | None) -> Iterator[Frame]:
        """Frames found by counting what is decoded, for films without usable time stamps.

        Where decoding ends before the first wanted frame, the frames that are there are sampled
        instead, `count` of them.
        """
        passed = 0
        any_decoded = False
        with self._reader() as reader:
            display = self._display(reader)
            remaining = iter(indices)
            index = next(remaining, None)
            for frame in reader.frames(None):
                if index is None:
                    return
                if passed == index:
                    picture = self._shown(frame, display, index)
                    if picture is not None:
                        yield picture
                        any_decoded = True
                    index = next(remaining, None)
                passed += 1
        if not passed:
            size = "" if self._sized else f" or larger than {self._limits.pixels} pixels, the limit"
            raise UnreadableMedia(
                f"no frame can be decoded of its video, which is coded as {self._codec}: they are "
                f"damaged{size}; if players show it, {_REMEDY}"
            )
        if not any_decoded and count is not None:
            yield from self._by_number(middles(passed, count), None)


def _refuse_to_open(url: str, flags: int, options: dict[str, Any]) -> BinaryIO:
    raise PermissionError("a film may not open other files")


def _video(container: av.container.InputContainer, index: int) -> av.video.stream.VideoStream:
    """The stream of that number, which is known to be of video."""
    return cast("av.video.stream.VideoStream", container.streams[index])


def _is_reordered(stream: av.video.stream.VideoStream) -> bool:
    """Whether its frames are shown in another order than that of the packets (B-frames)."""
    context = stream.codec_context
    return context.codec.canonical_name in _REORDERED and bool(context.has_b_frames)


def _rank(
    stream: av.video.stream.VideoStream, times: PacketTimes
) -> tuple[bool, bool, int, int, int]:
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
