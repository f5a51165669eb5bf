"""Which parts of a clip are manipulated: windows over the crops of a track.

A clip's score is a mean over each track, which a forgery of a few seconds hardly moves. A scan
statistic does better: the largest mean over all windows of a length (Glaz, Naus and Wallenstein,
"Scan Statistics", 2001). With the calibrated logits l of the n crops of a track in order of time,

    w = max(1, round(share n)),   W = max over tracks and i of (l[i] + ... + l[i + w - 1]) / w

The card keeps W of val's real clips, and a clip's own W is ranked among these as its score is (see
`serving.model.conformal`): at most the chosen share of real clips like val's has a window beyond
the limit, however many windows were looked at.

That holds for clips with as many windows as val's. A window is a share of a track and not a number
of crops, so tracks of any length have 1 / share windows side by side; but those of fewer than
1 / share crops have fewer, and a single crop has one, whose W is its logit. Films would stand out
among such clips without being forged, for theirs is the largest of many. So tracks of fewer crops
than

    least = min(ceil(1 / share), frames that are looked at of a clip)

are left out, of val's clips and of new ones alike: ranks are among clips of one kind (conformal
prediction by category: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005,
section 4.5). Where val has no other real clips, as where it was made of single crops, the card has
no windows, and there are no segments.

Where a segment begins and ends, the logits tell: calibrated for classes of the same weight they are
logarithms of likelihood ratios, so the interval with the largest sum is the most likely one to be
forged, given that what is around it is real (a maximal scoring segment: Karlin and Altschul,
"Methods for assessing the statistical significance of molecular sequence features", 1990; the
algorithm is Kadane's: Bentley, "Algorithm design techniques", 1984). It is looked for within
windows beyond the limit, those that overlap or touch taken together. Begin and end are
estimates; that there is a segment holds at the rate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import model_validator

from preprocessing.support.record import Record
from preprocessing.support.section import SectionError
from serving.model.aggregation import probability, readable
from serving.model.conformal import ReferenceClips
from serving.model.rates import percent

# Of a track's crops that a window has: the shortest forgery that is looked for.
SHARE = 0.2
NO_WINDOWS = (
    "no segments: the model's card holds no windows of validation clips that those of a clip could "
    "be ranked among, because an older version exported it, or because the real clips of "
    "validation have too few faces each, as single crops"
)


class WindowClips(Record):
    """`windows` of the model card.

    Attributes:
      real: the largest window means of val's real clips, calibrated logits.
      share: share of a track's crops that a window has.
      split: name of the split that the clips are from.
      least_crops: crops of a track at least; shorter ones have no windows. 1 in cards of earlier
        versions.
    """

    real: ReferenceClips
    share: float
    split: str = "val"
    least_crops: int = 1

    @model_validator(mode="after")
    def _check(self) -> WindowClips:
        if not 0.0 < self.share <= 1.0:
            raise SectionError("share", f"{self.share} is not above 0 and at most 1")
        if self.least_crops < 1:
            raise SectionError("least_crops", f"{self.least_crops} is below 1")
        return self

    def text(self, rate: float) -> str:
        """What a segment means at a rate of real clips that may have one, in a sentence."""
        limit = self.real.highest_kept(rate)
        if limit is None:
            return (
                f"no clip has segments, for {self.real.clusters} clusters of real clips cannot "
                f"show {percent(rate)}"
            )
        short = (
            f"; tracks of fewer than {self.least_crops} faces have none"
            if self.least_crops > 1
            else ""
        )
        return (
            f"segments: within {self.share:.0%} of a track's frames or more whose mean is above "
            f"{readable(limit)}, which at most {percent(rate)} of real clips have{short}"
        )


@dataclasses.dataclass(frozen=True)
class CropPositions:
    """Track, frame number and time of each crop of a clip.

    Attributes:
      tracks: int [crops].
      frames: int [crops], numbers of their frames.
      seconds: float [crops], presentation times of these; None where nothing tells them, as for
        pictures.
    """

    tracks: np.ndarray
    frames: np.ndarray
    seconds: np.ndarray | None

    @classmethod
    def of(
        cls, tracks: Sequence[int], frames: Sequence[int], milliseconds: Sequence[float]
    ) -> CropPositions:
        """From lists of these values.

        Args:
          tracks: [crops].
          frames: [crops].
          milliseconds: [crops], zeros where nothing tells the times.
        """
        times = np.asarray(milliseconds, np.float64)
        known = bool(times.any()) and bool(np.isfinite(times).all())
        return cls(np.asarray(tracks), np.asarray(frames), times / 1000.0 if known else None)


@dataclasses.dataclass(frozen=True)
class Segment:
    """A part of a track that is manipulated.

    Attributes:
      track: number of the track within the file.
      start: seconds; None where the file has no times.
      end: seconds, likewise.
      first_frame: number of its first sampled frame.
      last_frame: number of its last sampled frame.
      score: P(fake) of the mean logit of its crops.
      logit: the mean logit.
    """

    track: int
    start: float | None
    end: float | None
    first_frame: int
    last_frame: int
    score: float
    logit: float


@dataclasses.dataclass(frozen=True)
class Window:
    """The most suspicious window of a clip.

    Attributes:
      logit: mean over its crops.
      p_value: p-value of "no part of the clip is manipulated"; at most so large a share of real
        clips has such a window.
    """

    logit: float
    p_value: float


@dataclasses.dataclass(frozen=True)
class ManipulatedParts:
    """The most suspicious window of a clip and its manipulated segments.

    Attributes:
      window: the most suspicious window.
      segments: manipulated segments in order of track and time; empty where the rate rules out
        none.
    """

    window: Window
    segments: tuple[Segment, ...]


def least_crops(frames: int) -> int:
    """Crops that a track needs to have windows, see the module.

    Args:
      frames: number of frames that are sampled from a clip.
    """
    return max(1, min(math.ceil(1.0 / SHARE - 1e-9), frames))


def window_maxima(
    logits: np.ndarray,
    clips: np.ndarray,
    tracks: np.ndarray,
    share: float = SHARE,
    least: int = 1,
) -> np.ndarray:
    """The largest window mean of each clip.

    Args:
      logits: float [crops]; those of a track in order of time.
      clips: [crops], id of the clip of each crop.
      tracks: int [crops], number of the crop's track within its clip.
      share: share of a track's crops that a window has.
      least: crops of a track at least; shorter ones are left out.

    Returns:
      float64 [clips], in sorted order of the ids; NaN for clips without a track that is left.

    >>> window_maxima(np.array([0.0, 2.0, 4.0, 1.0]), np.array([5, 5, 5, 3]), np.zeros(4), 0.5)
    array([1., 3.])
    """
    logits = np.asarray(logits, np.float64)
    names, clip_of = np.unique(clips, return_inverse=True)
    keys, track_of = np.unique(np.stack([clip_of, tracks], axis=1), axis=0, return_inverse=True)
    track_of = track_of.reshape(-1)  # NumPy 2.0 gives it another shape.
    order = np.argsort(track_of, kind="stable")
    counts = np.bincount(track_of)
    maxima = np.full(len(names), np.nan)
    for (clip, _), values in zip(keys, np.split(logits[order], np.cumsum(counts)), strict=False):
        if len(values) >= least:
            maxima[int(clip)] = np.fmax(maxima[int(clip)], _means(values, share).max())
    return maxima


def window_clips(
    maxima: np.ndarray, labels: np.ndarray, clusters: np.ndarray, least: int = 1
) -> dict[str, Any] | None:
    """What `WindowClips` reads; None where no real clip has windows.

    Args:
      maxima: float [clips], see `window_maxima`; NaN for clips without windows.
      labels: int [clips], 1 = fake.
      clusters: [clips], name of each clip's cluster, as of its person.
      least: crops at least of a track that has windows.
    """
    kept = (np.asarray(labels) == 0) & ~np.isnan(maxima)
    if not kept.any():
        return None
    reference = ReferenceClips.of(np.asarray(maxima)[kept], np.asarray(clusters)[kept])
    return WindowClips(real=reference, share=SHARE, least_crops=least).to_dict()


def find_segments(
    val_windows: WindowClips, logits: np.ndarray, positions: CropPositions, rate: float
) -> ManipulatedParts | None:
    """Ranks the windows of a clip among those of val's, and finds its segments.

    Args:
      val_windows: largest window means of val's real clips, of the model card.
      logits: float [crops], finite, at least one, in order of time.
      positions: track, frame and time of each crop.
      rate: share of real clips that may have a segment.

    Returns:
      None where each track is too short for windows, as that of a picture.
    """
    logits = np.asarray(logits, np.float64)
    least = val_windows.least_crops
    (largest,) = window_maxima(
        logits, np.zeros(len(logits)), positions.tracks, val_windows.share, least
    )
    if np.isnan(largest):
        return None
    window = Window(float(largest), val_windows.real.p_high(float(largest)))
    limit = val_windows.real.highest_kept(rate)
    # A picture has no parts.
    if limit is None or largest <= limit or len(np.unique(positions.frames)) < 2:
        return ManipulatedParts(window, ())
    segments = []
    for track in np.unique(positions.tracks):
        crops = np.flatnonzero(positions.tracks == track)
        if len(crops) < least:
            continue
        for first, last in _runs(logits[crops], limit, val_windows.share):
            segments.append(_segment(int(track), crops[first : last + 1], logits, positions))
    return ManipulatedParts(window, tuple(segments))


def _means(values: np.ndarray, share: float) -> np.ndarray:
    """Means of all windows of a track; float64 [crops - w + 1]."""
    length = _length(len(values), share)
    means: np.ndarray = np.lib.stride_tricks.sliding_window_view(values, length).mean(axis=1)
    return means


def _length(crops: int, share: float) -> int:
    return max(1, int(share * crops + 0.5))


def _runs(values: np.ndarray, limit: float, share: float) -> list[tuple[int, int]]:
    """First and last crop of each segment of a track."""
    covered = np.zeros(len(values) + 2, np.int64)
    for start in np.flatnonzero(_means(values, share) > limit):
        covered[start + 1 : start + 1 + _length(len(values), share)] = 1
    edges = np.diff(covered)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [
        (int(start) + low, int(start) + high)
        for start, end in zip(starts, ends, strict=True)
        for low, high in [_largest_sum(values[start:end])]
    ]


def _largest_sum(values: np.ndarray) -> tuple[int, int]:
    """First and last of the neighbours with the largest sum."""
    best, best_at = -np.inf, (0, 0)
    total, start = 0.0, 0
    for number, value in enumerate(values):
        if total <= 0.0:
            total, start = 0.0, number
        total += float(value)
        if total > best:
            best, best_at = total, (start, number)
    return best_at


def _segment(
    track: int, crops: np.ndarray, logits: np.ndarray, positions: CropPositions
) -> Segment:
    logit = float(logits[crops].mean())
    start, end = _times(positions.seconds, crops) if positions.seconds is not None else (None, None)
    first_frame, last_frame = (int(positions.frames[crop]) for crop in (crops[0], crops[-1]))
    score = float(probability(logit))
    return Segment(track, start, end, first_frame, last_frame, score, logit)


def _times(seconds: np.ndarray, crops: np.ndarray) -> tuple[float, float]:
    """Begin and end: a frame stands for the time up to halfway to its neighbours.

    Where the next frame with a face is far away, for half of the usual time between two.
    """
    times = np.unique(seconds)
    # A damaged file may show all its frames at one time.
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    first, last = float(seconds[crops[0]]), float(seconds[crops[-1]])
    at, to = np.searchsorted(times, (first, last))
    before = min(first - float(times[at - 1]), usual) if at else usual
    after = min(float(times[to + 1]) - last, usual) if to + 1 < len(times) else usual
    return round(max(0.0, first - before / 2), 3), round(last + after / 2, 3)
