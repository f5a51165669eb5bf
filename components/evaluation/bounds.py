"""Bounds of the gate: how they are written, and the verdict on each.

A bound is written as `auc >= 0.9` for everything, `method=Deepfakes: eer <= 0.1` for one slice, or
`method: auc >= 0.7` for every slice of a key:

>>> parse("method=Deepfakes: eer <= 0.1")
Bound(metric='eer', limit=0.1, key='method', value='Deepfakes', relation='<=')

What could not be measured never holds, so a bound at
the end of a measure's range, as in `auc >= 0`, demands that it be measurable.
"""

from __future__ import annotations

import contextlib
import dataclasses
import decimal
import math
import re
from collections.abc import Iterable
from typing import Any

import pydantic.dataclasses
from pydantic import ConfigDict, ValidationError

from components.evaluation.catalogue import MEASURES
from components.evaluation.slices import FIXED_VALUES, KEYS
from preprocessing.support.errors import UsageError
from preprocessing.support.nearest import nearest

AUC_CHANGE = "auc against the last blessed model"
AUC_CHANGE_LOW = "auc against the last blessed model, low end of the 95% interval"
AT_LEAST, AT_MOST = ">=", "<="
# Decimals that tell any two measures apart.
_MAX_DIGITS = 16

_BOUND = re.compile(
    r"(?:(?P<key>\w+)\s*(?:=\s*(?P<value>[^:]+?))?\s*:)?"
    r"\s*(?P<metric>[\w.]+)\s*(?P<relation>>=|<=)\s*(?P<limit>\S+)"
)
_EXAMPLES = "'eer <= 0.1', 'method=Deepfakes: auc >= 0.7', or 'method: auc >= 0.7' for every method"


