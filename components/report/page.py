"""The report as one HTML file; everything it says is in report.json too."""

from __future__ import annotations

import json
from typing import Any

from components.evaluation.bounds import AT_LEAST, BoundResult
from components.evaluation.catalogue import MEASURES
from components.report import background, measured
from components.report.background import Pictures
from components.report.formats import measure, named, number
from components.report.templating import fill

_HEADLINE = ("auc", "accuracy", "eer", "tpr_at_fpr_1pct")


def render(data: dict[str, Any], pictures: Pictures) -> str:
    """The document.

    Args:
      data: see `components.report.data.gather`.
      pictures: faces, inlined.
    """
    overall = data["splits"]["test"]["clips"][0]
    served, comparison, model = data.get("serving_check"), data["comparison"], data["model"]
    return fill(
        "report.html.j2",
        data=data,
        badge=_badge(data),
        synthetic=bool(data["dataset"]) and data["dataset"]["datasets"] == ["demo"],
        overall=overall,
        tiles=[_tile(name, overall["metrics"][name]) for name in _HEADLINE],
        gate=[_gate_row(row) for row in map(BoundResult.from_json, data["gate"])],
        serving=served,
        serving_rows=_serving_rows(served) if served and not served["skipped"] else [],
        clips=measured.clips(data),
        slices=measured.slices(data),
        mistakes=measured.mistakes(pictures.mistakes, data["warning"]),
        explained=any(mistake.occlusion_map is not None for mistake in pictures.mistakes),
        comparison=_comparison_rows(comparison) if comparison else [],
        dataset=background.dataset(data["dataset"], model),
        faces=background.faces(data["extraction"], pictures),
        training=background.training(data["history"]),
        card=background.card(model),
        configuration=json.dumps(_configuration(data["config"], model), indent=1, sort_keys=True),
    )


def _configuration(config: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """That of the run with the values that were trained with; the model card where there is none.

    Args:
      config: plain values; a Tuner's replace those of its sections `model` and `training`.
      model: the model card, whose sections of these names hold what the Trainer took.
    """
    if not config:
        return model
    trained = {name: model[name] for name in ("model", "training") if model.get(name)}
    return {**config, **trained}


def _badge(data: dict[str, Any]) -> dict[str, str] | None:
    """What became of the model; None where nothing judged it."""
    served = data.get("serving_check")
    if data["blessed"] is None:
        return None
    if not data["blessed"]:
        return {"text": "refused by the gate", "css": "bad"}
    if served and not served["blessed"]:
        checker = "InfraValidator" if served["skipped"] else "the serving check"
        return {"text": f"refused by {checker}", "css": "bad"}
    return {"text": "passed the gate", "css": "good"}


def _tile(name: str, values: dict[str, Any]) -> dict[str, str]:
    between = (
        "" if values["low"] is None else f" [{number(values['low'])}, {number(values['high'])}]"
    )
    return {"value": number(values["value"]), "name": f"{MEASURES[name].title}{between}"}


def _gate_row(row: BoundResult) -> list[Any]:
    of_slice = f" of {row.slice}" if row.slice else ""
    is_number = row.value == row.value
    return [
        f"{row.metric.replace('auc', 'AUC')}{of_slice}",
        row.level,
        f"{'≥' if row.relation == AT_LEAST else '≤'} {row.bound_text()}",
        row.value_text() if is_number else f"not measured: {row.reason}",
        {"text": "held" if row.held else "not held", "css": "good" if row.held else "bad"},
    ]


def _serving_rows(served: dict[str, Any]) -> list[list[str]]:
    return [
        [
            protocol,
            number(served["largest_difference"].get(protocol), 6),
            number(served["p50_ms"].get(protocol), 1),
            number(served["p95_ms"].get(protocol), 1),
        ]
        for protocol in ("gRPC", "REST")
    ]


def _comparison_rows(comparison: dict[str, Any]) -> list[list[str]]:
    """Measures of this model and the last blessed one, and their difference."""
    return [
        [
            title,
            number(values["candidate"]),
            number(values["baseline"]),
            measure(values, signed=True),
        ]
        for name, title in named(comparison["metrics"])
        for values in [comparison["metrics"][name]]
    ]
