"""Frames out of media files: evenly sampled, as players show them, RGB, one at a time.

Containers lie about their frame count, frame rate and timing, so what they state is not used: a
pass over the packets, which decodes nothing, counts the frames and finds the key frames. What a
file is read as is decided by its content; its name plays no part.

This module decodes in the calling process. Files from elsewhere can crash or stall a decoder:
`preprocessing.media.decoder` runs this in a child process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from preprocessing.media.container import HEAD_BYTES, PICTURE, identify
from preprocessing.media.film import Film
from preprocessing.media.frame import Frame, FrameRequest, MediaInfo, middles
from preprocessing.media.limits import Limits
from preprocessing.media.pictures import Picture
from preprocessing.media.source import Watched, open_media

__all__ = ["Frame", "MediaInfo", "middles", "sample_file", "sample_frames"]


def sample_frames(
    path: str | Path,
    count: int,
    per_second: float = 0.0,
    indices: Sequence[int] | None = None,
    tick: Callable[[], None] = lambda: None,
    limits: Limits | None = None,
    threads: int = 0,
) -> Iterator[Frame]:
    """Yields frames evenly spread over the clip, in order.

    The clip is divided into equal parts and the middle frame of each is taken, so that fades at
    the very beginning and end are avoided. Clips with fewer frames give all of them. Pictures
    give one. Where decoding ends early, the frames up to there come. A frame that cannot be
    decoded is replaced by the next one, unless `indices` are given.

    Args:
      path: a video or picture file.
      count: how many frames are wanted, at least 1.
      per_second: when above 0, this many frames for each second of the clip are wanted instead,
        and at most `count`.
      indices: the numbers of the frames that are wanted, rising, instead of evenly spread ones.
      tick: called before each step of decoding, so that a watcher knows that there is progress.
      limits: beyond which a file is refused.
      threads: that decode; 0 leaves it to FFmpeg.

    Yields:
      Frames with increasing index.

    Raises:
      UnreadableMedia: the file is no regular file, is empty or not decodable, or holds no frame.
      DecodingFailed: it cannot be opened or read.
    """
    limits = limits or Limits()
    with os.fdopen(open_media(path, limits), "rb", buffering=0) as file:
        request = FrameRequest(count, per_second, indices)
        yield from sample_file(file, request, limits, threads, tick)


def sample_file(
    file: BinaryIO,
    request: FrameRequest,
    limits: Limits,
    threads: int = 0,
    tick: Callable[[], None] = lambda: None,
    tell: Callable[[MediaInfo], None] = lambda info: None,
) -> Iterator[Frame]:
    """As `sample_frames`, from an open file.

    Args:
      file: unbuffered; read and seeked.
      request: which frames.
      limits: see `sample_frames`.
      threads: see `sample_frames`.
      tick: see `sample_frames`.
      tell: called with what the file turned out to be, after its last frame.
    """
    tick()
    watched = Watched(file)
    file.seek(0)
    try:
        kind = identify(watched.read(HEAD_BYTES))
        source: Picture | Film
        if kind.reader == PICTURE:
            source = Picture(watched, kind, limits, tick)
        else:
            source = Film(watched, kind, limits, threads, tick)
        yield from source.frames(request)
    except (ValueError, OSError):
        watched.check()
        raise
    tell(source.info)