@dataclasses.dataclass(frozen=True)
class Bound:
    """The minimum or maximum that the gate asks of a metric.

    Attributes:
      metric: one of `catalogue.MEASURES`, or `AUC_CHANGE` or `AUC_CHANGE_LOW`.
      limit: the minimum or maximum, which still is within the bound.
      key: of the slice; empty for everything.
      value: of the slice; empty for every slice of the key.
      relation: `AT_LEAST` or `AT_MOST`.
    """

    metric: str
    limit: float
    key: str = ""
    value: str = ""
    relation: str = AT_LEAST

    def holds(self, measured: float) -> bool:
        """Whether a value is within the bound; NaN and infinity never are."""
        if not math.isfinite(measured):
            return False
        return measured >= self.limit if self.relation == AT_LEAST else measured <= self.limit


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class BoundResult:
    """One line of a verdict; a list of them is what `verdict.json` holds.

    Attributes:
      level: `frame` or `clip`.
      slice: as in `method=Deepfakes`; empty for everything.
      metric: see `Bound`.
      bound: the minimum or maximum.
      value: what was measured; NaN where it could not be.
      held: whether it holds.
      reason: why it does not hold; empty where it does.
      relation: see `Bound`; verdicts of earlier versions have none, and mean `AT_LEAST`.
    """

    level: str
    slice: str
    metric: str
    bound: float
    value: float
    held: bool
    reason: str = ""
    relation: str = AT_LEAST

    @classmethod
    def of(
        cls, level: str, bound: Bound, slice_name: str, value: float | None, reason: str
    ) -> BoundResult:
        """Judges a value; NaN and infinity never hold.

        Args:
          level: see `BoundResult`.
          bound: what is asked.
          slice_name: of the slice; empty for everything.
          value: what was measured; None where it could not be.
          reason: why it could not be measured, or what limits the measurement.
        """
        number = math.nan if value is None else float(value)
        held = bound.holds(number)
        if not held and math.isfinite(number):
            word = "below" if bound.relation == AT_LEAST else "above"
            reason = "; ".join(filter(None, [f"{word} the bound", reason]))
        reason = "" if held else reason
        return cls(
            level, slice_name, bound.metric, bound.limit, number, held, reason, bound.relation
        )

    def text(self) -> str:
        """The line in words."""
        name = f"{self.level} {self.metric}" + (f" of {self.slice}" if self.slice else "")
        if not math.isfinite(self.value):
            return f"{name} {self.relation} {self.bound_text()}: not measured ({self.reason})"
        relation = "<" if self.relation == AT_LEAST else ">"
        value, bound = self.value_text(), self.bound_text()
        return f"{name} {value} {self.relation if self.held else relation} {bound}"

    def value_text(self) -> str:
        """The value, with as many digits as tell it from the bound; NaN is `nan`."""
        return f"{self.value:.{digits_apart(self.value, self.bound)}f}"

    def bound_text(self) -> str:
        """The bound, with as many digits as the value."""
        return f"{self.bound:.{digits_apart(self.value, self.bound)}f}"

    def as_json(self) -> dict[str, Any]:
        """Plain values; None instead of NaN."""
        values = dataclasses.asdict(self)
        return {**values, "value": self.value if math.isfinite(self.value) else None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> BoundResult:
        """The reverse of `as_json`.

        Raises:
          UsageError: a field is missing, unknown, or of another type.
        """
        try:
            value = values["value"]
            return cls(**{**values, "value": math.nan if value is None else value})
        except (KeyError, TypeError, ValidationError) as error:
            raise UsageError(f"{values!r} is no row of a verdict: {error}") from error


def digits_apart(value: float, bound: float) -> int:
    """Decimals that write a bound in full and tell a value from it, three at least."""
    exponent = decimal.Decimal(repr(bound)).as_tuple().exponent
    digits = range(min(max(3, -int(exponent)), _MAX_DIGITS), _MAX_DIGITS + 1)
    if not math.isfinite(value) or value == bound:
        return digits[0]
    differ = (n for n in digits if f"{value:.{n}f}" != f"{bound:.{n}f}")
    return next(differ, digits[0])


def parse(text: str) -> Bound:
    """Reads a bound, see the module's docstring.

    Args:
      text: as in `method=Deepfakes: auc >= 0.7`.

    Raises:
      UsageError: it is written otherwise; its key, value or metric is not known; or its limit lies
        outside of what the metric can be, so that it could never hold, or never fail.
    """
    match = _BOUND.fullmatch(text.strip())
    limit = math.nan
    if match:
        with contextlib.suppress(ValueError):
            limit = float(match["limit"])
    if not match or not math.isfinite(limit):
        raise UsageError(f"{text!r} cannot be read; write it as {_EXAMPLES}")
    key, value, metric = match["key"] or "", match["value"] or "", match["metric"]
    _check_name(text, "slice", key, KEYS if key else ("",))
    _check_name(text, "metric", metric, MEASURES)
    if value and key in FIXED_VALUES:
        _check_name(text, key, value, FIXED_VALUES[key])
    maximum = MEASURES[metric].maximum
    if not 0 <= limit <= maximum:
        never_holds = limit > maximum if match["relation"] == AT_LEAST else limit < 0
        raise UsageError(
            f"{text!r} {'can never hold' if never_holds else 'holds always'}: {metric} "
            f"lies between 0 and {maximum:g}"
        )
    return Bound(metric, limit, key, value, match["relation"])


def _check_name(text: str, kind: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        raise UsageError(
            f"{text!r}: there is no {kind} {name!r}{nearest(name, names)}; there are "
            f"{', '.join(names)}"
        )


def contradiction(bounds: Iterable[Bound]) -> str:
    """Two bounds that cannot both hold, in words; empty where there are none."""
    bounds = list(bounds)
    for low in bounds:
        for high in bounds:
            same_key = (low.metric, low.key) == (high.metric, high.key)
            # Without a value a bound holds for every slice of its key.
            same_slice = same_key and (low.value == high.value or not (low.value and high.value))
            apart = (low.relation, high.relation) == (AT_LEAST, AT_MOST)
            if same_slice and apart and low.limit > high.limit:
                value = low.value or high.value
                of_slice = f"{low.key}={value}" if value else low.key
                name = f"{low.metric} of {of_slice}" if low.key else low.metric
                return (
                    f"{name} cannot be at least {low.limit:g} and at most {high.limit:g}; remove "
                    "one of the two bounds"
                )
    return ""
