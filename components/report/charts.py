"""Charts as inline SVG: sharp at any size, without a script, and readable on a phone.

Each is drawn for a width of 360 pixels, so that its text has its natural size where the page is
narrowest. Colours are the page's own (see style.py), by the classes `s0`, `s1` and so on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 360, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 42

# Quantities that come in whole numbers.
_WHOLE = ("epoch",)

Points = Sequence[Sequence[float]]


class _Frame:
    """Axes, and the way from values to pixels."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], x_label: str, y_label: str):
        self._x, self._y = x, y
        self._integers = x_label in _WHOLE
        self.parts = [*self._grid(), *self._labels(x_label, y_label)]

    def at(self, x: float, y: float) -> tuple[float, float]:
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return (
            round(_LEFT + width * (x - self._x[0]) / ((self._x[1] - self._x[0]) or 1), 1),
            round(_TOP + height * (self._y[1] - y) / ((self._y[1] - self._y[0]) or 1), 1),
        )

    def line(self, points: Points, style: str) -> None:
        text = " ".join("{},{}".format(*self.at(x, y)) for x, y in points)
        self.parts.append(f'<polyline class="line {style}" points="{text}"/>')

    def dot(self, x: float, y: float, style: str, title: str = "") -> None:
        px, py = self.at(x, y)
        self.parts.append(
            f'<circle class="dot {style}" cx="{px}" cy="{py}" r="4">'
            f"<title>{escape(title)}</title></circle>"
        )

    def bar(self, left: float, right: float, height: float, style: str, title: str) -> None:
        (x1, y1), (x2, y2) = self.at(left, height), self.at(right, 0)
        self.parts.append(
            f'<rect class="bar {style}" x="{x1}" y="{y1}" width="{max(x2 - x1, 0.5):.1f}" '
            f'height="{max(y2 - y1, 0):.1f}"><title>{escape(title)}</title></rect>'
        )

    def svg(self, name: str) -> str:
        return (
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">'
            + "".join(self.parts)
            + "</svg>"
        )

    def _grid(self) -> list[str]:
        parts = []
        for value in _ticks(*self._x, integers=self._integers):
            x, bottom = self.at(value, self._y[0])
            parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}"/>')
            parts.append(
                f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{_short(value)}</text>'
            )
        for value in _ticks(*self._y):
            left, y = self.at(self._x[0], value)
            parts.append(
                f'<line class="grid" x1="{left}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
            )
            parts.append(
                f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{_short(value)}</text>'
            )
        return parts

    def _labels(self, x_label: str, y_label: str) -> list[str]:
        x, y = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2, _TOP + (_HEIGHT - _TOP - _BOTTOM) / 2
        parts = [
            f'<text x="{x}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>',
        ]
        if y_label:
            turned = f'text-anchor="middle" transform="rotate(-90 12 {y})"'
            parts.append(f'<text x="12" y="{y}" {turned}>{escape(y_label)}</text>')
        return parts


def roc(points: Points, marks: Sequence[tuple[str, float, float]]) -> str:
    """The ROC curve, the line of chance, and operating points (name, fpr, tpr)."""
    frame = _Frame((0, 1), (0, 1), "real called fake", "fake called fake")
    frame.line([(0, 0), (1, 1)], "muted")
    frame.line(points, "s0")
    for name, fpr, tpr in marks:
        frame.dot(fpr, tpr, "s1", f"{name}: {fpr:.1%} false alarms, {tpr:.1%} found")
    return frame.svg("ROC curve")


def precision_recall(points: Points, share: float) -> str:
    """The precision-recall curve, and the share of fakes, which guessing reaches."""
    frame = _Frame((0, 1), (0, 1), "recall", "precision")
    frame.line([(0, share), (1, share)], "muted")
    frame.line(points, "s0")
    return frame.svg("precision-recall curve")


def histogram(real: Sequence[int], fake: Sequence[int]) -> str:
    """Scores of both classes, as shares of each class."""
    shares = [[n / (sum(counts) or 1) for n in counts] for counts in (real, fake)]
    frame = _Frame((0, 1), (0, max(map(max, shares)) or 1), "score", "share of the class")
    width = 1 / len(real)
    for style, name, counts, bars in (
        ("s2", "real", real, shares[0]),
        ("s1", "fake", fake, shares[1]),
    ):
        for number, share in enumerate(bars):
            if share:
                left, right = number * width, (number + 1) * width
                title = f"{counts[number]} {name} between {left:.2f} and {right:.2f}"
                frame.bar(left, right, share, style, title)
    return frame.svg("histogram of scores")


def reliability(bins: Sequence[dict[str, float]]) -> str:
    """Share of fakes over the score; on the diagonal a score is a probability."""
    frame = _Frame((0, 1), (0, 1), "score", "share of fakes")
    frame.line([(0, 0), (1, 1)], "muted")
    frame.line([(bar["score"], bar["fake"]) for bar in bins], "s0")
    for bar in bins:
        frame.dot(bar["score"], bar["fake"], "s0", f"{bar['n']} clips")
    return frame.svg("reliability diagram")


def lines(series: dict[str, Points], x_label: str, name: str) -> str:
    """Lines with a point each; the y axis covers all values."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    low, high = min(ys), max(ys)
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    across = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    frame = _Frame(across, (low - pad, high + pad), x_label, "")
    for number, (line_name, points) in enumerate(series.items()):
        frame.line(points, f"s{number}")
        for x, y in points:
            frame.dot(x, y, f"s{number}", f"{line_name}: {y:.4g}")
    return frame.svg(name)


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A value between 0 and 1 with its interval, small enough for a table's cell."""
    if value is None:
        return ""
    x = _small(value)
    bar = ""
    if low is not None and high is not None:
        x1, x2 = _small(low), _small(high)
        bar = f'<line class="line s0" x1="{x1:.1f}" x2="{x2:.1f}" y1="8" y2="8"/>'
    return (
        '<svg class="small" viewBox="0 0 100 16" aria-hidden="true">'
        '<line class="grid" x1="5" x2="95" y1="8" y2="8"/>'
        f'<line class="grid" x1="50" x2="50" y1="2" y2="14"/>{bar}'
        f'<circle class="dot s0" cx="{x:.1f}" cy="8" r="4"/></svg>'
    )


def _small(value: float) -> float:
    # The dot at an end is as wide as the margin.
    return 5 + 90 * value


def _ticks(low: float, high: float, integers: bool = False) -> list[float]:
    """Four to six round numbers."""
    if (low, high) == (0, 1):
        return [0, 0.25, 0.5, 0.75, 1]
    # The largest of 1, 2 and 5 times a power of ten that gives at least three ticks.
    magnitude = 10.0 ** math.floor(math.log10(high - low))
    step = max(m * magnitude for m in (0.1, 0.2, 0.5, 1.0) if (high - low) / (m * magnitude) >= 3)
    if integers:
        step = max(1.0, round(step))
    first = -(-low // step)
    count = int((high - first * step) / step + 1e-9) + 1
    return [round((first + number) * step, 10) for number in range(count)]


def _short(value: float) -> str:
    return f"{value:.6g}" if abs(value) >= 1e-3 or not value else f"{value:.0e}"
