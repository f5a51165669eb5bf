"""Operating points: the thresholds on a clip's logit in model cards of earlier versions.

Cards of today hold the validation clips themselves, see `serving.model.conformal`.
"""

from __future__ import annotations

import math
from typing import Annotated

from preprocessing.support.record import Record
from preprocessing.support.section import AsList


class OperatingPoint(Record):
    """A stored threshold.

    Attributes:
      name: `eer`, or `fpr_0.01` and the like.
      threshold: P(fake) at it; None where there is none.
      logit: the threshold itself; models of earlier versions have none.
      fpr: share of val's real clips above it.
      tpr: share of val's fake clips above it.
    """

    name: str
    threshold: float | None
    logit: float | None = None
    fpr: float | None = None
    tpr: float | None = None

    def threshold_logit(self) -> float | None:
        """The logit to compare with.

        Earlier versions stored P(fake) alone, from which it is computed back, log(p / (1 - p)).

        Returns:
          The logit; None where there is none, or where the stored probability is exactly 0 or 1,
          to which the logits of all confident clips are rounded.
        """
        if "logit" in self.model_fields_set:
            return self.logit
        share = self.threshold
        if share is None or not 0.0 < share < 1.0:
            return None
        return math.log(share) - math.log1p(-share)


class OperatingPoints(Record):
    """`operating_points` of the model card.

    Attributes:
      points: the thresholds.
      real_clips: number of real clips on which they were chosen.
      fake_clips: number of fake clips, likewise.
    """

    points: Annotated[tuple[OperatingPoint, ...], AsList] = ()
    real_clips: int = 0
    fake_clips: int = 0
