"""Scores many clips with Beam: the extraction of training, then the exported model.

Every clip is finished or absent, its faces in the face store and its scores in a file of its own,
so that an interrupted run goes on where it stopped, and only new clips cost anything later.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pandas as pd

from components.clip_evaluator.scores import ExampleScorer, crop_row, crop_table, read_records
from preprocessing import model_metadata, progress
from preprocessing.datasets.clip import Clip
from preprocessing.errors import UsageError
from preprocessing.face_extraction import ExtractFaces, Settings
from preprocessing.files import replacing

_RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
_SPLIT = "test"


@dataclasses.dataclass(frozen=True)
class Scored:
    """What came of the clips.

    Attributes:
      crops: table of crops, see `scores.CROP_COLUMNS`.
      rows: report rows of extraction, sorted by path; each has its clip's split.
      records: TFRecord files of the faces.
    """

    crops: pd.DataFrame
    rows: list[dict[str, Any]]
    records: tuple[str, ...]


def settings_of(metadata: dict[str, Any], precropped: bool = False) -> Settings:
    """The crops that a model wants.

    Args:
      metadata: of the model.
      precropped: whether the files are crops already.

    Raises:
      UsageError: this version cannot make them, or they must be given and are not.
    """
    try:
        settings = Settings(**metadata["extraction"])
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"the model was trained on crops that this version cannot make ({error}); use the "
            "version of this project that trained it, or train again"
        ) from error
    if settings.precropped and not precropped:
        raise UsageError(
            "the model was trained on files that were crops already, so nobody knows how to cut "
            "faces for it; give it such crops, with --precropped"
        )
    return dataclasses.replace(settings, precropped=precropped)


def score_clips(
    model: str | Path,
    clips: Sequence[Clip],
    root: str,
    work: str | Path,
    precropped: bool = False,
    workers: int = 1,
) -> Scored:
    """Scores clips, finished ones from the work folder.

    Args:
      model: folder of a model, see `model_metadata.find_saved_model`.
      clips: with hashes.
      root: folder that their paths start from.
      work: folder of finished clips; may hold those of earlier runs and of other models.
      precropped: whether the files are crops already.
      workers: Beam worker processes.

    Raises:
      UsageError: see `settings_of`, or the model is none of ours.
    """
    saved_model = model_metadata.find_saved_model(model)
    settings = settings_of(model_metadata.read(model), precropped)
    work = Path(work).resolve()
    records = work / "examples" / f"Split-{_SPLIT}"
    for old in records.glob("*"):  # Of other clips: shards are put together anew.
        old.unlink()
    clips = [dataclasses.replace(clip, split=_SPLIT) for clip in clips]
    scores = work / "scores" / model_digest(saved_model)
    rows_file = work / "rows.json"
    arguments = [_RUNNER]
    if workers > 1:
        arguments += [
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={workers}",
        ]
    options = beam.options.pipeline_options.PipelineOptions(arguments)
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "Clips" >> beam.Create(clips)
            | "ExtractFaces"
            >> ExtractFaces(
                root=root,
                store=str(work / "face-store"),
                outputs={_SPLIT: str(records)},
                clips_per_split={_SPLIT: len(clips)},
                settings=settings,
                threads=max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0,
            )
            | "Score" >> beam.ParDo(_ScoreClip(str(saved_model), str(scores), len(clips)))
            | "Rows" >> beam.combiners.ToList()
            | "WriteRows" >> beam.Map(_write_json, str(rows_file))
        )
    rows = sorted(json.loads(rows_file.read_text(encoding="utf-8")), key=lambda row: row["path"])
    rows_file.unlink()
    crops = [row for one in rows if one["crops"] for row in _read(_scores_file(scores, one))]
    return Scored(crop_table(crops), rows, tuple(sorted(map(str, records.glob("*.gz")))))


def model_digest(saved_model: Path) -> str:
    """What scores depend on: 16 hex digits of the graph and the weights."""
    digest = hashlib.sha256()
    for file in sorted(saved_model.rglob("*")):
        if file.name == "saved_model.pb" or file.parent.name == "variables":
            digest.update(file.name.encode())
            with file.open("rb") as opened:
                while block := opened.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]


class _ScoreClip(beam.DoFn):
    """Report row -> the same row; the scores of its crops lie in a file then."""

    def __init__(self, saved_model: str, folder: str, total: int):
        self._saved_model = saved_model
        self._folder = folder
        self._total = total
        self._done = 0
        self._scorer: ExampleScorer | None = None

    def process(self, row: dict[str, Any]) -> Iterable[dict[str, Any]]:
        target = _scores_file(Path(self._folder), row)
        if row["crops"] and not target.exists():
            if self._scorer is None:  # Not in setup(): finished runs need no model.
                self._scorer = ExampleScorer(self._saved_model)
            # The first record of a stored clip is its report row.
            records = list(itertools.islice(read_records([row["stored"]]), 1, None))
            logits = self._scorer.logits(records)
            with replacing(target) as file:
                json.dump([crop_row(*one) for one in zip(records, logits, strict=True)], file)
        self._done += 1
        progress.report("score", self._done, self._total, "clips")
        yield row


def _scores_file(folder: Path, row: dict[str, Any]) -> Path:
    stored = Path(row["stored"])
    # The folder's name tells settings and code of the crops.
    return folder / stored.parent.name / f"{stored.stem}.json"


def _read(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(rows: list[dict[str, Any]], path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(rows, file)
