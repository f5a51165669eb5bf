"""How measures are named and written."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

from components.evaluation.catalogue import MEASURES


def named(measures: Container[str]) -> list[tuple[str, str]]:
    """(name, name for people) of the measures that are there; files of earlier versions lack some.

    Args:
      measures: names, as `metrics.json` and `report.json` have them.
    """
    return [(name, kind.title) for name, kind in MEASURES.items() if name in measures]


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def measure(values: dict[str, Any], signed: bool = False) -> str:
    """A measure with its interval."""
    if values["value"] is None:
        return f"– ({values['note']})" if values["note"] else "–"
    text = f"{values['value']:+.3f}" if signed else number(values["value"])
    if values["low"] is not None and values["high"] is not None:
        sign = "+" if signed else ""
        text += f" [{values['low']:{sign}.3f}, {values['high']:{sign}.3f}]"
    return text
