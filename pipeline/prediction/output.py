"""What `deepfake predict` prints: a table, JSON, lines of JSON, or CSV."""

from __future__ import annotations

import abc
import json
import sys
import textwrap
from typing import Any

from preprocessing.datasets.clip import printable
from preprocessing.faces.face_selection import by_reason
from preprocessing.support.csv_lines import csv_line
from serving.model.familiarity import UNFAMILIAR
from serving.model.verdict import DecisionRule, Verdict
from serving.model.windows import Segment

# Of a table's lines below that of a file.
_INDENT = " " * 11
CSV_COLUMNS = (
    "name", "verdict", "score", "logit", "reason", "frames", "shots", "faces_found", "faces",
    "tracks", "p_real", "p_fake", "window_p", "segments", "familiarity_p", "distance", "note",
    "model", "model_version", "schema_version",
)  # fmt: skip


class Output(abc.ABC):
    """Prints answers on standard output, each as soon as it is there.

    Args:
      rule: rule of the verdicts.
      about: the model, see `ModelCard.about`.
    """

    def __init__(self, rule: DecisionRule, about: dict[str, Any]):
        self.decision_rule = rule
        self.about = about

    def begin(self) -> None:  # noqa: B027  Not every kind has it.
        """Prints what comes before the first answer."""

    @abc.abstractmethod
    def add(self, verdict: Verdict) -> None:
        """Prints one answer."""

    def end(self) -> None:  # noqa: B027  Likewise.
        """Prints what comes after the last answer."""


class Table(Output):
    """Lines for people."""

    def begin(self) -> None:
        """Prints the head."""
        head = f"{'P(fake)':>8}  {'found':>5}  {'judged':>6}  {'tracks':>6}  file"
        _print(f"{'verdict':<{self._width}}  {head}")

    def add(self, verdict: Verdict) -> None:
        """Prints a line, and indented below it what was left out and what is to be noted."""
        counts = verdict.counts
        score = "-" if verdict.score is None else f"{verdict.score:.3f}"
        why = f"  ({verdict.reason})" if verdict.reason else ""
        lines = [
            f"{verdict.verdict or '-':<{self._width}}  {score:>8}  {counts.faces:>5}"
            f"  {counts.crops:>6}  {len(verdict.tracks):>6}  {printable(verdict.file)}{why}"
        ]
        if counts.dropped and counts.crops:
            lines.append(f"{_INDENT}faces left out: {by_reason(counts.dropped)}")
        # A model of made data knows nothing of real clips, and so tells no parts.
        parts = None if self.decision_rule.warning else verdict.parts
        for part in parts.segments if parts else ():
            lines.append(f"{_INDENT}segment: {_segment(part)}")
        if verdict.familiarity and verdict.familiarity.facts:
            lines.append(f"{_INDENT}unusual: {'; '.join(verdict.familiarity.facts)}")
        notes = [counts.note, *counts.notes] if counts.note else counts.notes
        lines += [f"{_INDENT}note: {note}" for note in notes]
        _print("\n".join(lines))

    def end(self) -> None:
        """Prints what the verdicts mean."""
        meanings = [self.decision_rule.meaning()]
        if not self.decision_rule.warning:
            meanings.append(self.decision_rule.segments_meaning())
        _print("; ".join(meanings))

    @property
    def _width(self) -> int:
        # A warning takes the place of each verdict.
        return max(len(UNFAMILIAR), len(self.decision_rule.warning))


class Json(Output):
    """One list of answers."""

    def __init__(self, rule: DecisionRule, about: dict[str, Any]):
        super().__init__(rule, about)
        self._before = "[\n"

    def add(self, verdict: Verdict) -> None:
        """Prints an element of the list."""
        text = textwrap.indent(json.dumps(verdict.answer(self.about), indent=1), " ")
        sys.stdout.write(f"{self._before}{text}")
        self._before = ",\n"

    def end(self) -> None:
        """Ends the list."""
        _print("\n]")


class JsonLines(Output):
    """A line of JSON for each answer."""

    def add(self, verdict: Verdict) -> None:
        """Prints a line."""
        _print(json.dumps(verdict.answer(self.about)))


class Csv(Output):
    """`CSV_COLUMNS`, separated by commas (RFC 4180, lines that end with a newline)."""

    def begin(self) -> None:
        """Prints the names of the columns."""
        _print_row(CSV_COLUMNS)

    def add(self, verdict: Verdict) -> None:
        """Prints a row."""
        answer = verdict.answer(self.about)
        ranks, familiarity = answer["p_values"] or {}, answer["familiarity"] or {}
        flat = {
            **answer,
            "tracks": len(answer["tracks"]),
            "p_real": ranks.get("real"),
            "p_fake": ranks.get("fake"),
            "window_p": (answer["window"] or {}).get("p_value"),
            "segments": None if answer["segments"] is None else len(answer["segments"]),
            "familiarity_p": familiarity.get("p_value"),
            "distance": familiarity.get("distance"),
            "note": "; ".join(filter(None, [answer["note"], *answer["notes"]])),
            "model": answer["model"]["name"],
            "model_version": answer["model"]["version"],
        }
        _print_row(flat[name] for name in CSV_COLUMNS)


def _segment(part: Segment) -> str:
    place = f"frames {part.first_frame} to {part.last_frame}"
    if part.start is not None and part.end is not None:
        place = f"{part.start:.2f} to {part.end:.2f} s"
    return f"{place} of track {part.track}, P(fake) {part.score:.3f}"


def _print(text: str) -> None:
    print(text, flush=True)


def _print_row(values: Any) -> None:
    _print(csv_line(values))
