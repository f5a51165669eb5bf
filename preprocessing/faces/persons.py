"""Splits tracks where another person, or another version of a face, begins.

A track follows a place (`preprocessing.faces.tracking`). At a place another person may appear after
a cut that the picture as a whole does not show: in one studio, in another framing, or where a
forged part was put between parts of the original. So the faces of a track are laid over each other.
How much they differ within a track depends on light, speech and compression; a change counts where
the faces on both sides of it differ twice as much as those on either side do among themselves.

Limits: this is no face recognition. Persons whose faces differ less than one of them does while
speaking and turning stay one track, and so does who is seen in a single sampled frame in sequence.
In tracks of fewer than five faces nothing is decided.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from preprocessing.faces.detector import Face

SIDE = 64
# Half axes of the oval in which faces are compared, in pixels of the patch: little background.
_OVAL = (26, 30)
# Measured on 47 clips of FaceForensics++, one person each: in real cuts to another framing of the
# same person the ratio is 2.0 to 4.5, else up to 1.8 (one turn of a head: 2.3).
RATIO = 2.0
# Grey levels (RMS). Where nothing moves, compression alone changes faces by up to 3.
LEAST_DIFFERENCE = 4.0
# Faces on either side of a change that are compared, and how many there must be.
REACH = 3
_LEAST_FACES = 2
_LEAST_COMPARED = 5


def patch(pixels: np.ndarray, face: Face) -> np.ndarray:
    """The square around a face, uint8 [64, 64, 3], RGB; border pixels are repeated.

    Those of all faces of a clip are held in memory until it ends.

    Args:
      pixels: uint8 [height, width, 3], RGB, the frame.
      face: a face of it.
    """
    side = max(1, round(face.size))
    left, top = (round(float(v)) for v in (face.box[:2] + face.box[2:] - side) / 2)
    height, width = pixels.shape[:2]
    if side > 4 * max(pixels.shape):  # A false find; its square could take any amount of memory.
        return np.zeros((SIDE, SIDE, 3), np.uint8)
    if 0 <= left <= width - side and 0 <= top <= height - side:
        square = pixels[top : top + side, left : left + side]
    else:
        columns = np.arange(left, left + side).clip(0, width - 1)
        rows = np.arange(top, top + side).clip(0, height - 1)
        square = pixels[rows[:, None], columns]
    return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def smoothed(face_patch: np.ndarray) -> np.ndarray:
    """A patch as faces are compared, float32 [64, 64, 3]: without its finest detail.

    Args:
      face_patch: uint8 [64, 64, 3], see `patch`.
    """
    return cv2.GaussianBlur(face_patch.astype(np.float32), (0, 0), 1.0)


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """How much two faces differ, once they are laid over each other, in grey levels (RMS).

    The second is moved by the affine map that maximises the enhanced correlation coefficient
    (Evangelidis and Psarakis, 2008), and gets the first one's brightness and contrast.

    Args:
      first: float32 [64, 64, 3], see `smoothed`.
      second: the same.
    """
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-3)
    warp = np.eye(2, 3, dtype=np.float32)
    try:
        _, warp = cv2.findTransformECC(
            first @ weights, second @ weights, warp, cv2.MOTION_AFFINE, criteria, None, 5
        )
    except cv2.error:  # Nothing in common, or a plain area: compared as they lie.
        warp = np.eye(2, 3, dtype=np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    second = cv2.warpAffine(
        second, warp, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    inside = _oval()
    first, second = (p[inside] - p[inside].mean(axis=0) for p in (first, second))
    contrast = (first * second).sum(axis=0) / np.maximum((second * second).sum(axis=0), 1e-6)
    return float(np.sqrt(np.mean((first - contrast * second) ** 2)))


def split(tracks: Sequence[int], patches: Sequence[np.ndarray]) -> list[int]:
    """Divides tracks where another person, or another version of the face, begins.

    Args:
      tracks: number of the track of each face, faces in order of time.
      patches: of each face, see `patch`.

    Returns:
      New track numbers, as long as `tracks`. The first person of a track keeps its number; who
      comes back after another gets the former number again.
    """
    result = list(tracks)
    next_number = max(tracks, default=-1) + 1
    for track in sorted(set(tracks)):
        members = [position for position, number in enumerate(tracks) if number == track]
        persons = persons_of([patches[position] for position in members])
        for position, person in zip(members, persons, strict=True):
            if person:
                result[position] = next_number + person - 1
        next_number += max(persons)
    return result


def persons_of(patches: Sequence[np.ndarray]) -> list[int]:
    """The number of the person of each face of a track, from 0, in order of appearance."""
    # A face is compared with its neighbours, and those of a part with those of earlier parts.
    smooth = functools.lru_cache(maxsize=4 * REACH)(lambda number: smoothed(patches[number]))
    distance = functools.lru_cache(maxsize=None)(
        lambda first, second: difference(smooth(first), smooth(second))
    )
    count = len(patches)
    bounds = [0, *_changes(count, distance), count]
    parts = [range(start, end) for start, end in itertools.pairwise(bounds)]
    persons: list[int] = []
    latest: dict[int, range] = {}
    for part in parts:
        candidates = [
            person
            for person, other in latest.items()
            if person != (persons[-1] if persons else None)
            and not _differ(other[-REACH:], part[:REACH], distance)
        ]
        person = candidates[-1] if candidates else len(latest)
        latest[person] = part
        persons += [person] * len(part)
    return persons


def _changes(count: int, distance: Callable[[int, int], float]) -> list[int]:
    """Numbers of the faces with which another person begins, rising."""
    starts: list[int] = []
    for start in range(_LEAST_FACES, count - _LEAST_FACES + 1):
        before = range(max(0, start - REACH), start)
        after = range(start, min(count, start + REACH))
        if len(before) + len(after) < _LEAST_COMPARED:
            continue
        # Most places are ruled out by the steps alone, which are few.
        steps = [distance(i, i + 1) for side in (before, after) for i in side[:-1]]
        if distance(start - 1, start) < max(LEAST_DIFFERENCE, RATIO * max(steps)):
            continue
        if _differ(before, after, distance):
            starts.append(start)
    return starts


def _differ(before: range, after: range, distance: Callable[[int, int], float]) -> bool:
    """Whether the faces on two sides are certainly not of one person under like conditions."""
    within = max(
        (distance(*pair) for side in (before, after) for pair in itertools.combinations(side, 2)),
        default=0.0,
    )
    across = min(distance(i, j) for i in before for j in after)
    return across >= max(LEAST_DIFFERENCE, RATIO * within)


@functools.lru_cache(maxsize=1)
def _oval() -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return (columns / _OVAL[0]) ** 2 + (rows / _OVAL[1]) ** 2 < 1
