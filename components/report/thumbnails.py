"""Pictures of crops for the page: thumbnails, the contact sheet, data URIs."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from components.evaluation.scores import read_records
from preprocessing.extraction import face_example as names

# Pixels of a side.
SIDE = 160
_SHEET_SIDE = 96
_QUALITY = 80


def thumbnail(jpeg: bytes, side: int = SIDE) -> bytes:
    """The crop at the size of the page."""
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return encode_bgr(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA))


def data_uri(picture: bytes, kind: str = "jpeg") -> str:
    """A picture inside the page.

    Args:
      picture: its file.
      kind: subtype of its media type.
    """
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def contact_sheet(files: Sequence[str], number: int) -> list[tuple[int, bytes]]:
    """(label, thumbnail) of the first crop of up to `number` clips of each class."""
    import tensorflow as tf

    thumbnails: dict[str, tuple[int, bytes]] = {}
    counts = {names.REAL: 0, names.FAKE: 0}
    for record in read_records(files):
        feature = tf.train.Example.FromString(record).features.feature
        clip = feature[names.CLIP_ID].bytes_list.value[0].decode(errors="replace")
        label = feature[names.LABEL].int64_list.value[0]
        if clip in thumbnails or counts[label] == number:
            continue
        counts[label] += 1
        thumbnails[clip] = label, thumbnail(feature[names.IMAGE].bytes_list.value[0], _SHEET_SIDE)
        if min(counts.values()) == number:
            break
    return sorted(thumbnails.values(), key=lambda labelled: labelled[0])


def encode_bgr(pixels: np.ndarray) -> bytes:
    """The JPEG file of uint8 pixels [height, width, 3], blue first."""
    ok, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not ok:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()
