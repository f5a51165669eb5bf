"""The scores of tracks, and of their faces over time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from serving.model.aggregation import AggregatedScores, probability
from serving.model.windows import CropPositions


@dataclasses.dataclass(frozen=True)
class Moment:
    """The score of one face of a track.

    Attributes:
      frame: number of its frame within the file.
      seconds: presentation time of that; None where nothing tells it, as for pictures.
      score: P(fake).
      logit: logit of the score.
    """

    frame: int
    seconds: float | None
    score: float
    logit: float


@dataclasses.dataclass(frozen=True)
class TrackScore:
    """The score of one track.

    Attributes:
      track: number of the track within the file.
      score: P(fake).
      faces: number of its faces that were judged.
      timeline: scores of these faces in order of time.
    """

    track: int
    score: float
    faces: int
    timeline: tuple[Moment, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as answers have them."""
        return {
            "track": self.track,
            "score": self.score,
            "faces": self.faces,
            "timeline": [dataclasses.asdict(moment) for moment in self.timeline],
        }


def track_scores(
    scores: AggregatedScores, logits: np.ndarray, positions: CropPositions
) -> tuple[TrackScore, ...]:
    """The tracks of one clip, the most suspicious first.

    Args:
      scores: scores of that clip alone.
      logits: float [crops], in order of time.
      positions: track, frame and time of each crop.
    """
    # By logits: scores of very large ones are all 1.
    order = np.lexsort((scores.tracks, -scores.track_logits))
    return tuple(
        TrackScore(
            int(track),
            float(probability(logit)),
            int((positions.tracks == track).sum()),
            _timeline(logits, positions, positions.tracks == track),
        )
        for track, logit in zip(scores.tracks[order], scores.track_logits[order], strict=True)
    )


def _timeline(
    logits: np.ndarray, positions: CropPositions, chosen: np.ndarray
) -> tuple[Moment, ...]:
    return tuple(
        Moment(
            int(positions.frames[crop]),
            None if positions.seconds is None else float(positions.seconds[crop]),
            float(probability(logits[crop])),
            float(logits[crop]),
        )
        for crop in np.flatnonzero(chosen)
    )
