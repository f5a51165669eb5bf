"""Pieces of HTML; every text is escaped here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
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


class Html(str):
    """Text that is markup already."""


def html(value: Any) -> str:
    """Markup as it is, anything else escaped."""
    return value if isinstance(value, Html) else escape(str(value))


def tag(name: str, content: Any, css: str = "") -> Html:
    """An element around a content."""
    return Html(f"<{name}{f' class={css!r}' if css else ''}>{html(content)}</{name}>")


def join(parts: Sequence[Any]) -> Html:
    """Several pieces as one."""
    return Html("".join(map(html, parts)))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[int] = ()) -> Html:
    """A table that becomes a list of cards on a narrow screen.

    Args:
      head: names of the columns.
      rows: cells; the first is the name of the row.
      numbers: which columns hold numbers.
    """

    def css(column: int) -> str:
        return ' class="n"' if column in numbers else ""

    top = "".join(f"<th{css(c)}>{escape(name)}</th>" for c, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{css(c)} data-label="{escape(head[c])}">{html(cell)}</td>'
            for c, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return Html(f'<table class="cards"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>')


def figure(picture: str, title: str, caption: Any = "") -> Html:
    """A chart with its title above and its caption below."""
    return Html(
        f"<figure><h3>{escape(title)}</h3>{picture}<figcaption>{html(caption)}</figcaption></figure>"
    )


def key(*names: tuple[str, str]) -> Html:
    """A legend: (name, style)."""
    return Html(
        "".join(
            f'<span class="key" style="--c:var(--{style})">{escape(name)}</span>'
            for name, style in names
        )
    )


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


def page(title: str, css: str, body: Sequence[Any]) -> str:
    """A whole document that needs nothing from elsewhere."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head>"
        f"<body><main>{join(body)}</main></body></html>\n"
    )
