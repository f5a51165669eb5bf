"""How measures are named and written."""

from __future__ import annotations

import math
from typing import Any

NAMES = {
    "accuracy": "Accuracy",
    "auc": "AUC",
    "eer": "Equal error rate",
    "average_precision": "Average precision",
    "tpr_at_fpr_1pct": "Fakes found at 1% false alarms",
    "tpr_at_fpr_0.1pct": "Fakes found at 0.1% false alarms",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "calibration_error": "Calibration error",
}


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def measure(one: dict[str, Any], signed: bool = False) -> str:
    """A measure with its interval."""
    if one["value"] is None:
        return f"– ({one['note']})" if one["note"] else "–"
    text = f"{one['value']:+.3f}" if signed else number(one["value"])
    if one["low"] is not None and one["high"] is not None:
        sign = "+" if signed else ""
        text += f" [{one['low']:{sign}.3f}, {one['high']:{sign}.3f}]"
    return text
