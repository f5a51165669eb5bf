"""The most confident mistakes: the crop that decided each, and where the model looked.

Occlusion maps (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014)
show it: a blurred patch is moved over the crop, and a place is as warm as its loss moves the logit.
They need the exported signature alone, so they work for any backbone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd

from components.evaluation.scores import CROP_KEY, key_and_crop, read_records
from components.report.thumbnails import SIDE, encode_bgr
from preprocessing.extraction import face_example as names

# Positions of the patch along a side; their square is the number of pictures scored per crop.
_GRID = 6

# JPEG crops -> logits [crops].
Score = Callable[[Sequence[bytes]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A clip on the wrong side of 0.5, and the most extreme crop of the track that decided.

    Attributes:
      row: of the table of clips, with `frame_index` and `track_id` of the crop.
      crop: JPEG bytes; empty when the record is gone.
      occlusion_map: float32 [6, 6], how much less wrong the logit gets where a place is blurred;
        None where no model was given.
    """

    row: dict[str, Any]
    crop: bytes = b""
    occlusion_map: np.ndarray | None = None


def worst(crops: pd.DataFrame, tracks: pd.DataFrame, clips: pd.DataFrame, n: int) -> list[Mistake]:
    """Up to `n` false alarms and up to `n` misses, the most confident ones first."""
    mistakes = []
    for label in (names.REAL, names.FAKE):
        sign = 1 if label == names.REAL else -1
        wrong = clips[(clips[names.LABEL] == label) & ((clips["logit"] > 0) == (sign > 0))]
        wrong = wrong.assign(order=-sign * wrong["logit"]).sort_values("order", kind="stable")
        for row in wrong.head(n).drop(columns="order").to_dict("records"):
            clip_tracks = tracks[tracks[names.CLIP_ID] == row[names.CLIP_ID]]
            track = clip_tracks.loc[clip_tracks["logit"].idxmax(), names.TRACK_ID]
            members = crops[
                (crops[names.CLIP_ID] == row[names.CLIP_ID]) & (crops[names.TRACK_ID] == track)
            ]
            crop = members.loc[(sign * members["logit"]).idxmax()]
            row[names.TRACK_ID] = int(track)
            row[names.FRAME_INDEX] = int(crop[names.FRAME_INDEX])
            mistakes.append(Mistake(row))
    return mistakes


def with_pictures(
    mistakes: list[Mistake], files: Sequence[str], score: Score | None
) -> list[Mistake]:
    """Fills in crops from the records, and occlusion maps where a model can score."""
    numbers = {
        tuple(mistake.row[key] for key in CROP_KEY): number
        for number, mistake in enumerate(mistakes)
    }
    pictured = list(mistakes)
    for record in read_records(files) if numbers else ():
        key, jpeg = key_and_crop(record)
        number = numbers.get(key)
        if number is not None:
            sign = 1 if pictured[number].row[names.LABEL] == names.REAL else -1
            occlusion_map = sign * occlusion(jpeg, score) if score else None
            pictured[number] = dataclasses.replace(
                pictured[number], crop=jpeg, occlusion_map=occlusion_map
            )
    return pictured


def occlusion(jpeg: bytes, score: Score) -> np.ndarray:
    """How much the logit falls where the crop is blurred.

    Args:
      jpeg: the crop's file.
      score: gives the logits of files of crops.

    Returns:
      float32 [6, 6], from the top left of the crop.
    """
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    height, width = pixels.shape[:2]
    blurred = cv2.GaussianBlur(pixels, (0, 0), max(height, width) / 12)
    variants = [pixels]
    for top in range(_GRID):
        for left in range(_GRID):
            rows = slice(top * height // _GRID, (top + 1) * height // _GRID)
            columns = slice(left * width // _GRID, (left + 1) * width // _GRID)
            variant = pixels.copy()
            variant[rows, columns] = blurred[rows, columns]
            variants.append(variant)
    # PNG: another pass of JPEG would change the traces that the model reads everywhere.
    logits = score([cv2.imencode(".png", variant)[1].tobytes() for variant in variants])
    return (logits[0] - logits[1:]).reshape(_GRID, _GRID)


def overlay(jpeg: bytes, occlusion_map: np.ndarray) -> bytes:
    """The crop in grey under its occlusion map: red speaks for the wrong answer, blue against."""
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    pixels = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    scale = np.abs(occlusion_map).max() or 1.0
    cells = (occlusion_map / scale).astype(np.float32)
    smooth = cv2.resize(cells, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    colour = np.where(smooth[..., None] > 0, (40, 40, 230), (220, 120, 30)).astype(np.float32)
    share = 0.65 * np.clip(np.abs(smooth), 0, 1)[..., None]
    return encode_bgr((grey * (1 - share) + colour * share).astype(np.uint8))
