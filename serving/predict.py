"""`deepfake predict`: P(fake) of files and a verdict, with the crops and graph of training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from preprocessing.datasets.clip import printable
from preprocessing.faces.face_selection import by_reason
from preprocessing.support.errors import UsageError
from preprocessing.support.quiet import quiet
from serving.model.predictor import Predictor
from serving.model.thresholds import FALSE_ALARMS, NO_BAND
from serving.model.verdict import Verdict


def predict_command(
    files: Sequence[str],
    model: str,
    as_json: bool,
    false_alarms: float = FALSE_ALARMS,
    all_faces: bool = False,
) -> int:
    """Prints a verdict per file.

    Returns:
      0 when every file got a score, 1 when one did not.

    Raises:
      UsageError: a file does not exist, or the model cannot be used.
    """
    for file in files:
        if not Path(file).exists():
            raise UsageError(f"there is no file {printable(file)}")
    with quiet():
        predictor = Predictor(model, false_alarms, all_faces)
    verdicts = []
    if not as_json:
        print(f"{'verdict':<9}  {'P(fake)':>8}  {'found':>5}  {'judged':>6}  {'tracks':>6}  file")
    for file in files:
        with quiet():
            verdict = predictor.predict(file)
        verdicts.append(verdict)
        if not as_json:
            print(_lines(verdict), flush=True)
    with quiet():
        predictor.close()
    if as_json:
        answers = [{"file": verdict.file, **verdict.as_dict()} for verdict in verdicts]
        print(json.dumps(answers, indent=1))
    else:
        print(predictor.thresholds.text() if predictor.thresholds else NO_BAND)
    return 0 if all(verdict.score is not None for verdict in verdicts) else 1


def _lines(verdict: Verdict) -> str:
    """A line of the table, and indented below it what was left out and what is to be noted."""
    counts = verdict.counts
    score = "-" if verdict.score is None else f"{verdict.score:.3f}"
    why = f"  ({verdict.reason})" if verdict.reason else ""
    lines = [
        f"{verdict.verdict or '-':<9}  {score:>8}  {counts.faces:>5}  {counts.crops:>6}"
        f"  {len(verdict.tracks):>6}  {printable(verdict.file)}{why}"
    ]
    if counts.dropped and counts.crops:
        lines.append(f"           faces left out: {by_reason(counts.dropped)}")
    if counts.note:
        lines.append(f"           note: {counts.note}")
    return "\n".join(lines)
