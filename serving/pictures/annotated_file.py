"""Writes a file with its faces marked: a film as a film, a picture as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from preprocessing.media.decoder import Decoder
from preprocessing.media.frame import MediaInfo
from preprocessing.support.png_file import write_png
from serving.pictures.annotation import annotate, score_bar
from serving.pictures.film import FilmWriter
from serving.pictures.marks import JudgedFace, Marks

# More than any film has.
_ALL_FRAMES = 1 << 30


def annotate_file(
    decoder: Decoder,
    path: Path,
    folder: Path,
    faces: Sequence[JudgedFace],
    looked_at: int,
    heading: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes `annotated.mp4`, or `annotated.png` of a picture.

    Args:
      decoder: decoder that the file is read with.
      path: the file.
      folder: folder that it is written to.
      faces: faces that were judged, at least one.
      looked_at: number of its frames that were sampled.
      heading: line of text above the frames, see `serving.pictures.marks.heading_of`.
      on_progress: callback, called with the number of frames that were drawn and that of all; what
        it raises ends the work.

    Returns:
      What was written.

    Raises:
      UnreadableMedia: see `Decoder.frames`.
      DecodingFailed: see `Decoder.frames`.
      OSError: there is no room for it.
    """
    infos: list[MediaInfo] = []
    (first,) = decoder.frames(path, 1, tell=infos.append)
    total = infos[0].frames
    marks = Marks(faces, max(1.0, total / looked_at))
    if total == 1:
        target = folder / "annotated.png"
        write_png(target, annotate(first.pixels, marks.at(first.index), heading))
        return target
    target = folder / "annotated.mp4"
    bar = score_bar(marks, total, first.pixels.shape[1])
    with FilmWriter(target) as film:
        for number, frame in enumerate(decoder.frames(path, _ALL_FRAMES)):
            if on_progress:
                on_progress(number, total)
            position = frame.index / max(1, total - 1)
            drawn = annotate(frame.pixels, marks.at(frame.index), heading, bar, position)
            film.add(drawn, frame.timestamp_ms)
    return target
