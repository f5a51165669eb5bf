"""`deepfake predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands._options import AllFaces, FalsePositiveRate, MissRate, Model
from preprocessing.support.errors import UsageError
from serving.model.starter import named_or_starter

if TYPE_CHECKING:
    from serving.model.verdict import Verdict


def predict(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Videos or pictures.")],
    model: Model = None,
    false_positive_rate: FalsePositiveRate = None,
    miss_rate: MissRate = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    all_faces: AllFaces = False,
) -> int:
    """P(fake) of videos and pictures, and a verdict.

    Cuts the faces out of each file as in training and prints P(fake) per file and a verdict:
    fake where the model's validation clips rule out that it is real, at the false positive rate;
    real where they rule out that it is fake, at the miss rate; else uncertain; and unfamiliar where
    it is unlike them. So a model with few validation clips says uncertain. A verdict holds for data
    like the validation's; what it is worth on yours, `deepfake evaluate` measures.

    Where no model is named, the starter answers; standard error then says what it is.

    Exit status: 0 every file has a score, 1 one has none.
    """
    from preprocessing.datasets.clip import printable
    from preprocessing.support.quiet import quiet
    from serving.model.familiarity import UNFAMILIAR
    from serving.model.predictor import Predictor

    for file in files:
        if not Path(file).exists():
            raise UsageError(f"there is no file {printable(file)}")
    model = named_or_starter(model)
    with quiet():
        predictor = Predictor(model, all_faces, false_positive_rate, miss_rate)
    verdicts = []
    # A warning takes the place of each word.
    width = max(len(UNFAMILIAR), len(predictor.wording.warning))
    if not as_json:
        head = f"{'P(fake)':>8}  {'found':>5}  {'judged':>6}  {'tracks':>6}  file"
        print(f"{'verdict':<{width}}  {head}")
    for file in files:
        with quiet():
            verdict = predictor.predict(file)
        verdicts.append(verdict)
        if not as_json:
            print(_lines(verdict, width), flush=True)
    with quiet():
        predictor.close()
    if as_json:
        about = {"model": predictor.about}
        answers = [{"file": answer.file, **answer.as_dict(), **about} for answer in verdicts]
        print(json.dumps(answers, indent=1))
    else:
        print(predictor.wording.meaning())
    return 0 if all(verdict.score is not None for verdict in verdicts) else 1


def _lines(verdict: Verdict, width: int) -> str:
    """A line of the table, and indented below it what was left out and what is to be noted."""
    from preprocessing.datasets.clip import printable
    from preprocessing.faces.face_selection import by_reason

    counts = verdict.counts
    score = "-" if verdict.score is None else f"{verdict.score:.3f}"
    why = f"  ({verdict.reason})" if verdict.reason else ""
    lines = [
        f"{verdict.verdict or '-':<{width}}  {score:>8}  {counts.faces:>5}  {counts.crops:>6}"
        f"  {len(verdict.tracks):>6}  {printable(verdict.file)}{why}"
    ]
    if counts.dropped and counts.crops:
        lines.append(f"           faces left out: {by_reason(counts.dropped)}")
    if verdict.unusual and verdict.unusual.facts:
        lines.append(f"           unusual: {'; '.join(verdict.unusual.facts)}")
    notes = [counts.note, *counts.notes] if counts.note else counts.notes
    lines += [f"           note: {note}" for note in notes]
    return "\n".join(lines)
