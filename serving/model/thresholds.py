"""Thresholds of a model that turn a clip's logit into fake, real or uncertain.

A single threshold turns every doubt into an accusation or an acquittal. So a clip is fake only
where "real" is ruled out at the chosen false positive rate, real only where "fake" is ruled out at
the chosen miss rate, and else uncertain; see `serving.model.conformal` for what is ruled out. A
clip between the classes, unlike both, is uncertain too. The rates hold for data like the
validation's: how right a model is on data of another kind, `deepfake evaluate` measures.

Thresholds are logits: P(fake) of confident models rounds to 1.0 for logits from 37 on, and can no
longer tell them apart.
"""

from __future__ import annotations

import dataclasses
import math

from preprocessing.support.errors import UsageError
from serving.model.aggregation import probability, readable
from serving.model.conformal import ConformalClips, ReferenceClips
from serving.model.operating_points import OperatingPoints
from serving.model.rates import Rates, percent

FAKE, REAL, UNCERTAIN = "fake", "real", "uncertain"
_BLENDED = "fakes blended from val's real clips"
# Said where a model has no thresholds.
NO_THRESHOLDS = (
    "no verdict: the model's card holds no validation clips that a score could be ranked among, "
    "because an older version exported it; P(fake) alone says which files are more suspicious "
    "than others"
)


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """The thresholds of a model, logits between which it is uncertain.

    Attributes:
      false_positive_rate: share of real clips that may be called fake.
      miss_rate: share of fake clips that may be called real; None for a card of an earlier version,
        whose thresholds begin where errors of both kinds balanced.
      fake_above_logit: logits above are fake; None where none is.
      real_below_logit: logits below are real; None where none is.
      real_clips: number of real clips of val, from which the thresholds follow.
      real_clusters: persons, or other clusters, of these; 0 for a card of an earlier version.
      fake_clips: number of fake clips, likewise.
      fake_clusters: persons, or other clusters, of the fake clips.
      guaranteed: whether the rates hold for clips like val's; False for a card of an earlier
        version, whose thresholds reached them on val itself.
      fake_above: P(fake) at `fake_above_logit`, for people; nothing is compared with it.
      real_below: P(fake) at `real_below_logit`, likewise.
    """

    false_positive_rate: float
    miss_rate: float | None
    fake_above_logit: float | None
    real_below_logit: float | None
    real_clips: int
    real_clusters: int
    fake_clips: int
    fake_clusters: int
    guaranteed: bool = True
    fake_above: float | None = dataclasses.field(init=False)
    real_below: float | None = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        # Frozen, so not by assignment.
        for name in ("fake_above", "real_below"):
            logit = getattr(self, f"{name}_logit")
            score = None if logit is None else float(probability(logit))
            object.__setattr__(self, name, score)

    def verdict(self, logit: float) -> str:
        """`fake`, `real` or `uncertain` for the logit of a clip.

        Raises:
          ValueError: the logit is NaN or infinite; NaN is above no threshold and below none.
        """
        if not math.isfinite(logit):
            raise ValueError(f"there is no verdict for a logit of {logit}")
        if self.fake_above_logit is not None and logit > self.fake_above_logit:
            return FAKE
        if self.real_below_logit is not None and logit < self.real_below_logit:
            return REAL
        return UNCERTAIN

    def text(self, blended_fakes: bool = False) -> str:
        """What the words mean, in a sentence; and what val is too small to show.

        Args:
          blended_fakes: whether val's fakes were blended from its real clips.
        """
        if not self.guaranteed:
            return (
                f"fake: above {readable(self.fake_above_logit)}; real: below "
                f"{readable(self.real_below_logit)}; uncertain: else (chosen on val for equal "
                f"errors and {percent(self.false_positive_rate)} of its real clips called fake; an "
                "earlier version exported the model, and nothing is promised for new clips)"
            )
        fakes, fake_ones = (
            (_BLENDED, "fakes blended from them") if blended_fakes else ("fakes", "fake ones")
        )
        fake = (
            f"no clip is called fake, for {self._too_few('real', self.false_positive_rate)}"
            if self.fake_above_logit is None
            else f"fake: above {readable(self.fake_above_logit)}, where at most "
            f"{percent(self.false_positive_rate)} of real clips are"
        )
        real = (
            f"no clip is called real, for {self._too_few('fake', self.miss_rate, blended_fakes)}"
            if self.real_below_logit is None or self.miss_rate is None
            else f"real: below {readable(self.real_below_logit)}, where at most "
            f"{percent(self.miss_rate)} of {fakes} are"
        )
        return (
            f"{fake}; {real}; uncertain: else (for clips like those of validation: "
            f"{self.real_clips} real ones in {self.real_clusters} and {self.fake_clips} "
            f"{fake_ones} in {self.fake_clusters} clusters of persons)"
        )

    def _too_few(self, name: str, rate: float | None, blended_fakes: bool = False) -> str:
        clusters = self.real_clusters if name == "real" else self.fake_clusters
        clips = self.real_clips if name == "real" else self.fake_clips
        if not rate or not clusters:
            return f"val has no {name} clip"
        kind = _BLENDED if blended_fakes else f"{name} clips"
        # Rounded up: what is below cannot be shown.
        steps = 1_000 if clusters < 100 else 10_000
        least = math.ceil(steps / (clusters + 1)) / steps
        return (
            f"{clusters} clusters of {kind} cannot show {percent(rate)}: it takes "
            f"{math.ceil(1 / rate - 1e-9) - 1}, and theirs show {percent(least)} at least"
            if clips
            else f"val has no {name} clip"
        )


