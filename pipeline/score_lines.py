"""Answers of `deepfake score` as lines of JSON, in the schema of `deepfake predict --jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocessing.datasets.clip import Problem
from preprocessing.extraction import face_example as names
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.faces.face_selection import FaceCounts
from preprocessing.support.files import replacing
from serving.model.aggregation import aggregate
from serving.model.verdict import DecisionRule, Verdict, judge_logits
from serving.model.windows import CropPositions

if TYPE_CHECKING:
    import pandas as pd


def write_lines(target: Path, verdicts: Iterable[Verdict], about: dict[str, Any]) -> None:
    """Writes an answer a line; the file is complete when it appears.

    Args:
      target: the file.
      verdicts: verdicts on the clips.
      about: the model, see `ModelCard.about`.
    """
    with replacing(target) as file:
        for verdict in verdicts:
            file.write(json.dumps(verdict.answer(about)) + "\n")


def verdicts_of(
    rows: Iterable[ClipRow],
    problems: Iterable[Problem],
    crops: pd.DataFrame,
    rule: DecisionRule,
    broken: str,
) -> Iterator[Verdict]:
    """The verdicts on scored clips, by path.

    Args:
      rows: report rows of the clips.
      problems: other files that were met, each with its reason.
      crops: table of their crops, see `components.evaluation.scores.CROP_COLUMNS`.
      rule: decision rule of the model.
      broken: reason of clips with NaN or infinite logits.
    """
    by_clip = dict(iter(crops.groupby(names.CLIP_ID, sort=False)))
    rows_by_path: dict[str, ClipRow | Problem] = {row.path: row for row in rows}
    rows_by_path |= {problem.path: problem for problem in problems}
    for path in sorted(rows_by_path):
        row = rows_by_path[path]
        if isinstance(row, Problem):
            yield Verdict(path, None, reason=row.reason, decision_rule=rule)
            continue
        counts = FaceCounts(
            frames=row.frames,
            frames_with_face=row.frames_with_face,
            shots=row.shots,
            faces=row.faces,
            tracks=row.tracks,
            crops=row.crops,
            dropped=row.dropped,
            boxes=row.boxes,
            note=row.note,
            notes=row.notes,
        )
        if path not in by_clip:
            yield Verdict(path, None, counts=counts, reason=row.reason, decision_rule=rule)
            continue
        yield _judged(path, by_clip[path], counts, rule, broken)


def _judged(
    path: str, crops: pd.DataFrame, counts: FaceCounts, rule: DecisionRule, broken: str
) -> Verdict:
    logits = crops["logit"].to_numpy(float)
    if not np.isfinite(logits).all():
        return Verdict(path, None, counts=counts, reason=broken, decision_rule=rule, failed=True)
    positions = CropPositions.of(
        crops[names.TRACK_ID].tolist(),
        crops[names.FRAME_INDEX].tolist(),
        crops[names.TIMESTAMP_MS].tolist(),
    )
    familiarity = rule.familiarity_of_distance(clip_distance(crops))
    return judge_logits(path, logits, positions, counts, familiarity, rule)


def clip_distance(crops: pd.DataFrame) -> float:
    """Distance of a clip to the training crops, equal to that of `clip_tables`.

    Args:
      crops: table of the clip's crops.

    Returns:
      The distance of the track that is furthest out; NaN where a crop has none.
    """
    distances = crops["distance"].to_numpy(float)
    clips, tracks = crops[names.CLIP_ID].to_numpy(str), crops[names.TRACK_ID].to_numpy(int)
    (distance,) = aggregate(distances, clips, tracks, allow_non_finite=True).logits
    return float(distance)
