"""Reads a list of clips: a table with a row for each file, as CSV or Parquet.

    path,label,split,clip,group,identities,method,dataset
    train/fake/id0_id16_0001_frame_10_face_0.jpg,fake,train,id0_id16_0001,,id0|id16,swap,

`path` and `label` are needed. This module checks each value by itself; what rows say together is
for `preprocessing.datasets.layouts.list`.
"""

from __future__ import annotations

import csv
import difflib
import io
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preprocessing.datasets.clip import FAKE, REAL, SPLITS, Problem, printable
from preprocessing.datasets.lists import read_list
from preprocessing.support.errors import UsageError
from preprocessing.support.files import in_bucket
from preprocessing.support.nearest import nearest

NEEDED = ("path", "label")
OPTIONAL = ("split", "clip", "group", "identities", "method", "dataset")
COLUMNS = NEEDED + OPTIONAL
PARQUET = ".parquet"
_LABELS = {"real": REAL, "fake": FAKE, "0": REAL, "1": FAKE}
# What people write for a split, each with the name that is meant.
_SPLIT_NAMES = {"training": "train", "dev": "val", "valid": "val", "validation": "val"}
_SPLIT_NAMES = {**_SPLIT_NAMES, "testing": "test", **{split: split for split in SPLITS}}
_SHOWN = 5

# Number of the row, and its values.
_Cells = tuple[int, Sequence[Any]]


@dataclass(frozen=True)
class Row:
    """One row of a list.

    Attributes:
      number: its line in the file, of Parquet its number from 1.
      path: POSIX path of the file, relative to the dataset's folder.
      label: 1 = fake, 0 = real.
      identities: the persons, () when unknown.
      split: `train`, `val`, `test` or empty.
      clip, group, method, dataset: as the list has them; empty without a value.
    """

    number: int
    path: str
    label: int
    identities: tuple[str, ...] = ()
    split: str = ""
    clip: str = ""
    group: str = ""
    method: str = ""
    dataset: str = ""


def read_rows(file: Path, root: Path) -> tuple[list[Row], list[Problem]]:
    """Reads a list.

    Args:
      file: CSV (commas, semicolons or tabs; with or without a byte order mark), or Parquet by its
        ending.
      root: folder that the paths start from.

    Returns:
      The rows in the file's order, and columns that are not read.

    Raises:
      UsageError: the file cannot be read, lacks a column, or a row has a value that cannot be; each
        is named with its row and the remedy.
    """
    try:
        reader = _read_parquet if file.suffix.lower() == PARQUET else _read_csv
        names, cells = reader(file)
        names = [str(name).strip().lower() for name in names]
        problems = _check_columns(file, names)
        rows, faults = [], []
        for number, values in cells:
            if len(values) != len(names):
                raise UsageError(
                    f"{printable(str(file))}, row {number}: {len(values)} values, but "
                    f"{len(names)} columns; put values that hold a comma into double quotes"
                )
            row = _row(number, dict(zip(names, map(_text, values), strict=True)), root)
            if isinstance(row, Row):
                rows.append(row)
            else:
                faults += row
    except OSError as error:
        raise UsageError(f"list {file} cannot be read: {error.strerror or error}") from error
    refuse(file, faults)
    if not rows:
        raise UsageError(f"list {printable(str(file))} has no rows; add one for each file")
    return rows, problems


def refuse(file: Path, faults: Iterable[str]) -> None:
    """Raises UsageError with the first faults of a list, where there is any."""
    faults = list(faults)
    if not faults:
        return
    rest = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    raise UsageError("\n  ".join([f"{printable(str(file))}:", *faults[:_SHOWN], *rest]))


def _read_csv(file: Path) -> tuple[Sequence[Any], Iterator[_Cells]]:
    try:
        text = read_list(file)
    except ValueError as error:
        raise UsageError(f"list {file} is not UTF-8 text; save it as CSV UTF-8") from error
    head = text.partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if mark in head), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = next(reader, None)
    except csv.Error as error:
        raise UsageError(f"list {file} is not valid CSV, row 1: {error}") from error
    if names is None:
        raise UsageError(f"list {printable(str(file))} is empty; its first row names the columns")

    def cells() -> Iterator[_Cells]:
        try:
            for values in reader:
                if any(value.strip() for value in values):
                    yield reader.line_num, values
        except csv.Error as error:
            raise UsageError(
                f"list {file} is not valid CSV, row {reader.line_num}: {error}"
            ) from error

    return names, cells()


