"""Sections of the report: what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.report import charts
from components.report.markup import (
    NAMES,
    Html,
    figure,
    join,
    key,
    measure,
    number,
    table,
    tag,
)
from components.report.mistakes import Mistake, data_uri, overlay, thumbnail


def clips(data: dict[str, Any]) -> Html:
    """What the test clips and frames say, with curves and the confusion matrix."""
    test, val = (data["splits"].get(split) for split in ("test", "val"))
    clips, crops = test["clips"][0], test["crops"][0]
    head, rows = ["Measure", "Clips", "Frames"], []
    for name, title in NAMES.items():
        row = [title, measure(clips["metrics"][name]), number(crops["metrics"][name]["value"])]
        if val:
            row.append(number(val["clips"][0]["metrics"][name]["value"]))
        rows.append(row)
    notes = {
        f"{NAMES[name]}: {one['note']}."
        for name, one in clips["metrics"].items()
        if one["note"] and one["value"] is not None
    }
    parts = [
        tag("h2", "How good it is"),
        table([*head, *(["Clips of val"] if val else [])], rows, (1, 2, 3)),
        tag(
            "p",
            f"Intervals: {test['resamples']} bootstrap resamples of {clips['clusters']} clusters; "
            "clips of one target person are drawn together. A clip's score is that of its most "
            "suspicious face. " + " ".join(sorted(notes)),
            "soft",
        ),
    ]
    if data["curves"]:
        parts.append(tag("div", join(_charts(data, clips)), "charts"))
        parts.append(_confusion(data))
    return join(parts)


def _charts(data: dict[str, Any], clips: dict[str, Any]) -> list[Html]:
    drawn, found = data["curves"], []
    if drawn["roc"]:
        marks = [
            (
                one["name"],
                one["real_called_fake"] / clips["real"],
                one["fake_called_fake"] / clips["fake"],
            )
            for one in data["confusion"]
        ]
        share = clips["fake"] / (clips["real"] + clips["fake"])
        found += [
            figure(
                charts.roc(drawn["roc"], marks),
                "ROC",
                join([key(("model", "s0"), ("operating points of val", "s1")), "dashed: chance"]),
            ),
            figure(
                charts.precision_recall(drawn["pr"], share),
                "Precision and recall",
                join([key(("model", "s0")), "dashed: calling everything fake"]),
            ),
        ]
    return [
        *found,
        figure(
            charts.histogram(**drawn["histogram"]),
            "Scores",
            key(("real", "s2"), ("fake", "s1")),
        ),
        figure(
            charts.reliability(drawn["reliability"]),
            "Reliability",
            "On the dashed line a score of 0.8 means that 8 of 10 such clips are fake.",
        ),
    ]


def _confusion(data: dict[str, Any]) -> Html:
    at_half = next((one for one in data["confusion"] if one["name"] == "0.5"), None)
    if at_half is None:
        return Html("")
    cells = []
    for label in ("real", "fake"):
        total = at_half[f"{label}_called_real"] + at_half[f"{label}_called_fake"]
        cells.append(tag("div", label, "head"))
        for called in ("real", "fake"):
            count = at_half[f"{label}_called_{called}"]
            share = count / total if total else 0.0
            cells.append(
                Html(
                    f'<div class="cell" style="--share:{share:.3f}"><b>{count}</b>{share:.1%}</div>'
                )
            )
    head = [tag("div", text, "head") for text in ("", "called real", "called fake")]
    rows = [
        [
            {"eer": "equal errors", "0.5": "score of 0.5"}.get(
                one["name"], one["name"].replace("fpr_", "false alarms of val at most ")
            ),
            number(one["threshold"]),
            one["real_called_fake"],
            one["fake_called_real"],
            one["fake_called_fake"],
        ]
        for one in data["confusion"]
    ]
    names = ["Operating point", "Score above", "False alarms", "Missed fakes", "Fakes found"]
    return join(
        [
            tag("h3", "Clips at a score of 0.5"),
            tag("div", join([*head, *cells]), "confusion"),
            tag("h3", "At that score, and at the thresholds that val chose"),
            table(names, rows, (1, 2, 3, 4)),
        ]
    )


def slices(data: dict[str, Any]) -> Html:
    """AUC and accuracy by dataset, method, source and size."""
    rows = []
    for one in data["splits"]["test"]["clips"]:
        name = f"{one['key'].replace('_', ' ')}: {one['value']}" if one["value"] else "all clips"
        auc = one["metrics"]["auc"]
        rows.append(
            [
                name,
                one["real"],
                one["fake"],
                measure(auc),
                Html(charts.interval(auc["value"], auc["low"], auc["high"])),
                measure(one["metrics"]["accuracy"]),
            ]
        )
    return join(
        [
            tag("h2", "Slices"),
            tag(
                "p",
                "Each method stands against all real clips of its dataset; each source holds the "
                "real clips and the fakes made from them. The line reaches from 0 to 1.",
            ),
            table(["Slice", "Real", "Fake", "AUC", "", "Accuracy"], rows, (1, 2, 3, 5)),
        ]
    )


def mistakes(data: dict[str, Any], mistakes: Sequence[Mistake]) -> Html:
    """The faces that the model is most wrongly sure of, with heat maps."""
    faces = []
    for one in mistakes:
        pictures = []
        if one.crop:
            pictures.append(f'<img alt="the face" src="{data_uri(thumbnail(one.crop))}">')
        if one.crop and one.heat is not None:
            hot = data_uri(overlay(one.crop, one.heat))
            pictures.append(f'<img alt="its heat map" src="{hot}">')
        what = "real, called fake" if one.row["label"] == 0 else f"{one.row['method']}, called real"
        faces.append(
            join(
                [
                    Html("<figure>"),
                    tag("div", Html("".join(pictures)), "pair"),
                    tag(
                        "figcaption",
                        f"{what}, score {one.row['score']:.3f}: {one.row['clip_id']}, frame "
                        f"{one.row['frame_index']}",
                    ),
                    Html("</figure>"),
                ]
            )
        )
    heat = any(one.heat is not None for one in mistakes)
    explained = (
        "Red is where blurring the face takes evidence for the wrong answer away, blue where it "
        "adds some (occlusion through the exported model)."
    )
    text = "The frame that spoke most for the wrong answer. " + (explained if heat else "")
    return join(
        [
            tag("h2", "Most confident mistakes"),
            tag("p", text if mistakes else "No test clip is on the wrong side of 0.5."),
            tag("div", join(faces), "faces"),
        ]
    )
