"""Writes a file with its faces marked: a film as a film, a picture as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from preprocessing.media.decoder import Decoder
from preprocessing.media.frame import MediaInfo
from preprocessing.support.png_file import write_png
from serving.pictures.annotation import annotate, score_bar
from serving.pictures.film import FilmWriter
from serving.pictures.marks import JudgedFace, Mark, Marks

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

    A film whose frames have several sizes gets that of the frame in its middle.

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
    height, width = first.pixels.shape[:2]
    bar = score_bar(marks, total, width)
    with FilmWriter(target) as film:
        for number, frame in enumerate(decoder.frames(path, _ALL_FRAMES)):
            if on_progress:
                on_progress(number, total)
            position = frame.index / max(1, total - 1)
            pixels, shown = _fitted(frame.pixels, marks.at(frame.index), height, width)
            film.add(annotate(pixels, shown, heading, bar, position), frame.timestamp_ms)
    return target


def _fitted(
    pixels: np.ndarray, marks: list[Mark], height: int, width: int
) -> tuple[np.ndarray, list[Mark]]:
    """A frame and its marks in the size of a film, in the middle of black where its shape differs.

    Args:
      pixels: uint8 [rows, columns, 3], RGB.
      marks: boxes in pixels of this frame.
      height: rows of the film.
      width: columns of the film.

    Returns:
      uint8 [height, width, 3], and the marks in pixels of that.
    """
    rows, columns = pixels.shape[:2]
    if (rows, columns) == (height, width):
        return pixels, marks
    scale = min(height / rows, width / columns)
    size = max(1, round(scale * columns)), max(1, round(scale * rows))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    fitted = np.zeros((height, width, 3), np.uint8)
    fitted[top : top + size[1], left : left + size[0]] = cv2.resize(
        pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    corner = np.array([left, top, left, top])
    return fitted, [dataclasses.replace(mark, box=scale * mark.box + corner) for mark in marks]
