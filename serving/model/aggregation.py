"""Aggregates the logits of crops to scores of tracks and clips.

Defined once, for training's validation metric, evaluation, prediction and the gateway alike.

A track's logit is the mean over its crops: averaging logits instead of probabilities lets one
confident crop count, and is what the DFDC study of Bonettini et al. (2020) does. A clip's logit
is its highest track's: one manipulated face makes the clip fake, however many real ones it shows.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class AggregatedScores:
    """Logits per clip, and per track within the clips.

    Attributes:
      clips: [clips], ids of the clips in sorted order.
      logits: float64 [clips], each clip's logit.
      track_clips: [tracks], the clip of each track, sorted.
      tracks: [tracks], numbers of the tracks within their clips.
      track_logits: float64 [tracks], each track's logit.
    """

    clips: np.ndarray
    logits: np.ndarray
    track_clips: np.ndarray
    tracks: np.ndarray
    track_logits: np.ndarray


class NonFiniteLogits(Exception):
    """A model gave NaN or infinite logits, or distances, from which no score follows."""


def aggregate(
    logits: np.ndarray, clips: np.ndarray, tracks: np.ndarray, allow_non_finite: bool = False
) -> AggregatedScores:
    """Joins the logits of crops to logits of tracks and clips.

    Args:
      logits: float [crops].
      clips: [crops], id of the clip of each crop (strings, bytes or integers).
      tracks: int [crops], number of the crop's track within its clip.
      allow_non_finite: NaN and infinite logits are carried on into the scores, for evaluations,
        which count them. By default they are refused: every comparison with NaN is false, so a
        clip with such a score would look real.

    Returns:
      The scores; all arrays are empty where no crop is given.

    Raises:
      ValueError: the arrays differ in length.
      NonFiniteLogits: a logit is NaN or infinite.
    """
    logits, clips, tracks = np.asarray(logits, np.float64), np.asarray(clips), np.asarray(tracks)
    if not logits.shape == clips.shape == tracks.shape or logits.ndim != 1:
        raise ValueError(
            f"logits {logits.shape}, clips {clips.shape} and tracks {tracks.shape} must be "
            "one-dimensional and of equal length"
        )
    if not allow_non_finite:
        refuse_non_finite(logits, clips)
    names, clip_of = np.unique(clips, return_inverse=True)
    keys, track_of = np.unique(np.stack([clip_of, tracks], axis=1), axis=0, return_inverse=True)
    # numpy 2.0 keeps the axis in the inverse.
    track_of = track_of.reshape(-1)
    keys = keys.astype(np.int64)
    sums = np.bincount(track_of, weights=logits, minlength=len(keys))
    track_logits = sums / np.maximum(np.bincount(track_of, minlength=len(keys)), 1)
    best = np.full(len(names), -np.inf)
    with np.errstate(invalid="ignore"):  # A NaN that is allowed to be there.
        np.maximum.at(best, keys[:, 0], track_logits)
    return AggregatedScores(names, best, names[keys[:, 0]], keys[:, 1], track_logits)


def refuse_non_finite(values: np.ndarray, clips: np.ndarray, what: str = "logits") -> None:
    """Raises NonFiniteLogits where a crop's value is NaN or infinite.

    Args:
      values: float [crops].
      clips: [crops], id of the clip of each crop.
      what: name of the values, for the message.
    """
    broken = ~np.isfinite(values)
    if broken.any():
        first = clips[np.argmax(broken)]
        name = first.decode(errors="replace") if isinstance(first, bytes) else first
        raise NonFiniteLogits(
            f"{broken.sum()} of {len(values)} {what} are NaN or infinite, the first of them in "
            f"{name}"
        )


def probability(logits: np.ndarray | float) -> np.ndarray:
    """P(fake) of logits; float64 of the same shape, without overflow."""
    logits = np.asarray(logits, np.float64)
    probabilities: np.ndarray = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return probabilities


def readable(logit: float | None) -> str:
    """P(fake) of a logit in three digits; the logit beside it where those say only 0 or 1.

    >>> readable(0.0), readable(9.0), readable(None)
    ('0.500', '1.000 (logit 9)', 'none')
    """
    if logit is None:
        return "none"
    text = f"{float(probability(logit)):.3f}"
    return f"{text} (logit {logit:.4g})" if text in ("0.000", "1.000") else text
