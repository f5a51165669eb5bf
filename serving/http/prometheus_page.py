"""Counters, gauges and histograms, as the page of text that Prometheus reads.

prometheus-client cannot write TensorFlow Serving's: it appends `_total` to the name of every
counter, and dashboards made for TensorFlow Serving ask for the names without it.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections.abc import Sequence


class Counter:
    """A number that grows, per combination of label values.

    Args:
      name: name as TensorFlow Serving has it, with slashes (`/tensorflow/serving/request_count`).
      help_text: line that explains it.
      labels: names of the labels.
    """

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Sequence[str]):
        self.name = name.replace("/", ":")
        self.help_text = help_text
        self.labels = tuple(labels)
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, *values: str, by: float = 1) -> None:
        """Adds to the counter of these label values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + by

    def create(self, *values: str) -> None:
        """Has the page show these label values, with 0 until something is added to them."""
        with self._lock:
            self._values.setdefault(values, 0)

    def value(self, *values: str) -> float:
        """The counter of these label values."""
        with self._lock:
            return self._values.get(values, 0)

    def lines(self) -> list[str]:
        """The samples in Prometheus' text format."""
        with self._lock:
            items = sorted(self._values.items())
        return [f"{self.name}{{{self._pairs(key)}}} {_number(value)}" for key, value in items]

    def _pairs(self, values: Sequence[str]) -> str:
        pairs = zip(self.labels, values, strict=True)
        return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


class Gauge(Counter):
    """A number that can also be set."""

    kind = "gauge"

    def set(self, *values: str, to: float) -> None:
        """Sets the gauge of these label values."""
        with self._lock:
            self._values[values] = to


class Histogram(Counter):
    """A distribution over exponential buckets, per combination of label values.

    Args:
      name: name, see `Counter`.
      help_text: line that explains it.
      labels: names of the labels.
      scale: upper bound of the first bucket.
      growth: factor from one bound to the next.
      buckets: number of bounds.
    """

    kind = "histogram"

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: Sequence[str],
        scale: float = 10,
        growth: float = 1.8,
        buckets: int = 33,
    ):
        super().__init__(name, help_text, labels)
        self._bounds = [scale * growth**power for power in range(buckets)]
        self._counts: dict[tuple[str, ...], list[int]] = {}

    def observe(self, *values: str, value: float) -> None:
        """Counts one value in the distribution of these label values."""
        bucket = bisect.bisect_left(self._bounds, value)
        with self._lock:
            counts = self._counts.setdefault(values, [0] * (len(self._bounds) + 1))
            counts[bucket] += 1
            self._values[values] = self._values.get(values, 0) + value

    def lines(self) -> list[str]:
        """The samples in Prometheus' text format."""
        with self._lock:
            items = [
                (key, list(self._counts[key]), total) for key, total in sorted(self._values.items())
            ]
        lines = []
        for key, counts, total in items:
            pairs = self._pairs(key)
            prefix = pairs + "," if pairs else ""
            running = 0
            for bound, count in zip([*self._bounds, math.inf], counts, strict=True):
                running += count
                lines.append(f'{self.name}_bucket{{{prefix}le="{_number(bound)}"}} {running}')
            lines.append(f"{self.name}_sum{{{pairs}}} {_number(total)}")
            lines.append(f"{self.name}_count{{{pairs}}} {running}")
        return lines


class MetricsPage:
    """Metrics as attributes, and the page that shows them in the order in which they were set."""

    def page(self) -> str:
        """The page that Prometheus reads."""
        lines = []
        for metric in vars(self).values():
            lines += [f"# HELP {metric.name} {metric.help_text}"]
            lines += [f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
        return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
