"""The files of an evaluation of clips."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from components.evaluation.bounds import BoundResult
from components.evaluation.measures import ClipMetrics, Comparison, SplitMeasures
from components.evaluation.scores import clip_tables
from preprocessing.support.files import replacing

METRICS, VERDICT = "metrics.json", "verdict.json"
_TEXTS = {
    "dtype": dict.fromkeys(("identity", "pair_id", "clip_id", "dataset", "method"), str),
    "keep_default_na": False,
}


def write_scores(folder: Path, split: str, crops: pd.DataFrame) -> None:
    """Writes `SPLIT_crops.csv`, `SPLIT_tracks.csv` and `SPLIT_clips.csv`."""
    tracks, clips = clip_tables(crops)
    for level, table in (("crops", crops), ("tracks", tracks), ("clips", clips)):
        # The names of clips may hold anything; csv quotes what the end of a line holds.
        path = folder / f"{split}_{level}.csv"
        table.to_csv(path, index=False, na_rep="nan", lineterminator="\r\n")


def read_scores(folder: str | Path, split: str, level: str) -> pd.DataFrame:
    """Reads one of the tables that `write_scores` wrote.

    Args:
      folder: of the evaluation.
      split: `val` or `test`.
      level: `crops`, `tracks` or `clips`.
    """
    table = pd.read_csv(Path(folder) / f"{split}_{level}.csv", **_TEXTS)
    for column in ("logit", "score"):
        table[column] = table[column].astype(float)
    return table


def write(
    folder: Path,
    measured: dict[str, SplitMeasures],
    rows: list[BoundResult],
    comparison: Comparison | None,
) -> None:
    """Writes `metrics.json` (measures by split, and the comparison) and `verdict.json`."""
    with replacing(folder / METRICS) as file:
        metrics = ClipMetrics(splits=measured, comparison=comparison)
        json.dump(metrics.to_dict(), file, indent=1)
    with replacing(folder / VERDICT) as file:
        json.dump([row.as_json() for row in rows], file, indent=1)


def read(folder: str | Path) -> ClipMetrics:
    """Reads `metrics.json`.

    Raises:
      UsageError: it does not hold what such a file holds.
    """
    text = (Path(folder) / METRICS).read_text(encoding="utf-8")
    return ClipMetrics.from_dict(json.loads(text))


def read_verdict(folder: str | Path) -> list[BoundResult]:
    """Reads `verdict.json`."""
    text = (Path(folder) / VERDICT).read_text(encoding="utf-8")
    return [BoundResult.from_json(row) for row in json.loads(text)]
