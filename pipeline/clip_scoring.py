"""Scores many clips with Beam: the extraction of training, then the exported model.

Every clip is finished or absent, its faces in the face store and its scores in a file of its own,
so that an interrupted run goes on where it stopped, and only new clips cost anything later.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pandas as pd

from components.evaluation.scores import ExampleScorer, crop_table
from preprocessing.datasets.clip import Clip
from preprocessing.extraction import face_example as names
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.extraction.face_extraction import extraction_pipeline, run_extraction
from preprocessing.extraction.face_store import read_examples
from preprocessing.faces.crop_settings import ANSWER
from preprocessing.support import progress
from preprocessing.support.files import place, replacing
from preprocessing.support.fingerprint import settings_digest
from serving.model import card

_SPLIT = "test"
# Clips are scored together until they have so many.
_CROPS_AT_ONCE = 32


@dataclasses.dataclass(frozen=True)
class ScoredClips:
    """The scores of clips, and the report rows and records of their faces.

    Attributes:
      crops: table of crops, see `scores.CROP_COLUMNS`.
      rows: report rows of extraction, sorted by path; each has its clip's split.
      records: TFRecord files of the faces; empty where none were asked for.
    """

    crops: pd.DataFrame
    rows: list[ClipRow]
    records: tuple[str, ...]


def score_clips(
    model: str | Path,
    clips: Sequence[Clip],
    root: str,
    work: str | Path,
    precropped: bool = False,
    workers: int = 1,
    policy: str = ANSWER,
    with_records: bool = True,
    beam_args: Sequence[str] = (),
) -> ScoredClips:
    """Scores clips, finished ones from the work folder.

    Several processes may score into one work folder without records, also the same clips.

    Args:
      model: folder of a model, see `card.find_saved_model`.
      clips: with hashes.
      root: folder that their paths start from.
      work: folder of finished clips; may hold those of earlier runs and of other models.
      precropped: whether the files are crops already.
      workers: Beam worker processes of a machine.
      policy: which faces are judged, see `preprocessing.faces.face_selection`; as `deepfake
        predict` does where training's policy leaves none, an answer judges the best.
      with_records: whether TFRecords of the faces are wanted as well.
      beam_args: of another runner than the local one.

    Raises:
      UsageError: see `ModelCard.crop_settings`, or the model is not one of this project.
    """
    saved_model = card.find_saved_model(model)
    settings = card.read(model).crop_settings(precropped).replace(policy=policy)
    work = place(work).resolve()
    records = work / "examples" / f"Split-{_SPLIT}"
    if with_records:
        for shard in records.glob("*"):  # Of other clips: shards are put together anew.
            shard.unlink()
    clips = [dataclasses.replace(clip, split=_SPLIT) for clip in clips]
    scores = work / "scores" / model_digest(saved_model)
    rows = run_extraction(
        extraction_pipeline(workers, beam_args),
        root,
        clips,
        str(work / "face-store"),
        {_SPLIT: str(records)} if with_records else {},
        settings,
        workers,
        str(work),
        then=_scoring(_ScoreClips(str(saved_model), str(scores), len(clips))),
    )
    crops = [crop for row in rows if row.crops for crop in _of_run(row, scores)]
    shards = sorted(map(str, records.glob("*.gz"))) if with_records else []
    return ScoredClips(crop_table(crops), rows, tuple(shards))


def model_digest(saved_model: Path) -> str:
    """What scores depend on: 16 hex digits of the graph and the weights."""
    digest = hashlib.sha256()
    for file in sorted(saved_model.rglob("*")):
        if file.name == "saved_model.pb" or file.parent.name == "variables":
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def _scoring(scorer: _ScoreClips) -> beam.PTransform:
    """Clips of few crops, as single pictures, are scored together: a batch takes less time."""
    together = beam.BatchElements(
        min_batch_size=_CROPS_AT_ONCE,
        max_batch_size=_CROPS_AT_ONCE,
        element_size_fn=lambda row: row.crops,
    )
    return "Together" >> together | "Score" >> beam.ParDo(scorer)


class _ScoreClips(beam.DoFn):
    """Report rows -> the same rows; the scores of their crops lie in a file each then."""

    def __init__(self, saved_model: str, folder: str, total: int):
        self._saved_model = saved_model
        self._folder = folder
        self._total = total
        self._done = 0
        self._scorer: ExampleScorer | None = None

    def process(self, rows: Sequence[ClipRow]) -> Iterable[ClipRow]:
        folder = place(self._folder)
        unscored = [
            row for row in rows if row.crops and len(_read(_scores_file(folder, row))) != row.crops
        ]
        if unscored:
            if self._scorer is None:  # Not in setup(): finished runs need no model.
                self._scorer = ExampleScorer(self._saved_model)
            scored = iter(
                self._scorer.rows([crop for row in unscored for crop in read_examples(row.stored)])
            )
            for row in unscored:
                with replacing(_scores_file(folder, row)) as file:
                    json.dump(list(itertools.islice(scored, row.crops)), file)
        self._done += len(rows)
        progress.report("score", self._done, self._total, "clips")
        yield from rows


def _scores_file(folder: Path, row: ClipRow) -> Path:
    stored_clip = place(row.stored)
    # Where the original gives the boxes, another one gives other crops under the same name.
    original = f"-{settings_digest(row.original)}" if row.original else ""
    # The folder's name tells settings and code of the crops.
    return folder / stored_clip.parent.name / f"{stored_clip.stem}{original}.json"


def _of_run(row: ClipRow, folder: Path) -> list[dict[str, Any]]:
    """The scores of a clip, with the name of its group in place of persons: a file has none."""
    scores = _read(_scores_file(folder, row))
    return [{**crop, names.IDENTITY: row.kin or crop[names.IDENTITY]} for crop in scores]


def _read(path: Path) -> list[dict[str, Any]]:
    """The scores in a file; none where it is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
