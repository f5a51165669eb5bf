"""Compares two runs on the clips that both have tested."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.report.finished import locate, read_data
from components.report.formats import measure, named, number
from components.report.templating import fill
from preprocessing.extraction.face_example import CLIP_ID, LABEL
from preprocessing.manifest.manifest import Manifest
from preprocessing.support.errors import UsageError
from preprocessing.support.files import replacing

if TYPE_CHECKING:
    import pandas as pd

_RESAMPLES = 1000
# Column of the hash of a clip's file.
_CONTENT = "sha256"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs beside each other.

    Attributes:
      names: of the runs.
      remarks: what stands against comparing them.
      result: see `evaluation.compare`; None without a clip in common.
      measures: the overall measures of each run.
    """

    names: tuple[str, str]
    remarks: list[str]
    result: dict[str, Any] | None
    measures: tuple[dict[str, Any], dict[str, Any]]

    def text(self) -> str:
        """A table for the terminal."""
        rows: list[tuple[str, ...]] = [("", *self.names, "difference" if self.result else "")]
        for name, title in self._named():
            values = [number(measures[name]["value"]) for measures in self._sides(name)]
            difference = measure(self.result["metrics"][name], True) if self.result else ""
            rows.append((title, *values, difference))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", *self.remarks])

    def html(self) -> str:
        """The comparison as an HTML page."""
        rows = [
            [
                title,
                *(number(measures[name]["value"]) for measures in self._sides(name)),
                measure(self.result["metrics"][name], True) if self.result else "–",
            ]
            for name, title in self._named()
        ]
        return fill("comparison.html.j2", names=self.names, remarks=self.remarks, rows=rows)

    def _named(self) -> list[tuple[str, str]]:
        """The measures that both sides have."""
        if self.result:
            return named(self.result["metrics"])
        return named(self.measures[0].keys() & self.measures[1].keys())

    def _sides(self, name: str) -> list[dict[str, Any]]:
        if not self.result:
            return list(self.measures)
        difference = self.result["metrics"][name]
        return [{name: {"value": difference[side]}} for side in ("candidate", "baseline")]


def compare_runs(first: str, second: str) -> Comparison:
    """Compares the clips that two runs have both tested.

    Clips are the same where the contents of their files are equal, whatever their names.

    Raises:
      UsageError: a run has no report, its scores or its manifest are gone, or the two runs label
        the same content differently.
    """
    from components.evaluation.measurement import compare

    reports = [read_data(locate(run)) for run in (first, second)]
    tables = [_scores(run, report) for run, report in zip((first, second), reports, strict=True)]
    _refuse_opposite_labels(first, second, *tables)
    unique = [table.drop_duplicates(_CONTENT) for table in tables]
    copies = sum(map(len, tables)) - sum(map(len, unique))
    result = compare(unique[0], unique[1], _RESAMPLES, key=_CONTENT).to_dict()
    digests = [(report["dataset"] or {}).get("digest") for report in reports]
    remarks = _remarks(result, same_data=digests[0] == digests[1])
    if copies:
        remarks.append(f"{copies} test clips are copies of others in the same run, and left out.")
    shared = result["clips"]
    names = [report["name"] for report in reports]
    if names[0] == names[1]:
        names = [
            f"{name} ({Path(run).name})" for name, run in zip(names, (first, second), strict=True)
        ]
    measures = tuple(report["splits"]["test"]["clips"][0]["metrics"] for report in reports)
    return Comparison(tuple(names), remarks, result if shared else None, measures)


def _scores(run: str, report: dict[str, Any]) -> pd.DataFrame:
    """The test clips of a run with their content's hash."""
    from components.evaluation import results

    sources = report["sources"]
    folder, manifest = sources["clip_evaluation"], sources["manifest"]
    try:
        table = results.read_scores(folder, "test", "clips")
    except OSError:
        raise UsageError(f"the scores of {run} are gone from {folder}") from None
    if not Path(manifest).is_file():
        raise UsageError(
            f"the manifest of {run} is gone from {manifest}; without its content hashes nobody "
            "knows which clips are the same, so evaluate or run it again"
        )
    hashes = {
        # As the tables of scores have it, see `scores.crop_row`.
        clip.path.encode("utf-8", "surrogateescape").decode(errors="replace"): clip.sha256
        for clip in Manifest.read_csv(manifest, sources["root"]).clips
    }
    # A clip that the manifest does not know is like no other.
    placeholder = "unknown content of " + table[CLIP_ID]
    table[_CONTENT] = table[CLIP_ID].map(hashes).fillna(placeholder + f" in {run}")
    return table


def _refuse_opposite_labels(
    first: str, second: str, table: pd.DataFrame, other: pd.DataFrame
) -> None:
    columns = [_CONTENT, CLIP_ID, LABEL]
    pairs = table[columns].merge(other[columns], on=_CONTENT, suffixes=("", "_other"))
    opposite = pairs[pairs[LABEL] != pairs[f"{LABEL}_other"]]
    if len(opposite):
        row = opposite.iloc[0]
        words = ("real", "fake")
        raise UsageError(
            f"{len(opposite)} clips of equal content have opposite labels, as in "
            f"{row[CLIP_ID]} of {first} ({words[row[LABEL]]}) and {row[f'{CLIP_ID}_other']} of "
            f"{second} ({words[row[f'{LABEL}_other']]}); correct the labels of one dataset and "
            "evaluate again"
        )


def _remarks(result: dict[str, Any], same_data: bool) -> list[str]:
    """What stands against comparing two runs, in sentences that do not contradict each other."""
    shared, alone = result["clips"], (result["only_candidate"], result["only_baseline"])
    if shared and not any(alone):
        shared_clips = f"Compared on the same {shared} test clips, by content."
        differing_data = (
            "The data of the two runs differs, but not in the content of the test clips."
        )
        return [shared_clips] if same_data else [differing_data, shared_clips]
    remarks = [] if same_data else ["The two runs are of different data."]
    if shared:
        return [
            *remarks,
            f"Compared on the {shared} test clips that both have, by content; {alone[0]} of the "
            f"first and {alone[1]} of the second are left out.",
        ]
    return [
        *remarks,
        "They have no test clip in common: each stands for itself, and their difference says "
        "nothing about the models.",
    ]


def write_page(comparison: Comparison, path: str) -> None:
    """Writes the page of a comparison."""
    with replacing(Path(path)) as file:
        file.write(comparison.html())
