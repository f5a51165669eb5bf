"""Reads a film from a position: seeks key frames, and decodes from there on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import av

from preprocessing.media.packets import AnyPacket, KeyFrame
from preprocessing.media.source import Watched

# Codecs that mark frames which no other one refers to; others pack several into one packet.
_SKIPPING = frozenset(("h264", "hevc"))


class FilmReader:
    """An opened film at a position.

    Attributes:
      stream: that is decoded.
      target: time stamp of the frame that is wanted next; frames before it that no other one
        refers to need not be decoded.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        file: Watched,
        tick: Callable[[], None],
    ):
        self.stream = stream
        self.target: int | None = None
        self._opened = container
        self._file = file
        self._tick = tick
        self._first: AnyPacket | None = None
        self._packets = container.demux(stream)
        self._skips = stream.codec_context.codec.canonical_name in _SKIPPING

    def __enter__(self) -> FilmReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the film, not the file."""
        self._opened.close()

    def jump(self, key: KeyFrame) -> bool:
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
            raise_passing(self._file, error)
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
                raise_passing(self._file, error)
                packet = None
            if packet is None or not packet.size:
                yield from self._decode(context, None)
                return
            yield from self._decode(context, packet)

    def _decode(
        self, context: av.VideoCodecContext, packet: AnyPacket | None
    ) -> list[av.VideoFrame]:
        if packet is not None and self.target is not None and self._skips:
            early = packet.pts is not None and packet.pts < self.target
            context.skip_frame = "NONREF" if early else "DEFAULT"
        try:
            return context.decode(packet)
        except EOFError:
            return []
        except (av.error.FFmpegError, ValueError) as error:
            raise_passing(self._file, error)
            return []


def raise_passing(file: Watched, error: Exception) -> None:
    """Raises where a call failed for a reason that is not the file's content."""
    file.check()
    if isinstance(error, MemoryError):
        raise error
