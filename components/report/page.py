"""The report as one HTML file; everything it says is in report.json too."""

from __future__ import annotations

from typing import Any

from components.evaluation.bounds import AT_LEAST, Row
from components.report import background, measured
from components.report.background import Pictures
from components.report.markup import NAMES, Html, join, measure, number, page, table, tag
from components.report.style import CSS

_HEADLINE = ("auc", "accuracy", "eer", "tpr_at_fpr_1pct")


def render(data: dict[str, Any], pictures: Pictures) -> str:
    """The document.

    Args:
      data: see `components.report.data.gather`.
      pictures: faces, inlined.
    """
    sections = [
        _head(data),
        _gate(data["gate"]),
        _serving_check(data.get("serving_check")),
        measured.clips(data),
        measured.slices(data),
        measured.mistakes(data, pictures.mistakes),
        _comparison(data["comparison"]),
        background.dataset(data["dataset"]),
        background.extraction(data["extraction"], pictures),
        background.training(data["history"]),
        background.card(data),
    ]
    return page(f"Report of {data['name']}", CSS, sections)


def _head(data: dict[str, Any]) -> Html:
    overall = data["splits"]["test"]["clips"][0]
    badge = ""
    served = data.get("serving_check")
    if data["blessed"] is not None:
        badge = tag("span", "passed the gate", "badge good")
        if not data["blessed"]:
            badge = tag("span", "refused by the gate", "badge bad")
        elif served and not served["blessed"]:
            who = "InfraValidator" if served["skipped"] else "the serving check"
            badge = tag("span", f"refused by {who}", "badge bad")
    tiles = [
        tag(
            "div",
            join(
                [
                    tag("b", number(overall["metrics"][name]["value"])),
                    tag("span", f"{NAMES[name]}{_between(overall['metrics'][name])}"),
                ]
            ),
            "tile",
        )
        for name in _HEADLINE
    ]
    made = data["dataset"] and data["dataset"]["datasets"] == ["demo"]
    return join(
        [
            tag("h1", join([f"Report of {data['name']} ", badge])),
            tag("p", f"{data['title']} Made {data['created']}.".strip(), "soft"),
            tag(
                "p",
                "The data of this run is made, not filmed: the figures prove that the machinery "
                "works, and say nothing about real deepfakes.",
                "note",
            )
            if made
            else "",
            tag(
                "p",
                f"Measured on {overall['real'] + overall['fake']} test clips ({overall['real']} "
                f"real, {overall['fake']} fake); in brackets, 95% intervals.",
            ),
            tag("div", join(tiles), "tiles"),
        ]
    )


def _between(one: dict[str, Any]) -> str:
    if one["low"] is None:
        return ""
    return f" [{number(one['low'])}, {number(one['high'])}]"


def _gate(rows: list[dict[str, Any]]) -> Html:
    if not rows:
        return Html("")
    cells = []
    for row in map(Row.from_json, rows):
        verdict = tag("span", "held" if row.held else "not held", "good" if row.held else "bad")
        where = f" of {row.slice}" if row.slice else ""
        value = number(row.value) if row.value == row.value else f"not measured: {row.reason}"
        name = row.metric.replace("auc", "AUC")
        relation = "≥" if row.relation == AT_LEAST else "≤"
        cells.append([f"{name}{where}", row.level, f"{relation} {row.bound:.3f}", value, verdict])
    return join(
        [
            tag("h2", "Gate"),
            tag(
                "p",
                "A model is pushed only when every bound holds, on frames and on clips, and when "
                "it passes the serving check.",
            ),
            table(["Measure", "On", "Bound", "Measured", "Verdict"], cells, (2, 3)),
        ]
    )


def _serving_check(found: dict[str, Any] | None) -> Html:
    """Whether the model answers as a server; None in reports of a dataset, where none was asked."""
    if found is None:
        return Html("")
    parts: list[Any] = [tag("h2", "Serving check")]
    if found["skipped"]:
        return join([*parts, tag("p", f"Not run: {found['skipped']}.")])
    parts.append(
        tag(
            "p",
            f"Served on this machine's CPU, the model was sent its {found['warmup_requests']} "
            f"warm-up requests and {found['crops']} test crops. The difference is the largest of a "
            "served logit from the evaluation's; the times are of one crop.",
        )
    )
    parts += [tag("p", f"{problem}.", "bad") for problem in found["problems"]]
    rows = [
        [
            protocol,
            number(found["largest_difference"].get(protocol), 6),
            number(found["p50_ms"].get(protocol), 1),
            number(found["p95_ms"].get(protocol), 1),
        ]
        for protocol in ("gRPC", "REST")
    ]
    head = ["Protocol", "Difference", "Median, ms", "95th percentile, ms"]
    return join([*parts, table(head, rows, (1, 2, 3))])


def _comparison(comparison: dict[str, Any] | None) -> Html:
    parts: list[Any] = [tag("h2", "Against the last blessed model")]
    if comparison is None:
        return join([*parts, tag("p", "There was none to compare with.")])
    return join(
        [
            *parts,
            tag(
                "p",
                f"Both models on the same {comparison['clips']} clips and the same resamples. An "
                "interval that holds 0 means that the difference may be chance.",
            ),
            comparison_table(comparison, "This model", "Last blessed"),
        ]
    )


def comparison_table(comparison: dict[str, Any], this: str, other: str) -> Html:
    """Measures of two models and their difference."""
    rows = [
        [title, number(one["candidate"]), number(one["baseline"]), measure(one, signed=True)]
        for name, title in NAMES.items()
        for one in [comparison["metrics"][name]]
    ]
    return table(["Measure", this, other, "Difference"], rows, (1, 2, 3))
