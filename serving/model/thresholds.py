"""Thresholds of a model that turn a clip's logit into fake, real or uncertain.

A single threshold turns every doubt into an accusation or an acquittal. So a clip is fake only
above both thresholds that val chose, the one that keeps false alarms rare and the one where errors
of both kinds balance; it is real only when it is above neither; else it is uncertain. A band does
not make a model right on data of another kind: how right it is there, `deepfake evaluate` measures.

Thresholds are logits: P(fake) of confident models rounds to 1.0 for logits from 37 on, and can no
longer tell them apart.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from preprocessing.support.errors import UsageError

if TYPE_CHECKING:
    from serving.model.operating_points import OperatingPoints

FAKE, REAL, UNCERTAIN = "fake", "real", "uncertain"
# Share of real clips that may be called fake.
FALSE_ALARMS = 0.01
# Said where a model has no thresholds.
NO_BAND = (
    "no verdict: the model holds no operating points that can be used, because its val had one "
    "class only or an older version trained it; P(fake) alone says which files are more "
    "suspicious than others"
)


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """The band of a model.

    Attributes:
      false_alarms: share of val's real clips that may be called fake.
      fake_above_logit: logits above are fake.
      real_up_to_logit: logits up to this, and this one, are real.
      real_clips: of val, on which the thresholds were chosen.
      fake_above: P(fake) at `fake_above_logit`, for people; nothing is compared with it.
      real_up_to: P(fake) at `real_up_to_logit`, likewise.
    """

    false_alarms: float
    fake_above_logit: float
    real_up_to_logit: float
    real_clips: int
    fake_above: float = dataclasses.field(init=False)
    real_up_to: float = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        # Frozen, so not by assignment.
        for name in ("fake_above", "real_up_to"):
            object.__setattr__(self, name, _probability(getattr(self, f"{name}_logit")))

    def verdict(self, logit: float) -> str:
        """`fake`, `real` or `uncertain` for the logit of a clip.

        Raises:
          ValueError: the logit is NaN or infinite; NaN is above no threshold, and would be `real`.
        """
        if not math.isfinite(logit):
            raise ValueError(f"there is no verdict for a logit of {logit}")
        if logit > self.fake_above_logit:
            return FAKE
        return UNCERTAIN if logit > self.real_up_to_logit else REAL

    def text(self) -> str:
        """What the words mean, in a sentence; and another where val was small."""
        words = (
            f"fake: above {_readable(self.fake_above_logit)}; real: up to "
            f"{_readable(self.real_up_to_logit)}; uncertain: between (chosen on val for equal "
            f"errors and {self.false_alarms:.1%} false alarms)"
        )
        if self.real_clips * self.false_alarms < 1:
            words += (
                f"; val's {self.real_clips} real clips are too few to show "
                f"{self.false_alarms:.1%}: none of them was called fake"
            )
        return words


def thresholds_of(
    operating_points: OperatingPoints | None, false_alarms: float = FALSE_ALARMS
) -> Thresholds | None:
    """The band of a model, from its operating points.

    Args:
      operating_points: of the model card.
      false_alarms: share of real clips that may be called fake, one that the model has a point for.

    Returns:
      The thresholds; None for a model without operating points, whose val had one class only, or
      whose points an older version stored as a probability of exactly 0 or 1: which logit that was
      is lost, and no comparison with it is right.

    Raises:
      UsageError: the model has no point for this share.
    """
    if operating_points is None:
        return None
    points = {point.name: point.threshold_logit() for point in operating_points.points}
    middle = points.get("eer")
    if middle is None:
        return None
    name = f"fpr_{false_alarms:g}"
    if name not in points:
        rates = [rates.removeprefix("fpr_") for rates in points if rates.startswith("fpr_")]
        raise UsageError(
            f"the model has no threshold for a share of {false_alarms:g} false alarms; it has "
            f"them for {', '.join(rates)}"
        )
    limit = points[name]
    if limit is None:
        return None
    low, high = sorted((middle, limit))
    return Thresholds(false_alarms, high, low, operating_points.real_clips)


def _readable(logit: float) -> str:
    """P(fake) of a logit in three digits; the logit itself where those say only 0 or 1."""
    text = f"{_probability(logit):.3f}"
    return f"{text} (logit {logit:.4g})" if text in ("0.000", "1.000") else text


def _probability(logit: float) -> float:
    # Imported here, because `deepfake --help` reads FALSE_ALARMS and must not load numpy.
    from serving.model.aggregation import probability

    return float(probability(logit))
