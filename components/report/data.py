"""The content of report.json: everything that a report says, gathered from a run's artifacts."""

from __future__ import annotations

import csv
import dataclasses
import datetime
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation import results, serving_result
from components.report.curves import confusion, curves
from preprocessing.datasets.clip import SPLITS
from preprocessing.extraction import extraction_report
from preprocessing.extraction import face_example as names
from preprocessing.manifest.leaks import leaks
from preprocessing.manifest.manifest import Manifest
from serving.model import card
from serving.model.aggregation import probability
from serving.model.verdict import DecisionRule

_FALSE_POSITIVE_RATES = (0.1, 0.05, 0.01, 0.001)


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where things are. What is empty is left out of the report.

    Attributes:
      name: of the run.
      model: folder of the SavedModel.
      clip_evaluation: folder of ClipEvaluator's results.
      records: TFRecord files of the test split.
      manifest: the manifest (CSV).
      root: folder that the clips' paths start from.
      extraction: folder of the extraction report.
      evaluation: folder of TFMA's results.
      history: the Trainer's `history.csv`.
      blessed: whether both gates blessed the model; None where none judged.
      serving_check: folder of ServingCheck's report.
      config: the configuration as plain values.
      title: one sentence about what this is.
    """

    name: str
    model: str
    clip_evaluation: str
    records: tuple[str, ...] = ()
    manifest: str = ""
    root: str = ""
    extraction: str = ""
    evaluation: str = ""
    history: str = ""
    blessed: bool | None = None
    serving_check: str = ""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    title: str = ""


def gather(sources: Sources) -> dict[str, Any]:
    """Reads all sources; the result is what JSON can hold."""
    measured = results.read(sources.clip_evaluation)
    model_card = card.read(sources.model)
    clips = results.read_scores(sources.clip_evaluation, "test", "clips")
    labels, logits = clips[names.LABEL].to_numpy(int), clips["logit"].to_numpy(float)
    finite = bool(len(clips)) and bool(np.isfinite(logits).all())
    thresholds = {"0.5": 0.0, **_thresholds(model_card)}
    return {
        "name": sources.name,
        "title": sources.title,
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "blessed": sources.blessed,
        "gate": _gate(sources),
        "serving_check": _serving_check(sources.serving_check) if sources.serving_check else None,
        "dataset": _dataset(sources) if sources.manifest else None,
        "extraction": _extraction(sources.extraction) if sources.extraction else None,
        "history": _history(sources.history) if sources.history else [],
        "splits": {split: part.to_dict() for split, part in measured.splits.items()},
        "curves": curves(labels, logits) if finite else None,
        "confusion": [
            {
                "name": name,
                "logit": logit,
                "threshold": float(probability(logit)),
                **confusion(labels, logits, logit),
            }
            for name, logit in thresholds.items()
            if logit is not None and finite
        ],
        "comparison": measured.comparison and measured.comparison.to_dict(),
        "model": model_card.to_dict(),
        "warning": DecisionRule.of(model_card).warning,
        "config": sources.config,
        "sources": dataclasses.asdict(sources),
    }


def _thresholds(model_card: card.ModelCard) -> dict[str, float | None]:
    """Name -> logit above which clips are called fake at some false positive rates.

    None where val has too few clips to show the rate; models of earlier versions have others, see
    `serving.model.operating_points`.
    """
    if model_card.conformal is not None:
        real = model_card.conformal.real
        return {f"fpr_{rate:g}": real.highest_kept(rate) for rate in _FALSE_POSITIVE_RATES}
    points = model_card.operating_points.points if model_card.operating_points else ()
    return {point.name: point.threshold_logit() for point in points}


def _gate(sources: Sources) -> list[dict[str, Any]]:
    if sources.blessed is None:
        return []
    rows = results.read_verdict(sources.clip_evaluation)
    if sources.evaluation:
        # Loads TFMA, which a report without frames can do without.
        from components.evaluation import frame_gate

        rows = [*frame_gate.read(sources.evaluation), *rows]
    return [row.as_json() for row in rows]


def _serving_check(folder: str) -> dict[str, Any]:
    result = serving_result.read(folder)
    return {"blessed": result.blessed, "text": result.text(), **dataclasses.asdict(result)}


def _dataset(sources: Sources) -> dict[str, Any]:
    manifest = Manifest.read_csv(sources.manifest, sources.root)
    leaking = leaks(manifest.clips)
    # Alone, a test set has nothing to leak from; what the model was trained on is not known here.
    alone = {clip.split for clip in manifest.clips} == {"test"}
    unknown = ["what the model was trained on is not known here: these clips may be among it"]
    return {
        "root": sources.root,
        "digest": manifest.digest,
        "clips": len(manifest.clips),
        "datasets": sorted({clip.dataset for clip in manifest.clips}),
        "counts": manifest.counts(),
        "identities": {
            split: len({p for c in manifest.clips if c.split == split for p in c.identities})
            for split in SPLITS
        },
        "problems": len(manifest.problems),
        "clean": leaking.clean and not alone,
        "leaks": unknown if alone else leaking.lines(),
    }


def _extraction(folder: str) -> dict[str, Any]:
    report = extraction_report.read(folder)
    unscored = [
        {"path": row.path, "label": row.label, "reason": row.reason}
        for row in report.clips
        if row.split == "test" and not row.crops
    ]
    return {**report.summary, "unscored_test_clips": unscored}


def _history(path: str) -> list[dict[str, Any]]:
    if not Path(path).exists():
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [
            {key: value if key == "phase" else float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]
