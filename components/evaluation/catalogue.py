"""The measures that there are: one row each, light enough to check a configuration by.

How they are computed is in metrics.py, for one set of scores, and in bootstrap.py, for many
weightings of it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class MeasureKind:
    """What is known of a measure before anything is measured.

    Attributes:
      title: its name for people.
      maximum: largest value that it can have; the smallest is 0.
      needs_both_classes: whether it means nothing where all are real, or all are fake.
      tfma: TFMA's class that computes it for frames, and the arguments; None where TFMA has none.
        One with a `name` is computed only where frames are bounded by it.
    """

    title: str
    maximum: float = 1.0
    needs_both_classes: bool = False
    tfma: tuple[str, dict[str, Any]] | None = None


def _recall_at(name: str, rate: float) -> tuple[str, dict[str, Any]]:
    # 10,000 thresholds are as many as TFMA's AUC has.
    arguments = {"name": name, "false_positive_rate": rate, "num_thresholds": 10_000}
    return "RecallAtFalsePositiveRate", arguments


# In the order of tables.
MEASURES = {
    "accuracy": MeasureKind("Accuracy", tfma=("BinaryAccuracy", {})),
    "auc": MeasureKind("AUC", needs_both_classes=True, tfma=("AUC", {})),
    "eer": MeasureKind("Equal error rate", needs_both_classes=True),
    "average_precision": MeasureKind(
        "Average precision",
        needs_both_classes=True,
        tfma=("AUCPrecisionRecall", {"name": "average_precision"}),
    ),
    "tpr_at_fpr_1pct": MeasureKind(
        "Fakes found at 1% false alarms",
        needs_both_classes=True,
        tfma=_recall_at("tpr_at_fpr_1pct", 0.01),
    ),
    "tpr_at_fpr_0.1pct": MeasureKind(
        "Fakes found at 0.1% false alarms",
        needs_both_classes=True,
        tfma=_recall_at("tpr_at_fpr_0.1pct", 0.001),
    ),
    "log_loss": MeasureKind("Log loss", maximum=math.inf),
    "brier": MeasureKind("Brier score", tfma=("MeanSquaredError", {"name": "brier"})),
    "calibration_error": MeasureKind("Calibration error"),
    "balanced_calibration_error": MeasureKind(
        "Calibration error, classes weighing the same", needs_both_classes=True
    ),
}
NEED_BOTH_CLASSES = tuple(name for name, kind in MEASURES.items() if kind.needs_both_classes)
# Those that TFMA computes for frames.
FRAME_MEASURES = {name: kind.tfma for name, kind in MEASURES.items() if kind.tfma}
