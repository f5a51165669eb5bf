"""Finds the reports of runs, rebuilds them, and compares two of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from components.report.build import DATA, PAGE, build
from components.report.data import Sources
from components.report.markup import NAMES, Html, measure, number, page, tag
from components.report.style import CSS
from preprocessing.errors import UsageError
from preprocessing.files import replacing

_RESAMPLES = 1000


def locate(run: str | Path) -> Path:
    """The folder of a run's report.

    Args:
      run: the `--output` of `deepfake run` or of `deepfake evaluate`.

    Raises:
      UsageError: there is no report.
    """
    run = Path(run)
    if (run / DATA).is_file():
        return run
    try:
        found = json.loads((run / "summary.json").read_text(encoding="utf-8"))["page"]
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{run} holds no report: name the --output of a finished `deepfake run` or "
            "`deepfake evaluate`"
        ) from None
    # A run's folder may have been moved since.
    for folder in (Path(found).parent, run / "/".join(Path(found).parts[-5:-1])):
        if (folder / DATA).is_file():
            return folder
    raise UsageError(f"the report of {run} is gone from {Path(found).parent}; run it again")


def rebuild(folder: Path) -> Path:
    """Draws a report again from the artifacts that it was made of.

    Raises:
      UsageError: artifacts are gone.
    """
    sources = _read(folder)["sources"]
    sources["records"] = tuple(sources["records"])
    known = Sources(**sources)
    for place in (known.model, known.clip_evaluation, *known.records):
        if not Path(place).exists():
            raise UsageError(f"the report cannot be drawn again: {place} is gone")
    return build(known, folder)


def page_of(run: str | Path, again: bool) -> Path:
    """The page of a run; drawn again when asked, or when it is gone."""
    folder = locate(run)
    existing = folder / PAGE
    return rebuild(folder) if again or not existing.exists() else existing


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs beside each other.

    Attributes:
      names: of the runs.
      remarks: what stands against comparing them.
      result: see `evaluation.compare`; None without a clip in common.
      own: each run's own overall measures.
    """

    names: tuple[str, str]
    remarks: list[str]
    result: dict[str, Any] | None
    own: tuple[dict[str, Any], dict[str, Any]]

    def text(self) -> str:
        """A table for the terminal."""
        rows = [("", *self.names, "difference" if self.result else "")]
        for name, title in NAMES.items():
            values = [number(one[name]["value"]) for one in self._sides(name)]
            difference = measure(self.result["metrics"][name], True) if self.result else ""
            rows.append((title, *values, difference))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", *self.remarks])

    def html(self) -> str:
        """A page of its own."""
        from components.report.markup import table

        rows = [
            [
                title,
                *(number(one[name]["value"]) for one in self._sides(name)),
                measure(self.result["metrics"][name], True) if self.result else "–",
            ]
            for name, title in NAMES.items()
        ]
        head = ["Measure", *self.names, "Difference"]
        body: list[Html] = [
            tag("h1", f"{self.names[0]} against {self.names[1]}"),
            *(tag("p", remark, "note") for remark in self.remarks),
            table(head, rows, (1, 2, 3)),
        ]
        return page(f"{self.names[0]} against {self.names[1]}", CSS, body)

    def _sides(self, name: str) -> list[dict[str, Any]]:
        if not self.result:
            return [one for one in self.own]
        one = self.result["metrics"][name]
        return [{name: {"value": one[side]}} for side in ("candidate", "baseline")]


def compare_runs(first: str, second: str) -> Comparison:
    """Compares the clips that two runs have both tested.

    Raises:
      UsageError: one of them has no report, or its scores are gone.
    """
    from components.clip_evaluator import results
    from components.clip_evaluator.evaluation import compare

    reports = [_read(locate(run)) for run in (first, second)]
    tables = []
    for run, report in zip((first, second), reports, strict=True):
        folder = report["sources"]["clip_evaluation"]
        try:
            tables.append(results.read_scores(folder, "test", "clips"))
        except OSError:
            raise UsageError(f"the scores of {run} are gone from {folder}") from None
    result = compare(*tables, _RESAMPLES)
    remarks = []
    digests = [(report["dataset"] or {}).get("digest") for report in reports]
    if digests[0] != digests[1]:
        remarks.append("The two runs are of different data.")
    shared, alone = result["clips"], (result["only_candidate"], result["only_baseline"])
    if not shared:
        remarks.append(
            "They have no test clip in common: each stands for itself, and their difference says "
            "nothing about the models."
        )
    elif any(alone):
        remarks.append(
            f"Compared on the {shared} test clips that both have; {alone[0]} of the first and "
            f"{alone[1]} of the second are left out."
        )
    else:
        remarks.append(f"Compared on the same {shared} test clips.")
    names = [report["name"] for report in reports]
    if names[0] == names[1]:
        names = [
            f"{name} ({Path(run).name})" for name, run in zip(names, (first, second), strict=True)
        ]
    own = tuple(report["splits"]["test"]["clips"][0]["metrics"] for report in reports)
    return Comparison(tuple(names), remarks, result if shared else None, own)


def write_page(comparison: Comparison, path: str) -> None:
    """Writes the page of a comparison."""
    with replacing(Path(path)) as file:
        file.write(comparison.html())


def _read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / DATA).read_text(encoding="utf-8"))
