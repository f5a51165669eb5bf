"""What the report says of data, faces, training and model, as values for its templates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from components.report import charts
from components.report.formats import number
from components.report.measured import chart
from components.report.mistakes import Mistake
from components.report.thumbnails import data_uri
from serving.model.provenance import Provenance


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


def dataset(dataset: dict[str, Any] | None, model: dict[str, Any]) -> dict[str, Any] | None:
    """What the clips are, how they are divided, and what leaks; None without a dataset.

    Args:
      dataset: of `components.report.data.gather`.
      model: the model card.
    """
    if not dataset:
        return None
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
    started_from = (model.get("provenance") or {}).get("started_from")
    note = f"Its training started from {started_from}. Clips of these in the test have been seen."
    return {
        **dataset,
        "head": ["Clips", *splits],
        "rows": rows,
        "earlier": note if started_from else "",
    }


def faces(extraction: dict[str, Any] | None, pictures: Pictures) -> dict[str, Any] | None:
    """Counts of clips and faces, and sample crops; None where neither is known.

    Args:
      extraction: of `components.report.data.gather`.
      pictures: of the page.
    """
    if not (extraction or pictures.contact_sheet or pictures.sheet):
        return None
    reasons = {**extraction["reasons"], **extraction["dropped"]} if extraction else {}
    return {
        "extraction": extraction,
        "unscored": len(extraction["unscored_test_clips"]) if extraction else 0,
        "reasons": list(reasons.items()),
        "contact_sheet": data_uri(pictures.contact_sheet, "png") if pictures.contact_sheet else "",
        "sheet": [("fake" if label else "real", data_uri(jpeg)) for label, jpeg in pictures.sheet],
    }


def training(history: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Curves of loss, accuracy and AUC; None without a training.

    Args:
      history: a row an epoch.
    """
    if not history:
        return None
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
        series: dict[str, charts.Points] = {
            name: [(row["epoch"], row[column]) for row in history if _is_number(row.get(column))]
            for name, column in names.items()
        }
        series = {name: points for name, points in series.items() if points}
        if series:
            legend = [(name, f"s{i}") for i, name in enumerate(series)]
            drawn.append(chart(charts.lines(series, "epoch", title.lower()), title, legend))
    return drawn


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _calibration(model: dict[str, Any]) -> str:
    text = f"temperature {number(model['temperature'], 4)}, offset {number(model.get('offset'), 4)}"
    calibration = model.get("calibration")
    if not calibration:  # Of a version that fitted it on crops.
        return text
    real, fake = calibration["real"], calibration["fake"]
    if not (real and fake):
        return f"not calibrated: val has no {'fake' if real else 'real'} clip"
    clips = (
        f"the {real} real clips of val and {fake} fakes blended from them"
        if calibration.get("blended_fakes", False)
        else f"the {real} real and {fake} fake clips of val"
    )
    return f"{text}; fitted on {clips}, which chose the epoch and the thresholds too"


def card(model: dict[str, Any]) -> list[list[str]]:
    """What the model is and what made it: rows of a table.

    Args:
      model: the model card, see `serving.model.card`.
    """
    extraction, libraries = model.get("extraction", {}), model.get("libraries", {})
    provenance = model.get("provenance")
    return [
        *(map(list, Provenance.from_dict(provenance).facts().items()) if provenance else ()),
        ["Network", f"{model['backbone']}, input {model['input_size']} pixels"],
        ["Score", "P(fake), where half of all clips are fake; 1 means fake"],
        ["Calibration", _calibration(model)],
        ["Crops", ", ".join(f"{name} {value}" for name, value in extraction.items())],
        ["Data", ", ".join(f"{k} {v}" for k, v in model.get("data", {}).items())],
        ["Seed and code", f"{model.get('seed', '–')}, {model.get('code', '–')}"],
        ["Versions", ", ".join(f"{name} {version}" for name, version in libraries.items())],
    ]