def _read_parquet(file: Path) -> tuple[Sequence[Any], Iterator[_Cells]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file.open("rb"))
    except pyarrow.ArrowInvalid as error:
        raise UsageError(f"list {file} is not Parquet: {str(error).splitlines()[0]}") from error
    names = table.schema_arrow.names

    def cells() -> Iterator[_Cells]:
        number = 0
        try:
            for batch in table.iter_batches():
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield number, values
        except pyarrow.ArrowException as error:
            raise UsageError(f"list {file} is damaged after row {number}: {error}") from error

    return names, cells()


def _check_columns(file: Path, names: Sequence[str]) -> list[Problem]:
    """Refuses a list without a needed column or with one that looks misspelt."""
    list_name = printable(str(file))
    for name in names:
        if name in COLUMNS and names.count(name) > 1:
            raise UsageError(f"{list_name} has {names.count(name)} columns {name!r}; keep one")
    unknown = [name for name in names if name and name not in COLUMNS]
    absent = [name for name in COLUMNS if name not in names]
    for name in unknown:
        # A column that is misspelt would silently not count: splits not followed, persons unknown.
        if similar := difflib.get_close_matches(name, absent, n=1, cutoff=0.7):
            raise UsageError(
                f"{list_name}: unknown column {name!r}; did you mean {similar[0]!r}? Rename it, or "
                "take it out"
            )
    for name in NEEDED:
        if name not in names:
            raise UsageError(
                f"{list_name} has no column {name!r}{nearest(name, unknown)}; its columns are "
                f"{', '.join(map(printable, names))}; {', '.join(NEEDED)} are needed, "
                f"{', '.join(OPTIONAL)} may be there. If it is no list of clips, rename it, or "
                "name another layout with data.layout"
            )
    column_names = ", ".join(COLUMNS)
    return [
        Problem(file.name, f"column {name!r} is not read; columns that are: {column_names}")
        for name in unknown
    ]


def _text(value: Any) -> str:
    """A cell as CSV would hold it; Parquet has numbers, lists and missing values."""
    if value is None or value != value:  # NaN, pandas' missing value
        return ""
    if isinstance(value, list | tuple):
        return "|".join(map(_text, value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _row(number: int, values: dict[str, str], root: Path) -> Row | list[str]:
    """The row, or what is wrong with it, in sentences."""
    faults = []
    path, fault = _path_within(values["path"], root)
    if fault:
        faults.append(f"row {number}: {fault}")
    path_text = printable(values["path"])
    label = _LABELS.get(values["label"].lower())
    if label is None:
        suggestion = nearest(values["label"].lower(), ("real", "fake"))
        faults.append(
            f"row {number}: label {values['label']!r} of {path_text} is none of real, fake, 0 "
            f"(real), 1 (fake){suggestion}"
        )
    split = values.get("split", "").lower()
    if split and split not in SPLITS:
        similar = difflib.get_close_matches(split, _SPLIT_NAMES, n=1, cutoff=0.5)
        hint = f"; did you mean {_SPLIT_NAMES[similar[0]]!r}?" if similar else ""
        faults.append(
            f"row {number}: split {values['split']!r} of {path_text} is none of "
            f"{', '.join(SPLITS)}{hint}"
        )
    persons = values.get("identities", "")
    if marks := [mark for mark in ";,[]" if mark in persons]:
        faults.append(
            f"row {number}: identities {persons!r} of {path_text} hold {' '.join(marks)}; write | "
            "between persons, and no ; , [ ] in a name"
        )
    if faults or label is None:
        return faults
    names = [person.strip() for person in persons.split("|")]
    others = {name: values.get(name, "") for name in ("clip", "group", "method", "dataset")}
    return Row(number, path, label, tuple(dict.fromkeys(filter(None, names))), split, **others)


def _path_within(text: str, root: Path) -> tuple[str, str]:
    """A path relative to the dataset's folder, and what is wrong with it."""
    if not text:
        return "", "path is empty; name the file"
    path = text.replace("\\", "/")
    if posixpath.isabs(path):
        absolute = path
        path = posixpath.relpath(absolute, root.as_posix())
        if path.startswith("..") and not in_bucket(root):
            # Through a link to a folder; the file itself may be a link to elsewhere.
            folder, name = posixpath.split(absolute)
            folder = posixpath.relpath(os.path.realpath(folder), root.as_posix())
            path = posixpath.join(folder, name)
    path = posixpath.normpath(path)
    if path == "." or path.split("/")[0] == "..":
        return "", (
            f"path {printable(text)} is outside of {printable(str(root))}; name a folder above "
            "both as data.dir, or move the file into it"
        )
    return path, ""
