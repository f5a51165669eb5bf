"""The record of one face crop: the definition of its features.

FaceExtractor writes these tf.Examples, Transform and Trainer read them, and the curated schema
describes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

# JPEG bytes of the square crop, any size.
IMAGE = "image/encoded"
# 1 = fake, 0 = real.
LABEL = "label"
# Path of the clip, relative to the dataset's folder.
CLIP_ID = "clip_id"
# clip_id of the original that a fake was made from; any other clip's own clip_id.
PAIR_ID = "pair_id"
# Number of the face's track within the clip.
TRACK_ID = "track_id"
# Number of the frame in the clip. Crops of a fake and its original with equal numbers are a pair,
# and else those with near ones.
FRAME_INDEX = "frame_index"
TIMESTAMP_MS = "timestamp_ms"
DATASET = "dataset"
METHOD = "method"
# Persons seen or pasted in, joined by "|"; where none is known, the group that the clip is in.
IDENTITY = "identity"
# x1, y1, x2, y2 in pixels of the frame.
BOX = "face/box"
# x and y of left eye, right eye, nose, left and right mouth corner, in pixels of the frame.
LANDMARKS = "face/landmarks"
# The detector's probability of a face.
SCORE = "face/score"

REAL, FAKE = 0, 1

_BYTES = (IMAGE, CLIP_ID, PAIR_ID, DATASET, METHOD, IDENTITY)
_INTS = (LABEL, TRACK_ID, FRAME_INDEX, TIMESTAMP_MS)
_FLOATS = {SCORE: [], BOX: [4], LANDMARKS: [10]}
FEATURES = (*_BYTES, *_INTS, *_FLOATS)


def feature_spec(*names: str) -> dict[str, tf.io.FixedLenFeature]:
    """What tf.io.parse_example needs.

    Args:
      *names: the features wanted; none for all.

    Returns:
      A FixedLenFeature for each name: a scalar, but for the box [4] and the landmarks [10].
    """
    import tensorflow as tf

    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in _BYTES}
    spec |= {name: tf.io.FixedLenFeature([], tf.int64) for name in _INTS}
    spec |= {name: tf.io.FixedLenFeature(shape, tf.float32) for name, shape in _FLOATS.items()}
    return {name: spec[name] for name in names or FEATURES}


def make_example(
    *,
    jpeg: bytes,
    label: int,
    clip_id: str,
    pair_id: str = "",
    track_id: int = 0,
    frame_index: int = 0,
    timestamp_ms: int = 0,
    dataset: str = "",
    method: str = "",
    identity: str = "",
    box: Any = (0.0, 0.0, 0.0, 0.0),
    landmarks: Any = (0.0,) * 10,
    score: float = 1.0,
) -> tf.train.Example:
    """Builds the record of one crop.

    Args:
      jpeg: the encoded crop (JPEG or PNG).
      label: 1 = fake, 0 = real.
      clip_id: path of the clip.
      pair_id: path of a fake's original; empty takes `clip_id`.
      track_id: number of the face's track within the clip.
      frame_index: number of the frame in the clip.
      timestamp_ms: time of the frame in milliseconds.
      dataset: name of the dataset.
      method: `real`, or the manipulation.
      identity: persons, joined by "|"; else the group, see `Clip.kin`.
      box: array-like [4], pixels of the frame.
      landmarks: array-like [5, 2] or [10], pixels of the frame.
      score: the detector's probability of a face.

    Returns:
      The tf.train.Example, holding every feature of `FEATURES`.

    Raises:
      ValueError: a label other than 0 and 1, or a box or landmarks of another size.
    """
    import tensorflow as tf

    if label not in (REAL, FAKE):
        raise ValueError(f"label is {label!r}; it must be 0 (real) or 1 (fake)")
    floats = {BOX: box, LANDMARKS: landmarks, SCORE: score}
    features = {}
    for name, value in floats.items():
        flat = np.asarray(value, np.float32).ravel()
        if flat.size != (_FLOATS[name] or [1])[0]:
            raise ValueError(f"{name} holds {flat.size} numbers; it must hold {_FLOATS[name]}")
        features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=flat))
    texts = {
        CLIP_ID: clip_id,
        PAIR_ID: pair_id or clip_id,
        DATASET: dataset,
        METHOD: method,
        IDENTITY: identity,
    }
    # File names may hold bytes that are not UTF-8; Python carries them as surrogates.
    raw = {name: text.encode("utf-8", "surrogateescape") for name, text in texts.items()}
    for name, data in {IMAGE: jpeg, **raw}.items():
        features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))
    numbers = {
        LABEL: label,
        TRACK_ID: track_id,
        FRAME_INDEX: frame_index,
        TIMESTAMP_MS: timestamp_ms,
    }
    for name, number in numbers.items():
        features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(number)]))
    return tf.train.Example(features=tf.train.Features(feature=features))
