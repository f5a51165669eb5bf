"""The report as one HTML file; everything it says is in report.json too."""

from __future__ import annotations

import dataclasses
import json
import math
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
    page,
    table,
    tag,
)
from components.report.mistakes import Mistake, data_uri, overlay, thumbnail
from components.report.style import CSS
from pipeline.bounds import Row

_HEADLINE = ("auc", "accuracy", "eer", "tpr_at_fpr_1pct")


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What a page shows besides its numbers.

    Attributes:
      mistakes: the most confident ones.
      sheet: (label, JPEG) of some crops.
      contact_sheet: a PNG that extraction made; shown instead of `sheet`.
    """

    mistakes: Sequence[Mistake] = ()
    sheet: Sequence[tuple[int, bytes]] = ()
    contact_sheet: bytes = b""


def render(data: dict[str, Any], pictures: Pictures) -> str:
    """The document.

    Args:
      data: see `components.report.data.gather`.
      pictures: faces, inlined.
    """
    sections = [
        _head(data),
        _gate(data["gate"]),
        _clips(data),
        _slices(data),
        _mistakes(data, pictures.mistakes),
        _comparison(data["comparison"]),
        _dataset(data["dataset"]),
        _extraction(data["extraction"], pictures),
        _training(data["history"]),
        _card(data),
    ]
    return page(f"Report of {data['name']}", CSS, sections)


def _head(data: dict[str, Any]) -> Html:
    overall = data["splits"]["test"]["clips"][0]
    badge = ""
    if data["blessed"] is not None:
        badge = tag("span", "passed the gate", "badge good")
        if not data["blessed"]:
            badge = tag("span", "refused by the gate", "badge bad")
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
        cells.append([f"{name}{where}", row.level, f"≥ {row.bound:.3f}", value, verdict])
    return join(
        [
            tag("h2", "Gate"),
            tag("p", "A model is pushed only when every bound holds, on frames and on clips."),
            table(["Bound", "On", "At least", "Measured", "Verdict"], cells, (2, 3)),
        ]
    )


def _clips(data: dict[str, Any]) -> Html:
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


def _slices(data: dict[str, Any]) -> Html:
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


def _mistakes(data: dict[str, Any], mistakes: Sequence[Mistake]) -> Html:
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


def _dataset(dataset: dict[str, Any] | None) -> Html:
    if not dataset:
        return Html("")
    splits = list(dataset["counts"])
    rows = []
    for label in ("real", "fake"):
        methods = {m for split in splits for m in dataset["counts"][split][label]}
        rows.append([label, *(sum(dataset["counts"][s][label].values()) for s in splits)])
        for method in sorted(methods - {label}):
            rows.append(
                [f"– {method}", *(dataset["counts"][s][label].get(method, 0) for s in splits)]
            )
    rows.append(["known persons", *(dataset["identities"][split] for split in splits)])
    style = "good" if dataset["clean"] else "note"
    return join(
        [
            tag("h2", "Data"),
            tag("p", f"{dataset['clips']} clips of {', '.join(dataset['datasets'])}."),
            table(["Clips", *splits], rows, (1, 2, 3)),
            tag("h3", "What the model may have seen of its test"),
            *(tag("p", line, style) for line in dataset["leaks"]),
            tag("p", f"Folder {dataset['root']}; digest {dataset['digest'][:16]}.", "soft"),
        ]
    )


def _extraction(extraction: dict[str, Any] | None, pictures: Pictures) -> Html:
    parts: list[Any] = [tag("h2", "Faces")]
    if extraction:
        unscored = extraction["unscored_test_clips"]
        parts += [
            tag(
                "p",
                f"{extraction['clips']} clips: {extraction['clips_with_faces']} gave "
                f"{extraction['crops']} crops, {extraction['clips_reported']} gave none. "
                f"{len(unscored)} of these are test clips, which the figures above leave out.",
            )
        ]
        reasons = {**extraction["reasons"], **extraction["dropped"]}
        if reasons:
            rows = [[reason, count] for reason, count in reasons.items()]
            parts.append(table(["Left out because", "Number"], rows, (1,)))
    if pictures.contact_sheet:
        uri = data_uri(pictures.contact_sheet).replace("image/jpeg", "image/png", 1)
        parts.append(Html(f'<img class="wide" alt="contact sheet" src="{uri}">'))
    elif pictures.sheet:
        images = "".join(
            f'<img class="{"fake" if label else "real"}" alt="" src="{data_uri(jpeg)}">'
            for label, jpeg in pictures.sheet
        )
        parts.append(tag("div", Html(images), "sheet"))
        parts.append(tag("p", key(("real", "s2"), ("fake", "s1"))))
    return join(parts) if len(parts) > 1 else Html("")


def _training(history: list[dict[str, Any]]) -> Html:
    if not history:
        return Html("")
    panels = {
        "Loss": {"train": "loss", "val": "val_loss"},
        "Accuracy": {
            "train": "accuracy",
            "val": "val_accuracy",
            "val, clips": "val_clip_accuracy",
        },
        "AUC": {"val": "val_auc", "val, clips": "val_clip_auc"},
    }
    drawn = []
    for title, names in panels.items():
        # A split of one class has no AUC: that line, or the whole panel, is left out.
        series = {
            name: [(row["epoch"], row[column]) for row in history if _is_number(row.get(column))]
            for name, column in names.items()
        }
        series = {name: points for name, points in series.items() if points}
        if series:
            legend = key(*((name, f"s{i}") for i, name in enumerate(series)))
            drawn.append(figure(charts.lines(series, "epoch", title.lower()), title, legend))
    return join([tag("h2", "Training"), tag("div", join(drawn), "charts")])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _card(data: dict[str, Any]) -> Html:
    model, extraction = data["model"], data["model"].get("extraction", {})
    libraries = ", ".join(f"{name} {v}" for name, v in model.get("libraries", {}).items())
    rows = [
        ["Network", f"{model['backbone']}, input {model['input_size']} pixels"],
        ["Score", "P(fake) of a face crop, calibrated on val; 1 means fake"],
        ["Temperature", number(model["temperature"], 4)],
        ["Crops", ", ".join(f"{name} {value}" for name, value in extraction.items())],
        ["Trained on", ", ".join(f"{k} {v}" for k, v in model.get("data", {}).items())],
        ["Seed and code", f"{model.get('seed', '–')}, {model.get('code', '–')}"],
        ["Versions", libraries],
    ]
    limits = [
        "A score is evidence about the manipulations that the training data holds, not proof.",
        "Other datasets, cameras, compressions and newer forgeries are unknown until measured: "
        "deepfake evaluate --model DIR --data DIR.",
        "Audio, whole synthetic scenes and faces smaller than the training's are not judged.",
        "No figure here is by age, sex or skin colour: the data does not tell them.",
    ]
    return join(
        [
            tag("h2", "Model card"),
            tag(
                "p",
                "Intended for sorting videos for people to look at. Not intended as the only "
                "ground of a decision about a person.",
            ),
            table(["Property", "Value"], rows),
            tag("h3", "Limits"),
            tag("ul", join([tag("li", limit) for limit in limits])),
            Html("<details><summary>Configuration</summary>"),
            tag("pre", json.dumps(data["config"] or model, indent=1, sort_keys=True)),
            Html("</details>"),
            tag(
                "p", "This page shows faces of the data; pass it on as you would the data.", "soft"
            ),
        ]
    )
