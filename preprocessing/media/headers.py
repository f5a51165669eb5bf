"""Reads from containers' headers what PyAV does not show: cropping, and unknown codecs.

FFmpeg's decoders apply the cropping that a codec carries; that of the container (Matroska's
PixelCrop, QuickTime's `clap`) they hand on to players. So the few bytes that hold it are read here.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

import numpy as np

from preprocessing.media.source import Readable

# No sound header is larger, and none nests deeper.
_MOST_BYTES = 64 << 20
_MOST_ELEMENTS = 100_000


@dataclasses.dataclass(frozen=True)
class CropRectangle:
    """Pixels of the stored frame that are not shown, at each side.

    Attributes:
      left: columns.
      top: rows.
      right: columns.
      bottom: rows.
    """

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, pixels: np.ndarray, width: int, height: int) -> np.ndarray:
        """Cuts a frame, [rows, columns, 3], that was stored as `width` x `height` pixels.

        A cropping that would leave nothing is damage, and cuts nothing.
        """
        rows, columns = pixels.shape[:2]
        x1, x2 = (round(v * columns / width) for v in (self.left, width - self.right))
        y1, y2 = (round(v * rows / height) for v in (self.top, height - self.bottom))
        inside = 0 <= x1 < x2 <= columns and 0 <= y1 < y2 <= rows
        return pixels[y1:y2, x1:x2] if inside else pixels


@dataclasses.dataclass(frozen=True)
class Header:
    """The entries of a container's header about one stream.

    Attributes:
      codec: as the container names it; empty when unknown.
      crop: what it cuts off each frame; None for nothing.
    """

    codec: str = ""
    crop: CropRectangle | None = None


def read_headers(file: Readable, demuxer: str) -> dict[int, Header]:
    """The header of each stream, by its number; none for containers that are not looked into.

    Args:
      file: seekable; its position changes.
      demuxer: FFmpeg's name of the container.
    """
    readers = {"mov": _quicktime, "matroska": _matroska, "avi": _avi}
    if demuxer not in readers:
        return {}
    try:
        file.seek(0, 2)
        return dict(readers[demuxer](file, file.tell()))
    except (struct.error, IndexError, ValueError, OverflowError):
        # Damaged headers; the demuxer will say what it makes of them.
        return {}


def _named(code: bytes) -> str:
    return code.strip(b"\0 ").decode("ascii", "backslashreplace")


# --- AVI


def _avi(file: Readable, size: int) -> Iterator[tuple[int, Header]]:
    """The codec of each stream: the compression of its `BITMAPINFOHEADER`."""
    file.seek(0)
    head = file.read(1 << 16)
    at = -1
    for number in range(head.count(b"strh")):
        at = head.index(b"strh", at + 1)
        if head[at + 8 : at + 12] == b"vids":
            format_at = head.index(b"strf", at) + 8
            yield number, Header(_named(head[format_at + 16 : format_at + 20]))


# --- QuickTime, ISO base media


def _quicktime(file: Readable, size: int) -> Iterator[tuple[int, Header]]:
    """The first sample entry of each track (ISO/IEC 14496-12, 8.5.2)."""
    for number, track in enumerate(_tracks(file, size)):
        data = _inner(track, b"mdia", b"minf", b"stbl", b"stsd") or b""
        if len(data) >= 16:
            (length,) = struct.unpack_from(">I", data, 8)
            yield number, Header(_named(data[12:16]), _clean_aperture(data[16 : 8 + length]))


def _tracks(file: Readable, size: int) -> Iterator[bytes]:
    """The content of each `trak` box."""
    for name, start, end in _boxes_in(file, 0, size):
        if name == b"moov" and end - start <= _MOST_BYTES:
            for inner, first, last in _boxes_in(file, start, end):
                if inner == b"trak":
                    file.seek(first)
                    yield file.read(last - first)
            return


def _boxes_in(file: Readable, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields (name, first byte of the content, first byte after it)."""
    for _ in range(_MOST_ELEMENTS):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        size, name = struct.unpack_from(">I4s", head)
        skip = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", head, 8)
            skip = 16
        elif size == 0:
            size = end - start
        if size < skip:
            return
        yield name, start + skip, min(start + size, end)
        start += size


def _clean_aperture(entry: bytes) -> CropRectangle | None:
    """The `clap` box of a sample entry (ISO/IEC 14496-12, 12.1.4)."""
    if len(entry) < 78:
        return None
    width, height = struct.unpack_from(">HH", entry, 24)
    clap = _inner(entry[78:], b"clap")
    if clap is None or len(clap) < 32:
        return None
    values = struct.unpack_from(">IIIIiIiI", clap)
    if not all(values[1::2]):
        return None
    wide, high, right_of, below = (values[i] / values[i + 1] for i in (0, 2, 4, 6))
    left = (width - wide) / 2 + right_of
    top = (height - high) / 2 + below
    edges = (left, top, width - wide - left, height - high - top)
    if min(edges) < -0.5 or not any(round(edge) for edge in edges):
        return None
    return CropRectangle(*(max(0, round(edge)) for edge in edges))


def _inner(data: bytes, *names: bytes) -> bytes | None:
    """The content of a box within boxes."""
    for name in names:
        at = 0
        while at + 8 <= len(data):
            size, box_name = struct.unpack_from(">I4s", data, at)
            if box_name == name:
                data = data[at + 8 : at + size]
                break
            if size < 8:
                return None
            at += size
        else:
            return None
    return data


# --- Matroska

_SEGMENT, _TRACKS, _ENTRY, _VIDEO, _CLUSTER = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675
_CODEC = 0x86
_CROPS = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}


def _matroska(file: Readable, size: int) -> Iterator[tuple[int, Header]]:
    """Codec and cropping of each track (RFC 9559, 5.1.4.1)."""
    for name, start, end in _elements(file, 0, size):
        if name != _SEGMENT:
            continue
        for inner, first, last in _elements(file, start, end):
            if inner == _CLUSTER:  # Tracks stand before the frames.
                return
            if inner == _TRACKS and last - first <= _MOST_BYTES:
                entries = [
                    element for element in _elements(file, first, last) if element[0] == _ENTRY
                ]
                for number, (_, begin, stop) in enumerate(entries):
                    yield number, _entry(file, begin, stop)
                return


def _entry(file: Readable, start: int, end: int) -> Header:
    codec = ""
    edges = dict.fromkeys(_CROPS.values(), 0)
    for name, first, last in _elements(file, start, end):
        if name == _CODEC and last - first <= 64:
            file.seek(first)
            codec = _named(file.read(last - first))
        if name == _VIDEO:
            for inner, begin, stop in _elements(file, first, last):
                if inner in _CROPS and stop - begin <= 8:
                    file.seek(begin)
                    edges[_CROPS[inner]] = int.from_bytes(file.read(stop - begin), "big")
    return Header(codec, CropRectangle(**edges) if any(edges.values()) else None)


def _elements(file: Readable, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields (id, first byte of the content, first byte after it)."""
    for _ in range(_MOST_ELEMENTS):
        if start >= end:
            return
        file.seek(start)
        head = file.read(12)
        id_length = 9 - head[0].bit_length()
        size_length = 9 - head[id_length].bit_length()
        if id_length > 4 or size_length > 8:
            return
        name = int.from_bytes(head[:id_length], "big")
        bits = 7 * size_length
        size = int.from_bytes(head[id_length : id_length + size_length], "big") & (1 << bits) - 1
        first = start + id_length + size_length
        # All ones: up to the end of what holds it.
        last = end if size == (1 << bits) - 1 else min(end, first + size)
        yield name, first, last
        start = last
