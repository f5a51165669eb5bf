"""The extraction report: for every clip its crops, or the reason why there are none."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from preprocessing.datasets.clip import Problem
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.support.files import place, replacing
from preprocessing.support.record import Record

# Keys of a row that are for the machinery, not for the reader.
_INTERNAL = {"stored", "pair", "kin", "original"}


class ExtractionReport(Record):
    """What `report.json` holds.

    Attributes:
      summary: see `summarise`.
      clips: the rows, without what is only for the machinery.
      problems: `path` and `reason` of what else stands in the dataset's folder.
    """

    summary: dict[str, Any]
    clips: list[ClipRow]
    problems: list[dict[str, str]] = []


def summarise(rows: Iterable[ClipRow]) -> dict[str, Any]:
    """Adds report rows up.

    Args:
      rows: with their splits.

    Returns:
      Counts over all clips (`clips`, `clips_with_faces`, `clips_reported`, of those `clips_failed`
      for a passing reason, `frames`, `faces`, `crops`), `reasons` and `dropped` (name to number),
      and the same counts by `splits`.
    """
    totals = _zeros()
    splits: dict[str, dict[str, int]] = collections.defaultdict(_zeros)
    reasons: collections.Counter[str] = collections.Counter()
    dropped: collections.Counter[str] = collections.Counter()
    for row in rows:
        for counts in (totals, splits[row.split]):
            counts["clips"] += 1
            counts["clips_with_faces"] += row.crops > 0
            counts["clips_reported"] += row.crops == 0
            counts["clips_failed"] += row.failed
            for name in ("frames", "frames_with_face", "faces", "crops"):
                counts[name] += getattr(row, name)
        if row.reason:
            reasons[row.reason] += 1
        dropped.update(row.dropped)
    return {
        **totals,
        "reasons": dict(sorted(reasons.items())),
        "dropped": dict(sorted(dropped.items())),
        "splits": {split: dict(counts) for split, counts in sorted(splits.items())},
    }


def write(
    folder: str | Path, rows: Sequence[ClipRow], problems: Sequence[Problem] = ()
) -> dict[str, Any]:
    """Writes the report for programs and for people.

    Args:
      folder: existing folder. It gets `report.json` (summary and rows), `report.txt` and, where
        the rows name their files in the face store, `contact_sheet.png`.
      rows: see `summarise`.
      problems: what else of the dataset's folder is not among the clips, or not as it should be.

    Returns:
      The summary.
    """
    summary = summarise(rows)
    clip_rows = [row.model_dump(exclude_unset=True, exclude=_INTERNAL) for row in rows]
    left_out = [{"path": problem.path, "reason": problem.reason} for problem in problems]
    report = {"summary": summary, "clips": clip_rows, "problems": left_out}
    folder = place(folder)
    with replacing(folder / "report.json") as file:
        json.dump(report, file, indent=1)
    with replacing(folder / "report.txt") as file:
        file.write(_text(summary, rows, problems))
    from preprocessing.extraction import contact_sheet

    contact_sheet.write(folder / "contact_sheet.png", rows)
    return summary


def read(folder: str | Path) -> ExtractionReport:
    """Reads what `write` wrote.

    Raises:
      UsageError: it does not hold what a report holds.
    """
    text = (place(folder) / "report.json").read_text(encoding="utf-8")
    return ExtractionReport.from_dict(json.loads(text))


def _zeros() -> dict[str, int]:
    clips = ("clips", "clips_with_faces", "clips_reported", "clips_failed")
    return dict.fromkeys((*clips, "frames", "frames_with_face", "faces", "crops"), 0)


def _text(summary: dict[str, Any], rows: Sequence[ClipRow], problems: Sequence[Problem]) -> str:
    lines = [
        f"clips {summary['clips']} = with faces {summary['clips_with_faces']}"
        f" + reported {summary['clips_reported']}; crops {summary['crops']}",
        *(f"  {number} clips: {reason}" for reason, number in summary["reasons"].items()),
        *(f"  {number} faces left out: {reason}" for reason, number in summary["dropped"].items()),
        "",
        f"{'split':6}{'frames':>8}{'with face':>11}{'faces':>7}{'tracks':>8}{'crops':>7}"
        f"{'seconds':>9}  clip",
    ]
    for row in rows:
        reason = f"  [{row.reason}]" if row.reason else ""
        reason += "".join(f"  ({note})" for note in row.notes)
        lines.append(
            f"{row.split:6}{row.frames:>8}{row.frames_with_face:>11}{row.faces:>7}"
            f"{row.tracks:>8}{row.crops:>7}{row.seconds:>9.2f}  {row.path!r}{reason}"
        )
    if problems:
        lines += ["", "problems of the folder:"]
        lines += [f"  {problem.named}: {problem.reason}" for problem in problems]
    return "\n".join(lines) + "\n"
