"""Messages between the gateway and its workers: a JSON header and byte strings.

A worker handles hostile files and may have been taken over by one, so what it sends is data and
nothing else: no pickle, no sizes that are believed without a bound.

    4 bytes   length of the header, big endian
    header    JSON object; `parts` are the lengths of the byte strings
    parts     the byte strings, one after the other
"""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preprocessing.faces.face_cropper import Crop

_LENGTH = struct.Struct(">I")
_MOST_HEADER = 8 << 20
_MOST_BYTES = 512 << 20


class Thumbnails(str, enum.Enum):
    """Which faces a worker's answer has thumbnails of, small JPEGs.

    Attributes:
      NONE: no face.
      TRACKS: the best face of each track.
      FACES: all faces that are judged.
    """

    NONE = "none"
    TRACKS = "tracks"
    FACES = "faces"


def best_of_tracks(crops: Sequence[Crop]) -> dict[int, int]:
    """Number of the crop of each track that the detector is surest of, the first of equal ones."""
    best: dict[int, int] = {}
    for number, crop in enumerate(crops):
        if crop.track not in best or crop.score > crops[best[crop.track]].score:
            best[crop.track] = number
    return best


class BrokenMessage(ValueError):
    """The bytes are no message of this kind."""


def pack(header: dict[str, Any], parts: Sequence[bytes] = ()) -> bytes:
    """The bytes of a message."""
    text = json.dumps({**header, "parts": [len(part) for part in parts]}).encode("ascii")
    return b"".join([_LENGTH.pack(len(text)), text, *parts])


def receive(read: Callable[[int], bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Reads one message.

    Args:
      read: function that gives exactly as many bytes as it is asked for, or raises.

    Returns:
      The header and the byte strings.

    Raises:
      BrokenMessage: the bytes are no message, or it is larger than any that a worker has to send.
    """
    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    if length > _MOST_HEADER:
        raise BrokenMessage(f"a header of {length} bytes")
    try:
        header = json.loads(read(length))
    except (ValueError, RecursionError) as error:
        raise BrokenMessage("the header is not JSON") from error
    sizes = header.get("parts") if isinstance(header, dict) else None
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
        raise BrokenMessage("the header has no list of lengths")
    if sum(sizes) > _MOST_BYTES:
        raise BrokenMessage(f"{sum(sizes)} bytes")
    return header, [read(size) for size in sizes]
