"""From a clip's score to a word: fake, real, or uncertain between two thresholds of the model.

A single threshold turns every doubt into an accusation or an acquittal. So a clip is fake only
above both thresholds that val chose, the one that keeps false alarms rare and the one where errors
of both kinds balance; it is real only when it is above neither; else it is uncertain. A band does
not make a model right on data of another kind: how right it is there, `deepfake evaluate` measures.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from preprocessing.errors import UsageError

FAKE, REAL, UNCERTAIN = "fake", "real", "uncertain"
# Share of real clips that may be called fake.
FALSE_ALARMS = 0.01
# Said where a model has no thresholds.
NO_BAND = (
    "no verdict: the model holds no operating points, because its val had one class only or an "
    "older version trained it; P(fake) alone says which files are more suspicious than others"
)


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """The band of a model.

    Attributes:
      false_alarms: share of val's real clips that may be called fake.
      fake_above: scores above are fake.
      real_up_to: scores up to this, and this one, are real.
      real_clips: of val, on which the thresholds were chosen.
    """

    false_alarms: float
    fake_above: float
    real_up_to: float
    real_clips: int

    def verdict(self, score: float) -> str:
        """`fake`, `real` or `uncertain` for the score of a clip."""
        if score > self.fake_above:
            return FAKE
        return UNCERTAIN if score > self.real_up_to else REAL

    def text(self) -> str:
        """What the words mean, in a sentence; and another where val was small."""
        words = (
            f"fake: above {self.fake_above:.3f}; real: up to {self.real_up_to:.3f}; uncertain: "
            f"between (chosen on val for equal errors and {self.false_alarms:.1%} false alarms)"
        )
        if self.real_clips * self.false_alarms < 1:
            words += (
                f"; val's {self.real_clips} real clips are too few to show "
                f"{self.false_alarms:.1%}: none of them was called fake"
            )
        return words


def thresholds_of(
    metadata: dict[str, Any], false_alarms: float = FALSE_ALARMS
) -> Thresholds | None:
    """The band of a model, from its operating points.

    Args:
      metadata: see `preprocessing.model_metadata`.
      false_alarms: share of real clips that may be called fake, one that the model has a point for.

    Returns:
      The thresholds; None for a model without operating points, or whose val had one class only.

    Raises:
      UsageError: the model has no point for this share.
    """
    stored = metadata.get("operating_points", {})
    points = {one["name"]: one["threshold"] for one in stored.get("points", [])}
    if points.get("eer") is None:
        return None
    name = f"fpr_{false_alarms:g}"
    if points.get(name) is None:
        known = [one.removeprefix("fpr_") for one in points if one.startswith("fpr_")]
        raise UsageError(
            f"the model has no threshold for a share of {false_alarms:g} false alarms; it has "
            f"them for {', '.join(known)}"
        )
    low, high = sorted((points["eer"], points[name]))
    return Thresholds(false_alarms, high, low, stored["real_clips"])
