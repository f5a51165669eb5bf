"""The answer about one file, and the one way from its crops to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocessing.faces.face_selection import FaceCounts
from serving.model.aggregation import NonFiniteLogits, aggregate, probability
from serving.model.thresholds import NO_BAND, Thresholds

if TYPE_CHECKING:
    from preprocessing.faces.face_cropper import Crop


@dataclasses.dataclass(frozen=True)
class TrackScore:
    """The score of one track.

    Attributes:
      track: its number within the file.
      score: P(fake).
      faces: of it that were judged.
    """

    track: int
    score: float
    faces: int


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer for one file.

    Attributes:
      file: as it was named.
      score: P(fake) of the file, that of its most suspicious track; None when there is none.
      tracks: that were judged, most suspicious first.
      counts: frames looked at, faces found, judged and left out.
      reason: why there is no score; empty when there is one.
      verdict: `fake`, `real` or `uncertain`, see `serving.model.thresholds`; empty without a score,
        and for a model without operating points.
      thresholds: what the verdict follows from; None where there are none.
      logit: of the score, and what the thresholds are compared with; None when there is none.
    """

    file: str
    score: float | None
    tracks: tuple[TrackScore, ...] = ()
    counts: FaceCounts = dataclasses.field(default_factory=FaceCounts)
    reason: str = ""
    verdict: str = ""
    thresholds: Thresholds | None = None
    logit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain values, without the file; README.md shows it."""
        return {
            "verdict": self.verdict,
            "score": self.score,
            "logit": self.logit,
            "reason": self.reason,
            "note": self.counts.note,
            "frames": self.counts.frames,
            "shots": self.counts.shots,
            "faces_found": self.counts.faces,
            "faces": self.counts.crops,
            "left_out": self.counts.dropped,
            "tracks": [dataclasses.asdict(track) for track in self.tracks],
            "thresholds": dataclasses.asdict(self.thresholds) if self.thresholds else None,
            "meaning": self.thresholds.text() if self.thresholds else NO_BAND,
        }


def judge(
    file: str,
    crops: Sequence[Crop],
    counts: FaceCounts,
    logits_of: Callable[[Sequence[bytes]], np.ndarray],
    thresholds: Thresholds | None,
    model: str,
) -> Verdict:
    """From the crops of a file to its verdict: the one way, whoever computes the logits.

    Args:
      file: as it was named.
      crops: of the file.
      counts: of its frames and faces.
      logits_of: gives the calibrated logits, float [crops], of encoded crops; not asked without
        crops.
      thresholds: of the model.
      model: what gives the logits, for messages.

    Returns:
      The verdict. Without crops there is no score; the reason is `no face` where none was found,
      and else says how many were found and why each was left out.

    Raises:
      NonFiniteLogits: the model gave NaN or infinite logits; model and file are named.
    """
    if not crops:
        return Verdict(file, None, counts=counts, reason=counts.why_none(), thresholds=thresholds)
    logits = logits_of([crop.jpeg for crop in crops])
    tracks = np.array([crop.track for crop in crops])
    try:
        scores = aggregate(logits, np.full(len(crops), file), tracks)
    except NonFiniteLogits as error:
        raise NonFiniteLogits(f"the model {model} gives no usable scores: {error}") from None
    by_track = [
        TrackScore(int(track), float(probability(logit)), int((tracks == track).sum()))
        for track, logit in zip(scores.tracks, scores.track_logits, strict=True)
    ]
    logit = float(scores.logits[0])
    return Verdict(
        file=file,
        score=float(probability(logit)),
        logit=logit,
        tracks=tuple(sorted(by_track, key=lambda scored: (-scored.score, scored.track))),
        counts=counts,
        verdict=thresholds.verdict(logit) if thresholds else "",
        thresholds=thresholds,
    )
