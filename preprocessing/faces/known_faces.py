"""Faces of originals that were searched lately, for the fakes that were made from them."""

from __future__ import annotations

import collections
from collections.abc import Hashable, Iterable, Iterator

from preprocessing.faces.detector import Face
from preprocessing.faces.search import SearchedFrame

# A face takes some hundred bytes, pixels are not kept.
_MOST_CLIPS = 1000

# Number of a frame -> shape of its pixels, and its faces.
FacesByFrame = dict[int, tuple[tuple[int, ...], list[Face]]]


class KnownFaces:
    """Remembers the faces of clips, those of the last thousand.

    A clip goes by a key that names it and its version. The path that it is read at is none: clips
    of object stores are copied to another place each time.
    """

    def __init__(self) -> None:
        self._clips: collections.OrderedDict[Hashable, FacesByFrame] = collections.OrderedDict()

    def of(self, key: Hashable) -> FacesByFrame | None:
        """The faces of a clip; None where they are not known."""
        if key not in self._clips:
            return None
        self._clips.move_to_end(key)
        return self._clips[key]

    def remembered(
        self, key: Hashable, searched: Iterable[SearchedFrame]
    ) -> Iterator[SearchedFrame]:
        """Passes frames on, and remembers their faces once all have come.

        Args:
          key: key of the clip; None for one that is not remembered.
          searched: all its frames.
        """
        faces_by_frame: FacesByFrame = {}
        for each in searched:
            faces_by_frame[each.frame.index] = (each.frame.pixels.shape, each.faces)
            yield each
        if key is not None:
            self._clips[key] = faces_by_frame
            if len(self._clips) > _MOST_CLIPS:
                self._clips.popitem(last=False)
