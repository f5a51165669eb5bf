"""Sections of the report: data, faces, training, and the model card."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from components.report import charts
from components.report.markup import Html, figure, join, key, number, table, tag
from components.report.mistakes import Mistake, data_uri


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


def dataset(dataset: dict[str, Any] | None) -> Html:
    """What the clips are, how they are divided, and what leaks."""
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


def extraction(extraction: dict[str, Any] | None, pictures: Pictures) -> Html:
    """What came of the clips, and some crops."""
    parts: list[Any] = [tag("h2", "Faces")]
    if extraction:
        unscored = extraction["unscored_test_clips"]
        parts += [
            tag(
                "p",
                f"{extraction['clips']} clips: {extraction['clips_with_faces']} gave "
                f"{extraction['crops']} crops, {extraction['clips_reported']} gave none."
                + (
                    f" {len(unscored)} of these are test clips, which the figures above leave out."
                    if unscored
                    else ""
                ),
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


def training(history: list[dict[str, Any]]) -> Html:
    """Curves of loss, accuracy and AUC."""
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


def _calibration(model: dict[str, Any]) -> str:
    text = f"temperature {number(model['temperature'], 4)}, offset {number(model.get('offset'), 4)}"
    fitted = model.get("calibration")
    if not fitted:  # Of a version that fitted it on crops.
        return text
    return (
        f"{text}; fitted on the {fitted['real']} real and {fitted['fake']} fake clips of val, "
        "which chose the epoch and the thresholds too"
    )


def card(data: dict[str, Any]) -> Html:
    """What the model is for, what it is not for, and what made it."""
    model, extraction = data["model"], data["model"].get("extraction", {})
    libraries = ", ".join(f"{name} {v}" for name, v in model.get("libraries", {}).items())
    rows = [
        ["Network", f"{model['backbone']}, input {model['input_size']} pixels"],
        ["Score", "P(fake), where half of all clips are fake; 1 means fake"],
        ["Calibration", _calibration(model)],
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
