"""What the gate asks for, one bound at a time, and what it answers."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any

from preprocessing.errors import UsageError
from preprocessing.slices import KEYS

if TYPE_CHECKING:
    from pipeline.config import GateConfig

METRICS = ("accuracy", "auc")
AUC_CHANGE = "auc against the last blessed model"
_SLICE = re.compile(
    r"(?P<key>\w+)\s*(?:=\s*(?P<value>[^:]+?))?\s*:\s*(?P<metric>\w+)\s*>=\s*(?P<lower>\S+)"
)


@dataclasses.dataclass(frozen=True)
class Bound:
    """The least value of a metric.

    Attributes:
      metric: one of `METRICS`, or `AUC_CHANGE`.
      lower: the least value that holds.
      key: of the slice; empty for everything.
      value: of the slice; empty for every slice of the key.
    """

    metric: str
    lower: float
    key: str = ""
    value: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a verdict.

    Attributes:
      level: `frame` or `clip`.
      slice: as in `method=Deepfakes`; empty for everything.
      metric: see `Bound`.
      bound: the least value.
      value: what was measured; NaN where it could not be.
      held: whether it holds.
      reason: why it was not measured.
    """

    level: str
    slice: str
    metric: str
    bound: float
    value: float
    held: bool
    reason: str = ""

    @classmethod
    def of(cls, level: str, bound: Bound, where: str, value: float | None, reason: str) -> Row:
        """Judges a value; what is no number never holds."""
        number = math.nan if value is None else float(value)
        held = math.isfinite(number) and number >= bound.lower
        return cls(level, where, bound.metric, bound.lower, number, held, "" if held else reason)

    def text(self) -> str:
        """The line in words."""
        name = f"{self.level} {self.metric}" + (f" of {self.slice}" if self.slice else "")
        if not math.isfinite(self.value):
            return f"{name} >= {self.bound:.3f}: not measured ({self.reason})"
        return f"{name} {self.value:.3f} {'>=' if self.held else '<'} {self.bound:.3f}"

    def as_json(self) -> dict[str, Any]:
        """Plain values; None instead of NaN."""
        values = dataclasses.asdict(self)
        return {**values, "value": self.value if math.isfinite(self.value) else None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Row:
        """The reverse of `as_json`."""
        return cls(**{**values, "value": math.nan if values["value"] is None else values["value"]})


def bounds_of(gate: GateConfig) -> list[Bound]:
    """All bounds of a gate but the change against the last blessed model.

    Raises:
      UsageError: a bound of a slice cannot be read, or names what is not there.
    """
    overall = [Bound("accuracy", gate.min_accuracy), Bound("auc", gate.min_auc)]
    return [*overall, *map(parse, gate.slices)]


def parse(text: str) -> Bound:
    """Reads a bound of a slice: `method=Deepfakes: auc >= 0.7`, or `method: auc >= 0.6` for each.

    Raises:
      UsageError: it is written otherwise, or its key or metric is not known.
    """
    found = _SLICE.fullmatch(text.strip())
    try:
        lower = float(found["lower"]) if found else math.nan
    except ValueError:
        lower = math.nan
    if not found or not math.isfinite(lower):
        raise UsageError(
            f"the gate's slice {text!r} cannot be read; write it as "
            "'method=Deepfakes: auc >= 0.7', or as 'method: auc >= 0.7' for every method"
        )
    if found["key"] not in KEYS or found["metric"] not in METRICS:
        raise UsageError(
            f"the gate's slice {text!r}: slices are {', '.join(KEYS)}, metrics {', '.join(METRICS)}"
        )
    return Bound(found["metric"], lower, found["key"], found["value"] or "")
