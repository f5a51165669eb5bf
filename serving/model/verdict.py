"""The verdict on one file, computed from its crops, and the rule that decides it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocessing.faces.face_selection import FaceCounts
from serving.model.aggregation import (
    NonFiniteLogits,
    aggregate,
    probability,
    refuse_non_finite,
)
from serving.model.conformal import ConformalClips
from serving.model.familiarity import (
    UNFAMILIAR,
    ClipFamiliarity,
    Familiarity,
    clip_appearance,
    rank_familiarity,
)
from serving.model.operating_points import OperatingPoints
from serving.model.outputs import CropOutputs
from serving.model.rates import Rates, percent
from serving.model.thresholds import (
    NO_THRESHOLDS,
    Thresholds,
    conformal_thresholds,
    earlier_thresholds,
)
from serving.model.timeline import TrackScore, track_scores
from serving.model.windows import (
    NO_WINDOWS,
    CropPositions,
    ManipulatedParts,
    WindowClips,
    find_segments,
)

if TYPE_CHECKING:
    from preprocessing.faces.face_cropper import Crop
    from serving.model.card import ModelCard

# Of the schema of answers, see `serving.model.answer`.
SCHEMA_VERSION = 1
# Stands in place of each verdict of a model that learnt from made data, as the demo's.
NOT_A_VERDICT = "not a verdict: this model was trained on made-up pictures"


@dataclasses.dataclass(frozen=True)
class PValues:
    """How a clip ranks among the validation clips, see `serving.model.conformal`.

    Attributes:
      real: p-value of "the clip is real"; at most so large a share of real clips score so high.
      fake: p-value of "the clip is fake"; at most so large a share of fakes score so low, of
        blended ones only with `DecisionRule.blended_fakes`.
    """

    real: float
    fake: float


@dataclasses.dataclass(frozen=True)
class DecisionRule:
    """Turns calibrated clip logits into verdicts: thresholds, p-values, familiarity and segments.

    Used by every output.

    Attributes:
      thresholds: thresholds of the model; None where it has none.
      made_data: whether the model learnt from made data. Such a model gives no verdict: what it
        knows of real clips is nothing.
      clips: validation clips that the thresholds follow from; None for a card of an earlier
        version.
      familiarity: distances of its own data to the training crops; None where the model does not
        say how far a crop lies.
      rates: error rates that the verdicts keep to.
      points: operating points of a card of an earlier version, from which its thresholds follow;
        else None.
      windows: largest window means of val's real clips, from which segments follow; None for a card
        without them.
      blended_fakes: whether the fakes of `clips` were blended from val's real clips, so that the
        miss rate holds for such fakes only.
    """

    thresholds: Thresholds | None = None
    made_data: bool = False
    clips: ConformalClips | None = None
    familiarity: Familiarity | None = None
    rates: Rates = dataclasses.field(default_factory=Rates)
    points: OperatingPoints | None = None
    windows: WindowClips | None = None
    blended_fakes: bool = False

    @classmethod
    def of(
        cls,
        model_card: ModelCard,
        false_positive_rate: float | None = None,
        miss_rate: float | None = None,
    ) -> DecisionRule:
        """The decision rule of a model.

        Args:
          model_card: card of the model.
          false_positive_rate: share of real clips that may be called fake; None for the card's.
          miss_rate: share of fake clips that may be called real; None for the card's.

        Raises:
          UsageError: a rate is out of range, or the card is of an earlier version that has no
            threshold for the rate.
        """
        clips = model_card.conformal
        rule = cls(
            made_data=model_card.made_data,
            clips=clips,
            familiarity=model_card.familiarity,
            rates=model_card.verdict or Rates(),
            points=model_card.operating_points if clips is None else None,
            windows=model_card.windows,
            blended_fakes=model_card.blended_fakes,
        )
        return rule.at(false_positive_rate, miss_rate)

    def at(
        self, false_positive_rate: float | None = None, miss_rate: float | None = None
    ) -> DecisionRule:
        """The same rule at other rates; None for those that it has.

        Raises:
          UsageError: as `of`.
        """
        rates = self.rates.changed(false_positive_rate, miss_rate)
        if self.clips is None:
            thresholds = earlier_thresholds(self.points, rates.false_positive_rate)
        else:
            thresholds = conformal_thresholds(self.clips, rates)
        return dataclasses.replace(self, thresholds=thresholds, rates=rates)

    @property
    def warning(self) -> str:
        """Why there is no verdict whatever the score; empty for a model of real data."""
        return NOT_A_VERDICT if self.made_data else ""

    def verdict(self, logit: float, familiarity: ClipFamiliarity | None = None) -> str:
        """`fake`, `real`, `uncertain` or `unfamiliar`; the warning where there is one.

        Args:
          logit: calibrated logit of the clip.
          familiarity: familiarity of the clip, see `familiarity_of`; None where the model does not
            say.

        Returns:
          The verdict; empty without thresholds, for a clip that is not unfamiliar.

        Raises:
          ValueError: see `Thresholds.verdict`.
        """
        verdict = self.thresholds.verdict(logit) if self.thresholds else ""
        if familiarity and familiarity.facts:
            verdict = UNFAMILIAR
        return self.warning or verdict

    def familiarity_of(
        self, appearance: np.ndarray | None, tracks: np.ndarray, file: str
    ) -> ClipFamiliarity | None:
        """How unlike the model's own data the crops of a clip are.

        Args:
          appearance: see `CropOutputs`.
          tracks: int [crops].
          file: the clip, for messages.

        Returns:
          None where the model does not say.

        Raises:
          NonFiniteLogits: a distance is NaN or infinite.
        """
        if self.familiarity is None or appearance is None:
            return None
        clips = np.full(len(tracks), file)
        (distance,), (facts,) = clip_appearance(appearance, clips, tracks)
        return rank_familiarity(
            self.familiarity, float(distance), facts, self.rates.unfamiliar_rate
        )

    def familiarity_of_distance(self, distance: float) -> ClipFamiliarity | None:
        """As `familiarity_of`, of a clip's distance alone; None where it is NaN, too."""
        if self.familiarity is None or not np.isfinite(distance):
            return None
        return rank_familiarity(self.familiarity, distance, np.zeros(0), self.rates.unfamiliar_rate)

    def p_values(self, logit: float) -> PValues | None:
        """How a clip's logit ranks among the validation clips; None where the card has none."""
        if self.clips is None:
            return None
        return PValues(self.clips.real.p_high(logit), self.clips.fake.p_low(logit))

    def find_segments(
        self, logits: np.ndarray, positions: CropPositions
    ) -> ManipulatedParts | None:
        """The most suspicious window of a clip and its manipulated segments.

        None where the model does not say, or the clip's tracks are too short for windows.

        Args:
          logits: float [crops], finite, in order of time.
          positions: track, frame and time of each crop.
        """
        if self.windows is None:
            return None
        return find_segments(self.windows, logits, positions, self.rates.false_positive_rate)

    def segments_meaning(self) -> str:
        """What segments mean, in a sentence; or why there are none."""
        if self.windows is None:
            return NO_WINDOWS
        return self.windows.text(self.rates.false_positive_rate)

    def meaning(self) -> str:
        """What the verdicts mean, in a sentence."""
        if self.made_data:
            return (
                f"{NOT_A_VERDICT}; its scores show that the program works, and say nothing about "
                "real videos"
            )
        text = self.thresholds.text(self.blended_fakes) if self.thresholds else NO_THRESHOLDS
        if self.familiarity is None:
            return text
        return (
            f"{text}; {UNFAMILIAR}: unlike the training's crops, as at most "
            f"{percent(self.rates.unfamiliar_rate)} of clips like those of validation are; its "
            "score means nothing"
        )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer for one file.

    Attributes:
      file: name that the file was given.
      score: P(fake) of the file, that of its most suspicious track; None when there is none.
      tracks: tracks that were judged, most suspicious first.
      counts: frames sampled, faces found, judged and left out.
      reason: why there is no score; empty when there is one.
      verdict: `fake`, `real`, `uncertain` or `unfamiliar`, or why it is none, see
        `DecisionRule.verdict`; empty without a score, and for a model without thresholds.
      decision_rule: rule that the verdict follows from.
      logit: logit of the score, which is compared with the thresholds; None when there is none.
      familiarity: familiarity of the file; None where the model does not say.
      parts: the most suspicious window and the segments; None without a score, and as
        `DecisionRule.find_segments`.
      failed: whether there is no score because the model or its server failed, and not because of
        the file.
    """

    file: str
    score: float | None
    tracks: tuple[TrackScore, ...] = ()
    counts: FaceCounts = dataclasses.field(default_factory=FaceCounts)
    reason: str = ""
    verdict: str = ""
    decision_rule: DecisionRule = DecisionRule()
    logit: float | None = None
    familiarity: ClipFamiliarity | None = None
    parts: ManipulatedParts | None = None
    failed: bool = False

    def answer(self, about: dict[str, Any]) -> dict[str, Any]:
        """The whole answer as plain values, see `serving.model.answer`.

        Args:
          about: the model, see `ModelCard.about`.
        """
        return {"name": self.file, **self.as_dict(), "model": about}

    def as_dict(self) -> dict[str, Any]:
        """The answer without file and model."""
        thresholds = self.decision_rule.thresholds
        p_values = None if self.logit is None else self.decision_rule.p_values(self.logit)
        parts = self.parts
        return {
            "schema_version": SCHEMA_VERSION,
            "verdict": self.verdict,
            "warning": self.decision_rule.warning,
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
            "tracks": [track.as_dict() for track in self.tracks],
            "p_values": dataclasses.asdict(p_values) if p_values else None,
            "window": dataclasses.asdict(parts.window) if parts else None,
            "segments": [dataclasses.asdict(part) for part in parts.segments] if parts else None,
            "familiarity": self.familiarity.as_dict() if self.familiarity else None,
            "thresholds": dataclasses.asdict(thresholds) if thresholds else None,
            "blended_fakes": self.decision_rule.blended_fakes,
            "meaning": self.decision_rule.meaning(),
            "segments_meaning": self.decision_rule.segments_meaning(),
        }


def judge(
    file: str,
    crops: Sequence[Crop],
    counts: FaceCounts,
    outputs_of: Callable[[Sequence[bytes]], CropOutputs],
    rule: DecisionRule,
    model: str,
) -> Verdict:
    """From the crops of a file to its verdict: the one way, whoever computes the logits.

    Args:
      file: name that the file was given.
      crops: crops of the file.
      counts: counts of its frames and faces.
      outputs_of: function that gives the model's outputs for encoded crops; not asked without
        crops.
      rule: decision rule of the model.
      model: name of what gives the logits, for messages.

    Returns:
      The verdict. Without crops there is no score; the reason is `no face` where none was found,
      and else says how many were found and why each was left out.

    Raises:
      NonFiniteLogits: the model gave NaN or infinite logits; model and file are named.
    """
    if not crops:
        return Verdict(file, None, counts=counts, reason=counts.why_none(), decision_rule=rule)
    outputs = outputs_of([crop.jpeg for crop in crops])
    positions = CropPositions.of(
        [crop.track for crop in crops],
        [crop.frame.index for crop in crops],
        [crop.frame.timestamp_ms for crop in crops],
    )
    try:
        # First: of NaN features a distance is NaN, too.
        refuse_non_finite(outputs.logits, np.full(len(crops), file))
        familiarity = rule.familiarity_of(outputs.appearance, positions.tracks, file)
        return judge_logits(file, outputs.logits, positions, counts, familiarity, rule)
    except NonFiniteLogits as error:
        raise NonFiniteLogits(f"the model {model} gives no usable scores: {error}") from None


def judge_logits(
    file: str,
    logits: np.ndarray,
    positions: CropPositions,
    counts: FaceCounts,
    familiarity: ClipFamiliarity | None,
    rule: DecisionRule,
) -> Verdict:
    """From the logits of a file's crops to its verdict, see `judge`.

    Args:
      file: name that the file was given.
      logits: float [crops], calibrated, at least one, in order of time.
      positions: track, frame and time of each crop.
      counts: counts of frames and faces.
      familiarity: familiarity of the file; None where the model does not say.
      rule: decision rule of the model.

    Raises:
      NonFiniteLogits: a logit is NaN or infinite.
    """
    scores = aggregate(logits, np.full(len(logits), file), positions.tracks)
    logit = float(scores.logits[0])
    return Verdict(
        file=file,
        score=float(probability(logit)),
        logit=logit,
        tracks=track_scores(scores, logits, positions),
        counts=counts,
        verdict=rule.verdict(logit, familiarity),
        decision_rule=rule,
        familiarity=familiarity,
        parts=rule.find_segments(logits, positions),
    )
