"""What the report says of the test clips and frames, as values for its templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from components.evaluation.catalogue import MEASURES
from components.report import charts
from components.report.formats import measure, named, number
from components.report.mistakes import Mistake, overlay
from components.report.thumbnails import data_uri, thumbnail

_POINTS = {"eer": "equal errors", "0.5": "score of 0.5"}


def clips(data: dict[str, Any]) -> dict[str, Any]:
    """What the test clips and frames say, with curves and the confusion matrix.

    Args:
      data: see `components.report.data.gather`.
    """
    test, val = (data["splits"].get(split) for split in ("test", "val"))
    clips, crops = test["clips"][0], test["crops"][0]
    rows = []
    for name, title in named(clips["metrics"]):
        row = [title, measure(clips["metrics"][name]), number(crops["metrics"][name]["value"])]
        if val:
            row.append(number(val["clips"][0]["metrics"][name]["value"]))
        rows.append(row)
    notes = {
        f"{MEASURES[name].title}: {values['note']}."
        for name, values in clips["metrics"].items()
        if values["note"] and values["value"] is not None
    }
    return {
        "head": ["Measure", "Clips", "Frames", *(["Clips of val"] if val else [])],
        "rows": rows,
        "resamples": test["resamples"],
        "clusters": clips["clusters"],
        "notes": sorted(notes),
        "charts": _charts(data, clips) if data["curves"] else [],
        "confusion": _confusion(data) if data["curves"] else None,
    }


def chart(svg: str, title: str, legend: Sequence[tuple[str, str]] = (), caption: str = "") -> Any:
    """A chart for the template.

    Args:
      svg: the drawing.
      title: above it.
      legend: (name, style) of its lines.
      caption: below it, after the legend.
    """
    drawing = Markup(svg)  # noqa: S704  Of charts.py, which escapes its texts.
    return {"svg": drawing, "title": title, "legend": legend, "caption": caption}


def _charts(data: dict[str, Any], clips: dict[str, Any]) -> list[dict[str, Any]]:
    curves, drawn = data["curves"], []
    if curves["roc"]:
        marks = [
            (
                point["name"],
                point["real_called_fake"] / clips["real"],
                point["fake_called_fake"] / clips["fake"],
            )
            for point in data["confusion"]
        ]
        share = clips["fake"] / (clips["real"] + clips["fake"])
        model = ("model", "s0")
        drawn += [
            chart(
                charts.roc(curves["roc"], marks),
                "ROC",
                [model, ("operating points of val", "s1")],
                "dashed: chance",
            ),
            chart(
                charts.precision_recall(curves["pr"], share),
                "Precision and recall",
                [model],
                "dashed: calling everything fake",
            ),
        ]
    return [
        *drawn,
        chart(charts.histogram(**curves["histogram"]), "Scores", [("real", "s2"), ("fake", "s1")]),
        chart(
            charts.reliability(curves["reliability"]),
            "Reliability",
            caption="Of equally many real and fake clips. On the dashed line a score of 0.8 means "
            "that 8 of 10 such clips are fake.",
        ),
    ]


def _confusion(data: dict[str, Any]) -> dict[str, Any] | None:
    at_half = next((point for point in data["confusion"] if point["name"] == "0.5"), None)
    if at_half is None:
        return None
    cells = []
    for label in ("real", "fake"):
        counts = [at_half[f"{label}_called_{called}"] for called in ("real", "fake")]
        total = sum(counts)
        shares = [count / total if total else 0.0 for count in counts]
        pairs = zip(counts, shares, strict=True)
        cells.append((label, [{"count": count, "share": share} for count, share in pairs]))
    points = [
        [
            _POINTS.get(
                point["name"], point["name"].replace("fpr_", "false alarms of val at most ")
            ),
            number(point["threshold"]),
            point["real_called_fake"],
            point["fake_called_real"],
            point["fake_called_fake"],
        ]
        for point in data["confusion"]
    ]
    return {"cells": cells, "points": points}


def slices(data: dict[str, Any]) -> list[list[Any]]:
    """AUC and accuracy by dataset, method, source and size: rows of a table.

    Args:
      data: see `components.report.data.gather`.
    """
    rows = []
    for part in data["splits"]["test"]["clips"]:
        auc = part["metrics"]["auc"]
        rows.append(
            [
                f"{part['key'].replace('_', ' ')}: {part['value']}"
                if part["value"]
                else "all clips",
                part["real"],
                part["fake"],
                measure(auc),
                Markup(charts.interval(auc["value"], auc["low"], auc["high"])),  # noqa: S704
                measure(part["metrics"]["accuracy"]),
            ]
        )
    return rows


def mistakes(mistakes: Sequence[Mistake], warning: str) -> list[dict[str, Any]]:
    """The faces that the model is most wrongly sure of, with occlusion maps.

    Args:
      mistakes: see `components.report.mistakes.worst`.
      warning: why what the model says is no verdict; empty where nothing is to be warned of.
    """
    note = f" ({warning})" if warning else ""
    return [
        {
            "face": data_uri(thumbnail(mistake.crop)) if mistake.crop else "",
            "occlusion_map": data_uri(overlay(mistake.crop, mistake.occlusion_map))
            if mistake.crop and mistake.occlusion_map is not None
            else "",
            "what": f"real, called fake{note}"
            if mistake.row["label"] == 0
            else f"{mistake.row['method']}, called real{note}",
            "score": mistake.row["score"],
            "clip": mistake.row["clip_id"],
            "frame": mistake.row["frame_index"],
        }
        for mistake in mistakes
    ]
