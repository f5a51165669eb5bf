"""The manifest: one row for each clip, with hash and split, and a digest over all of them.

As in:

    manifest.write_csv("manifest.csv")
    manifest = Manifest.read_csv("manifest.csv", "/data/Celeb-DF-v2")

`preprocessing.manifest.build` makes it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from preprocessing.datasets.clip import LABEL_NAMES, SPLITS, Clip, Problem
from preprocessing.support.csv_lines import csv_line
from preprocessing.support.errors import UsageError
from preprocessing.support.files import TEXT, place, replacing

COLUMNS = (
    "path",
    "sha256",
    "size",
    "label",
    "dataset",
    "method",
    "identities",
    "source",
    "group",
    "split",
    "frames",
)
# Characters; a clip may have many pictures, and Python's own limit of 131,072 is soon reached.
_LONGEST_VALUE = 1 << 30
# What every row of earlier versions holds.
_FORMER_COLUMNS = COLUMNS[:-1]


@dataclass(frozen=True)
class Manifest:
    """All clips of a dataset with their splits.

    Attributes:
      root: the dataset's folder; paths of clips are relative to it.
      layout: name of the layout it was read as; empty when read from CSV.
      protocol: how it was divided; empty when read from CSV.
      division: the same in a sentence.
      clips: sorted by path, with split, sha256 and size filled in.
      problems: what is wrong with the folder.
    """

    root: str
    layout: str
    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...] = ()
    protocol: str = ""
    division: str = ""

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all that the extracted faces depend on.

        It changes when a clip is changed, added, removed, relabelled or moved to another split.
        Where the dataset stands and when its files were written do not count, nor does `group` but
        where the records name it, see `Clip.kin`.
        """
        digest = hashlib.sha256()
        for row, kin in sorted((_row(clip), clip.kin) for clip in self.clips):
            values = [value for name, value in zip(COLUMNS, row, strict=True) if name != "group"]
            digest.update(json.dumps([*values, kin] if kin else values).encode("ascii") + b"\n")
        return digest.hexdigest()

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes one row for each clip; the file is complete or as it was before.

        Problems, where there are any, go into `<name>.problems.csv` beside it.

        Raises:
          UsageError: the file cannot be written.
        """
        path = place(path)
        try:
            if self.problems:
                _write_rows(_problems_file(path), [astuple(problem) for problem in self.problems])
            else:
                _problems_file(path).unlink(missing_ok=True)
            _write_rows(path, [COLUMNS, *map(_row, self.clips)])
        except OSError as error:
            raise UsageError(f"manifest {path} cannot be written: {error.strerror}") from error

    @classmethod
    def read_csv(cls, path: str | os.PathLike[str], root: str | os.PathLike[str]) -> Manifest:
        """Reads what `write_csv` wrote, problems included.

        Args:
          path: the CSV file.
          root: the dataset's folder; the file does not hold it, so that it may move.

        Raises:
          UsageError: the file is absent, is no manifest, or a row of it is broken.
        """
        path = place(path)
        rows = _read_rows(path)
        problems = _read_rows(_problems_file(path)) if _problems_file(path).exists() else []
        columns = tuple(rows[0]) if rows else ()
        if columns not in (COLUMNS, _FORMER_COLUMNS):
            raise UsageError(f"{path} is no manifest: its columns must be {', '.join(COLUMNS)}")
        clips = []
        for number, row in enumerate(rows[1:], start=2):
            try:
                clips.append(_clip(columns, row))
            except ValueError as error:
                raise UsageError(f"manifest {path}, row {number}: {error}") from error
        return cls(str(root), "", tuple(clips), tuple(Problem(*row[:3]) for row in problems))

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Number of clips: split -> `real` or `fake` -> method -> clips."""
        counts: dict[str, dict[str, dict[str, int]]] = {
            split: {"real": {}, "fake": {}} for split in SPLITS
        }
        for clip in self.clips:
            methods = counts[clip.split][LABEL_NAMES[clip.label]]
            methods[clip.method] = methods.get(clip.method, 0) + 1
        return counts


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """What is wrong with a folder, for people: how many files for each reason, with examples."""
    by_reason: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_reason[problem.reason].append(problem)
    if not by_reason:
        return []
    lines = [f"{sum(map(len, by_reason.values()))} problems:"]
    for reason, members in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        ellipsis = ", ..." if len(members) > 3 else ""
        examples = ", ".join(problem.named for problem in members[:3])
        lines.append(f"  {len(members)} {reason}: {examples}{ellipsis}")
    return lines


def _problems_file(path: Path) -> Path:
    return path.with_suffix(".problems.csv")


def _write_rows(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with replacing(path) as file:
        file.writelines(f"{csv_line(row)}\n" for row in rows)


def _read_rows(path: Path) -> list[list[str]]:
    limit = csv.field_size_limit(_LONGEST_VALUE)
    try:
        # Spreadsheet programs write a byte order mark.
        with path.open(newline="", encoding="utf-8-sig", errors=TEXT["errors"]) as file:
            return list(csv.reader(file, strict=True))
    except OSError as error:
        raise UsageError(f"manifest {path} cannot be read: {error.strerror}") from error
    except csv.Error as error:
        raise UsageError(f"manifest {path} is not valid CSV: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _row(clip: Clip) -> tuple[str, ...]:
    values = {
        **vars(clip),
        "identities": ";".join(clip.identities),
        # JSON, since a name may hold any other separator.
        "frames": json.dumps(clip.frames, ensure_ascii=False) if clip.frames else "",
    }
    return tuple(str(values[column]) for column in COLUMNS)


def _clip(columns: Sequence[str], row: Sequence[str]) -> Clip:
    if len(row) != len(columns):
        raise ValueError(f"{len(row)} values instead of {len(columns)}")
    values: dict[str, Any] = dict(zip(columns, row, strict=True))
    if values["label"] not in ("0", "1"):
        raise ValueError(f"label {values['label']!r} is neither 0 (real) nor 1 (fake)")
    if values["split"] not in SPLITS:
        raise ValueError(f"split {values['split']!r} is none of {', '.join(SPLITS)}")
    if not values["size"].isdecimal():
        raise ValueError(f"size {values['size']!r} is not a number of bytes")
    return Clip(
        **{
            **values,
            "label": int(values["label"]),
            "size": int(values["size"]),
            "identities": tuple(filter(None, values["identities"].split(";"))),
            "frames": _frames(values.get("frames", "")),
        }
    )


def _frames(text: str) -> tuple[str, ...]:
    try:
        frames = json.loads(text or "[]")
    except ValueError:
        frames = None
    if not isinstance(frames, list) or not all(isinstance(frame, str) for frame in frames):
        raise ValueError(f"frames {text[:80]!r} is not a JSON list of paths")
    return tuple(frames)
