"""From decoded frames to what players show: deinterlaced, cropped, square pixels, upright, RGB."""

from __future__ import annotations

import fractions
from typing import cast

import av
import av.filter
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from preprocessing.media.headers import CropRectangle

# A sample aspect ratio nearer to 1 is rounding of the frame's size, and resampling costs detail.
_SQUARE = 0.01
# No camera or disc format has pixels that are so far from square; such a value is damage.
_WIDEST = 8.0
# Side of the blocks in which neighbouring lines are compared, in pixels.
_BLOCK = 16
# A block is combed where lines differ more from their neighbours, which are of the other field,
# than from the next but one: by this factor, and by this many grey levels on average.
_COMBED_FACTOR = 1.5
_COMBED_LEVELS = 3.0
# Share of a frame's blocks that must be combed: less is fine horizontal patterns and noise.
_COMBED_SHARE = 0.002


class Display:
    """Shows the frames of one stream.

    Args:
      stream: that the frames are of.
      crop: what its container cuts off each frame; None for nothing.
      notes: where sentences for the reader of the answer are added.
    """

    def __init__(
        self, stream: av.video.stream.VideoStream, crop: CropRectangle | None, notes: list[str]
    ):
        self._crop = crop
        self._notes = notes
        self._ratio = self._pixel_ratio(stream)
        self._time_base = stream.time_base or fractions.Fraction(1, 1000)
        # One context for all frames: setting one up costs as much as converting a small frame.
        self._reformatter = VideoReformatter()

    def size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height with square pixels, before cropping and turning.

        The squeezed axis is enlarged, so that no detail is lost.
        """
        if self._ratio >= 1:
            return max(1, round(frame.width * self._ratio)), frame.height
        return frame.width, max(1, round(frame.height / self._ratio))

    def pixels(self, frame: av.VideoFrame) -> np.ndarray:
        """The frame as players show it, uint8 [height, width, 3], RGB."""
        matrix = _matrix(frame)
        if frame.interlaced_frame:
            frame = self._deinterlaced(frame)
        width, height = self.size(frame)
        stored_size = (frame.width, frame.height)
        pixels = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation=(
                Interpolation.BILINEAR if (width, height) == stored_size else Interpolation.BICUBIC
            ),
            threads=1,
        ).to_ndarray()
        if self._crop is not None:
            pixels = self._crop.cut(pixels, *stored_size)
        return np.ascontiguousarray(self._turned(pixels, matrix))

    def _pixel_ratio(self, stream: av.video.stream.VideoStream) -> float:
        """Width of a pixel divided by its height."""
        ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        if not ratio or abs(float(ratio) - 1) < _SQUARE:
            return 1.0
        if not 1 / _WIDEST <= ratio <= _WIDEST:
            self._notes.append(f"its sample aspect ratio of {ratio} was not applied")
            return 1.0
        return float(ratio)

    def _deinterlaced(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Cameras flag progressive film as interlaced, too: only combed frames are changed."""
        grey = self._reformatter.reformat(frame, format="gray", threads=1).to_ndarray()
        if not _combed(grey):
            self._notes.append("frames flagged as interlaced show no combing, and stay as they are")
            return frame
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self._time_base,
        )
        # Within one field, along edges: the neighbouring frames are not at hand.
        graph.link_nodes(source, graph.add("estdif", "mode=frame"), graph.add("buffersink"))
        graph.configure()
        graph.push(frame)
        graph.push(None)
        self._notes.append("interlaced frames were deinterlaced (estdif)")
        return cast("av.VideoFrame", graph.pull())

    def _turned(self, pixels: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
        """Applies a display matrix, [[a, b], [c, d]]: (x, y) is shown at (ax + cy, bx + dy)."""
        if matrix is None:
            return pixels
        (a, b), (c, d) = matrix
        if abs(a * d) >= abs(b * c):
            right, down = a, d
            slant = max(abs(b), abs(c))
        else:
            pixels = pixels.transpose(1, 0, 2)
            right, down = c, b
            slant = max(abs(a), abs(d))
        if slant > 0.05 * max(abs(right), abs(down)):
            self._notes.append("it is turned by an angle that is no multiple of 90 degrees")
        if right < 0:
            pixels = pixels[:, ::-1]
        if down < 0:
            pixels = pixels[::-1]
        return pixels


def _matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """The part of the display matrix that turns and mirrors, float [2, 2]; None without one."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    values = np.frombuffer(bytes(cast("bytes", data)), np.int32).reshape(3, 3)[:2, :2] / 65536
    # A matrix of nothing but zeros turns nothing.
    return values if values.any() else None


def _combed(grey: np.ndarray) -> bool:
    """Whether the two fields of a frame, uint8 [height, width], show different moments."""
    height, width = (side // _BLOCK * _BLOCK for side in grey.shape)
    if height < 2 * _BLOCK or width < _BLOCK:
        return False
    lines = grey[:height, :width].astype(np.int16)
    near_difference = np.abs(lines[1:-1] - lines[2:]) + np.abs(lines[1:-1] - lines[:-2])
    far_difference = 2 * np.abs(lines[2:] - lines[:-2])
    blocks = [
        part[: height - _BLOCK]
        .reshape(height // _BLOCK - 1, _BLOCK, width // _BLOCK, _BLOCK)
        .mean((1, 3))
        for part in (near_difference, far_difference)
    ]
    combed = blocks[0] > _COMBED_FACTOR * blocks[1] + _COMBED_LEVELS
    return float(combed.mean()) > _COMBED_SHARE
