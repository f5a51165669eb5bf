"""Detects the shots of a clip from its sampled frames.

Sampled frames may be seconds apart, so a frame that differs from the one before is no evidence of
a cut: people walk and cameras pan. Two properties change together at a cut and seldom otherwise:
the colours of the picture, which survive motion, and its layout, which survives changes of light.

A shot is what one camera shows: where the picture returns to one that was seen before, as in an
interview filmed with two cameras, the earlier shot goes on.

Limits: a cut between pictures of similar colours or of similar layout is not seen, such as one to
another framing of the same room (`preprocessing.faces.persons` looks at the faces for that); a
camera that turns to a place of other colours between two sampled frames counts as a cut.
"""

from __future__ import annotations

import collections
import dataclasses

import cv2
import numpy as np

# Side of the small picture that is compared: enough to tell a chair from a curtain.
_SIDE = 32
# Frames whose shorter side has so many pixels are halved first.
_HALVED = 512
# Bins of L, a and b in CIE L*a*b*, and the ranges that they divide.
_BINS = np.array([10, 12, 12])
_LOW, _HIGH = np.array([0.0, -60.0, -60.0]), np.array([100.0, 60.0, 60.0])
_SMOOTHING = np.array([0.25, 0.5, 0.25], np.float32)
# Grey levels of L (0 to 100) by which a picture must vary for its layout to mean anything.
_PLAIN = 1.0
# Two frames are of two shots where both similarities are below this. Of 1,363 pairs of frames three
# samples apart, in 47 clips of FaceForensics++ with walking persons and turning cameras, none is.
DIFFERENT = 0.7
# They are of one camera where both similarities are above this.
SAME = 0.9
# A frame is compared with so many frames before it: a dissolve is no step between neighbours.
REACH = 3
# Frames of each shot that are remembered, to know it again.
_REMEMBERED = 32


@dataclasses.dataclass(frozen=True)
class Look:
    """What is compared of a frame.

    Attributes:
      colours: float32 [10 * 12 * 12], smoothed histogram of its colours; the sum is 1.
      layout: float32 [32 * 32], lightness of the small picture with mean 0 and norm 1; all 0 for a
        plain picture.
    """

    colours: np.ndarray
    layout: np.ndarray

    @classmethod
    def of(cls, pixels: np.ndarray) -> Look:
        """The look of a frame, uint8 [height, width, 3], RGB."""
        small = pixels
        while min(small.shape[:2]) >= _HALVED:
            # Means of two by two pixels are many times faster than those of other areas.
            height, width = (side // 2 for side in small.shape[:2])
            even = small[: 2 * height, : 2 * width]
            small = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        small = cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        lab = cv2.GaussianBlur(lab, (0, 0), 1.0).reshape(-1, 3)
        cells = ((lab - _LOW) / (_HIGH - _LOW) * _BINS).astype(int).clip(0, _BINS - 1)
        places = np.ravel_multi_index(tuple(cells.T), tuple(_BINS))
        colours = np.bincount(places, minlength=int(_BINS.prod())).astype(np.float32)
        colours = colours.reshape(_BINS)
        for axis in range(3):
            colours = _smoothed(colours, axis)
        layout = lab[:, 0] - lab[:, 0].mean()
        norm = float(np.linalg.norm(layout))
        layout = layout / norm if norm > _PLAIN * _SIDE else np.zeros_like(layout)
        return cls(colours.ravel() / colours.sum(), layout)

    def similarities(self, other: Look) -> tuple[float, float]:
        """Similarity of the colours, 0 to 1, and of the layouts, -1 to 1."""
        return (
            float(np.minimum(self.colours, other.colours).sum()),
            float(self.layout @ other.layout),
        )

    def differs(self, other: Look) -> bool:
        """Whether the two frames are certainly of different shots."""
        return max(self.similarities(other)) < DIFFERENT

    def matches(self, other: Look) -> bool:
        """Whether the two frames are certainly of one camera."""
        return min(self.similarities(other)) > SAME


class ShotDetector:
    """Numbers the shots of one clip, frame by frame.

    >>> ShotDetector().shot_of(Look.of(np.zeros((4, 4, 3), np.uint8)))
    0
    """

    def __init__(self) -> None:
        self._recent: collections.deque[Look] = collections.deque(maxlen=REACH)
        self._looks: list[collections.deque[Look]] = [collections.deque(maxlen=_REMEMBERED)]
        self._shot = 0
        self._blending = 0

    def shot_of(self, look: Look) -> int:
        """The number of the shot that the next frame belongs to, of which the look is given.

        Numbers begin with 0, in order of appearance; an earlier one where its shot goes on.
        """
        *earlier, previous = self._recent or [look]
        hard = look.differs(previous)
        gradual = not hard and any(look.differs(before) for before in earlier)
        if hard or gradual:
            self._shot = self._shot_like(look)
            # The rest of a dissolve belongs to what comes after it.
            self._blending = 0 if hard else REACH
        if hard or gradual or self._blending:
            self._recent.clear()
            self._blending = max(0, self._blending - (not gradual))
        self._recent.append(look)
        self._looks[self._shot].append(look)
        return self._shot

    def _shot_like(self, look: Look) -> int:
        """The latest shot with a frame from the same camera; a new one where there is none."""
        for shot in reversed(range(len(self._looks))):
            if any(look.matches(former) for former in self._looks[shot]):
                return shot
        self._looks.append(collections.deque(maxlen=_REMEMBERED))
        return len(self._looks) - 1


def _smoothed(histogram: np.ndarray, axis: int) -> np.ndarray:
    """A histogram in which half of each bin is shared with its neighbours along an axis."""
    padded = np.pad(histogram, [(1, 1) if number == axis else (0, 0) for number in range(3)])
    length = histogram.shape[axis]
    return sum(
        weight * padded.take(range(start, start + length), axis)
        for start, weight in enumerate(_SMOOTHING)
    )
