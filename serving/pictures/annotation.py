"""Draws the verdict, boxes with scores, and a bar of the scores over time on a frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from serving.pictures.marks import Mark, Marks

# RGB, of the palette by Okabe and Ito ("Color Universal Design", 2008), which people with any kind
# of colour vision tell apart. Low scores are blue, high ones vermilion.
LOW, HIGH = (0, 114, 178), (213, 94, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _BLACK, _GREY = (255, 255, 255), (0, 0, 0), (200, 200, 200)


def colour_of(score: float) -> tuple[int, int, int]:
    """The colour of a P(fake), RGB."""
    low, high = np.array(LOW), np.array(HIGH)
    red, green, blue = np.rint(low + (high - low) * score).astype(int).tolist()
    return red, green, blue


def score_bar(marks: Marks, frames: int, width: int) -> np.ndarray:
    """The scores of a film over time, as a line of colours; grey where no face was judged.

    Args:
      marks: marks of the film; of several faces in a frame the most suspicious counts.
      frames: number of the film's frames.
      width: pixels of the line.

    Returns:
      uint8 [1, width, 3], RGB.
    """
    colours = []
    for column in range(width):
        scores = [mark.score for mark in marks.at(column * frames // width)]
        colours.append(colour_of(max(scores)) if scores else _GREY)
    return np.array([colours], np.uint8)


def annotate(
    pixels: np.ndarray,
    marks: Sequence[Mark],
    heading: str,
    bar: np.ndarray | None = None,
    position: float = 0.0,
) -> np.ndarray:
    """A copy of a frame with its faces marked.

    Args:
      pixels: uint8 [height, width, 3], RGB.
      marks: boxes in pixels of this frame.
      heading: a line of ASCII text above the frame.
      bar: line of colours of the frame's width, see `score_bar`; None for none.
      position: position of this frame in the bar, from 0 to 1.

    Returns:
      uint8 [height + h, width, 3], RGB: the heading, the frame and the bar.
    """
    height, width = pixels.shape[:2]
    drawn = pixels.copy()
    # Lines and letters of one apparent size, whatever the film's.
    unit = max(1.0, min(height, width) / 360)
    for mark in marks:
        _mark(drawn, mark, unit)
    parts = [_heading(heading, width, unit), drawn]
    if bar is not None:
        strip = np.repeat(bar, round(10 * unit), axis=0)
        at, half = round(position * (width - 1)), max(1, round(unit))
        strip[:, max(0, at - half) : at + half] = _BLACK
        parts.append(strip)
    return np.vstack(parts)


def _mark(pixels: np.ndarray, mark: Mark, unit: float) -> None:
    left, top, right, bottom = np.rint(mark.box).astype(int).tolist()
    colour, thickness = colour_of(mark.score), max(1, round(1.5 * unit))
    cv2.rectangle(pixels, (left, top), (right, bottom), colour, thickness, cv2.LINE_AA)
    text = f"P(fake) {mark.score:.2f}"
    scale = 0.45 * unit
    (text_width, text_height), base = cv2.getTextSize(text, _FONT, scale, thickness)
    left = max(0, min(left, pixels.shape[1] - text_width))
    top = max(text_height + 2 * base, top)
    corner = (left + text_width + base, top - text_height - 2 * base)
    cv2.rectangle(pixels, (left, top), corner, colour, cv2.FILLED)
    at = (left + base // 2, top - base)
    cv2.putText(pixels, text, at, _FONT, scale, _WHITE, max(1, thickness - 1), cv2.LINE_AA)


def _heading(text: str, width: int, unit: float) -> np.ndarray:
    scale, thickness = 0.5 * unit, max(1, round(unit))
    (text_width, text_height), base = cv2.getTextSize(text, _FONT, scale, thickness)
    if text_width > width - 2 * base:  # A narrow film has small letters rather than half a text.
        scale *= (width - 2 * base) / text_width
    line = np.full((text_height + 3 * base, width, 3), 255, np.uint8)
    cv2.putText(
        line, text, (base, text_height + base), _FONT, scale, _BLACK, thickness, cv2.LINE_AA
    )
    return line
