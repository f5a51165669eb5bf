"""The verdict on one file, computed from its crops, and its wording."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocessing.faces.face_selection import FaceCounts
from serving.model.aggregation import NonFiniteLogits, aggregate, probability
from serving.model.thresholds import FALSE_ALARMS, NO_BAND, Thresholds, thresholds_of

if TYPE_CHECKING:
    from preprocessing.faces.face_cropper import Crop
    from serving.model.card import ModelCard

# Stands in place of each word of a model that learnt from made data, as the demo's.
NOT_A_VERDICT = "not a verdict: this model was trained on made-up pictures"


@dataclasses.dataclass(frozen=True)
class Wording:
    """How the logits of a model are put into words: every output asks here.

    Attributes:
      thresholds: of the model; None where it has none.
      made_data: whether the model learnt from made data. Such a model gives no word: what it knows
        of real clips is nothing.
    """

    thresholds: Thresholds | None = None
    made_data: bool = False

    @classmethod
    def of(cls, model_card: ModelCard, false_alarms: float = FALSE_ALARMS) -> Wording:
        """The wording of a model.

        Args:
          model_card: of the model.
          false_alarms: share of real clips that may be called fake.

        Raises:
          UsageError: see `thresholds_of`.
        """
        thresholds = thresholds_of(model_card.operating_points, false_alarms)
        return cls(thresholds, model_card.made_data)

    @property
    def warning(self) -> str:
        """Why there is no verdict whatever the score; empty for a model of real data."""
        return NOT_A_VERDICT if self.made_data else ""

    def word(self, logit: float) -> str:
        """`fake`, `real` or `uncertain`; the warning where there is one; empty without thresholds.

        Raises:
          ValueError: see `Thresholds.verdict`.
        """
        word = self.thresholds.verdict(logit) if self.thresholds else ""
        return self.warning or word

    def meaning(self) -> str:
        """What the words mean, in a sentence."""
        if self.made_data:
            return (
                f"{NOT_A_VERDICT}; its scores show that the program works, and say nothing about "
                "real videos"
            )
        return self.thresholds.text() if self.thresholds else NO_BAND


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
      verdict: `fake`, `real` or `uncertain`, or why it is none, see `Wording.word`; empty without a
        score, and for a model without operating points.
      wording: what the verdict follows from.
      logit: of the score, and what the thresholds are compared with; None when there is none.
    """

    file: str
    score: float | None
    tracks: tuple[TrackScore, ...] = ()
    counts: FaceCounts = dataclasses.field(default_factory=FaceCounts)
    reason: str = ""
    verdict: str = ""
    wording: Wording = Wording()
    logit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain values, without the file; README.md shows it."""
        thresholds = self.wording.thresholds
        return {
            "verdict": self.verdict,
            "warning": self.wording.warning,
            "score": self.score,
            "logit": self.logit,
            "reason": self.reason,
            "note": self.counts.note,
            "notes": list(self.counts.notes),
            "frames": self.counts.frames,
            "shots": self.counts.shots,
            "faces_found": self.counts.faces,
            "faces": self.counts.crops,
            "left_out": self.counts.dropped,
            "tracks": [dataclasses.asdict(track) for track in self.tracks],
            "thresholds": dataclasses.asdict(thresholds) if thresholds else None,
            "meaning": self.wording.meaning(),
        }


def judge(
    file: str,
    crops: Sequence[Crop],
    counts: FaceCounts,
    logits_of: Callable[[Sequence[bytes]], np.ndarray],
    wording: Wording,
    model: str,
) -> Verdict:
    """From the crops of a file to its verdict: the one way, whoever computes the logits.

    Args:
      file: as it was named.
      crops: of the file.
      counts: of its frames and faces.
      logits_of: gives the calibrated logits, float [crops], of encoded crops; not asked without
        crops.
      wording: of the model.
      model: what gives the logits, for messages.

    Returns:
      The verdict. Without crops there is no score; the reason is `no face` where none was found,
      and else says how many were found and why each was left out.

    Raises:
      NonFiniteLogits: the model gave NaN or infinite logits; model and file are named.
    """
    if not crops:
        return Verdict(file, None, counts=counts, reason=counts.why_none(), wording=wording)
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
        verdict=wording.word(logit),
        wording=wording,
    )