def conformal_thresholds(clips: ConformalClips, rates: Rates) -> Thresholds:
    """The thresholds that follow from validation clips, see the module.

    Args:
      clips: calibrated logits of validation clips, of the model card.
      rates: error rates that are allowed.
    """
    fake_above = clips.real.highest_kept(rates.false_positive_rate)
    real_below = clips.fake.lowest_kept(rates.miss_rate)
    if fake_above is not None and real_below is not None and fake_above < real_below:
        # Both classes are ruled out between them, and not at either.
        fake_above, real_below = (
            math.nextafter(real_below, -math.inf),
            math.nextafter(fake_above, math.inf),
        )
    return Thresholds(
        rates.false_positive_rate,
        rates.miss_rate,
        fake_above,
        real_below,
        *_sizes(clips.real),
        *_sizes(clips.fake),
    )


def earlier_thresholds(
    points: OperatingPoints | None, false_positive_rate: float
) -> Thresholds | None:
    """The thresholds of a card of an earlier version, from its operating points.

    Args:
      points: operating points of the model card.
      false_positive_rate: rate that the card has a point for.

    Returns:
      Thresholds at equal errors and at the rate, as the earlier version had it; None for a model
      without operating points, whose val had one class only, or whose points were stored as a
      probability of exactly 0 or 1: which logit that was is lost, and no comparison is right.

    Raises:
      UsageError: the card has no point for this rate.
    """
    if points is None:
        return None
    logits = {point.name: point.threshold_logit() for point in points.points}
    middle = logits.get("eer")
    if middle is None:
        return None
    name = f"fpr_{false_positive_rate:g}"
    if name not in logits:
        rates = [rate.removeprefix("fpr_") for rate in logits if rate.startswith("fpr_")]
        raise UsageError(
            f"an earlier version exported the model, with thresholds for a false positive rate of "
            f"{', '.join(rates)}, and not for {false_positive_rate:g}; choose one of these, or "
            "export the model again"
        )
    limit = logits[name]
    if limit is None:
        return None
    low, high = sorted((middle, limit))
    return Thresholds(
        false_positive_rate=false_positive_rate,
        miss_rate=None,
        fake_above_logit=high,
        # Logits up to the lower one, and this one, were real.
        real_below_logit=math.nextafter(low, math.inf),
        real_clips=points.real_clips,
        real_clusters=0,
        fake_clips=points.fake_clips,
        fake_clusters=0,
        guaranteed=False,
    )


def _sizes(clips: ReferenceClips) -> tuple[int, int]:
    return len(clips.values), clips.clusters
