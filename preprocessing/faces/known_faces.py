"""Faces of originals that were searched lately, for the fakes that were made from them."""

from __future__ import annotations

import collections
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from preprocessing.faces.detector import Face
from preprocessing.faces.search import SearchedFrame
from preprocessing.media.frame_folder import Media

# A face takes some hundred bytes, pixels are not kept.
_MOST_CLIPS = 1000

# Number of a frame -> shape of its pixels, and its faces.
FacesByFrame = dict[int, tuple[tuple[int, ...], list[Face]]]


class KnownFaces:
    """Remembers the faces of video files, those of the last thousand.

    A file that has changed since is another one. Folders of frames are not remembered.
    """

    def __init__(self) -> None:
        self._clips: collections.OrderedDict[tuple[str, int, int], FacesByFrame]
        self._clips = collections.OrderedDict()

    def of(self, media: Media) -> FacesByFrame | None:
        """The faces of a clip; None where they are not known."""
        identity = _identity(media)
        if identity is None or identity not in self._clips:
            return None
        self._clips.move_to_end(identity)
        return self._clips[identity]

    def remembered(
        self, media: Media, searched: Iterable[SearchedFrame]
    ) -> Iterator[SearchedFrame]:
        """Passes frames on, and remembers their faces once all have come.

        Args:
          media: the clip.
          searched: all its frames.
        """
        identity = _identity(media)
        faces_by_frame: FacesByFrame = {}
        for each in searched:
            faces_by_frame[each.frame.index] = (each.frame.pixels.shape, each.faces)
            yield each
        if identity is not None:
            self._clips[identity] = faces_by_frame
            if len(self._clips) > _MOST_CLIPS:
                self._clips.popitem(last=False)


def _identity(media: Media) -> tuple[str, int, int] | None:
    """What tells a file from others and from its other versions; None of what is no file."""
    if not isinstance(media, str | Path):
        return None
    try:
        status = Path(media).stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return str(media), status.st_mtime_ns, status.st_size
