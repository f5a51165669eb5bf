"""DFDC: folders `dfdc_train_part_N/` (or any others) with videos and a metadata.json in each.

A row is `"x.mp4": {"label": "FAKE", "split": "train", "original": "y.mp4"}`. Persons are unknown;
an original and its fakes form one group. The official split is by part. The test sets come with a
`labels.csv` (`filename,label`, 1 = fake) instead; their clips are for test. Instead of a video
`x.mp4` there may be its frames or face crops, in a folder `x/` or named `x_10_0.png`. The preview
dataset with its dataset.json is read by `preprocessing.datasets.layouts.dfdc_preview`.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from preprocessing.datasets.clip import (
    FAKE,
    REAL,
    Clip,
    Listing,
    Problem,
    subfolders,
    unread,
)
from preprocessing.datasets.layout import Layout, register
from preprocessing.datasets.layouts import dfdc_preview
from preprocessing.datasets.lists import read_list
from preprocessing.datasets.pictures import videos_and_pictures

LOOKS_LIKE = (
    "folders such as dfdc_train_part_0/ with videos and a metadata.json (test sets: a labels.csv) "
    "in each, or the preview's dataset.json"
)
METADATA, TEST_LABELS = "metadata.json", "labels.csv"
_IS_FAKE = "is_fake"
_LABELS = {"real": REAL, "fake": FAKE, "0": REAL, "1": FAKE}
_FILE_COLUMNS = ("filename", "file", "video", "path")
# Of every ten parts, one for validation and one for test: 40/5/5 of the whole dataset's 50.
_PARTS_PER_HELD_OUT = 10

_Rows = list[tuple[str, dict[str, str]]]


def matches(root: Path) -> bool:
    """Whether labels as DFDC's stand in the folder, or in a folder in it."""
    return (
        dfdc_preview.matches(root)
        or _list_of(root, "") != ""
        or any(_list_of(root, part) for part in subfolders(root))
    )


def owns(root: Path, within: PurePosixPath) -> bool:
    """Whether a path below a dataset's folder belongs to this layout."""
    if dfdc_preview.matches(root):
        return dfdc_preview.owns(root, within)
    return _list_of(root, "") == "" and _list_of(root, within.parts[0]) != ""


def list_clips(root: Path) -> Listing:
    """Lists the clips of a folder, which may be a partial download."""
    if dfdc_preview.matches(root):
        return dfdc_preview.list_clips(root)
    clips: list[Clip] = []
    problems: list[Problem] = []
    if _list_of(root, ""):
        parts = [""]
    else:
        parts = sorted(subfolders(root), key=_part_number)
        problems += unread(root, parts)
    lists = {part: _list_of(root, part) for part in parts}
    labels: dict[str, dict[int, str]] = defaultdict(dict)
    rows_of = {part: _read_rows(root, part, lists[part]) for part in parts}
    tests = [
        part for part, (rows, _) in rows_of.items() if _is_test_set(root, part, lists[part], rows)
    ]
    official = _official_splits([part for part in parts if lists[part]], tests)
    for part in parts:
        rows, part_problems = rows_of[part]
        # The list says which clips there are, so mere numbers mislead nobody.
        videos, pictures, path_problems = videos_and_pictures(root, part, sure=False)
        files = {**dict.fromkeys(videos, ()), **pictures}
        list_paths = {_join(part, name) for name in (METADATA, TEST_LABELS)}
        problems += part_problems + [p for p in path_problems if p.path not in list_paths]
        listed, part_problems = _clips_of_part(
            part, lists[part] or METADATA, files, rows, official.get(part, "")
        )
        clips += listed
        problems += part_problems
        for name, row in rows:
            if row["label"] in _LABELS:
                labels[name].setdefault(_LABELS[row["label"]], _join(part, lists[part]))
    problems += [
        Problem(by_label[FAKE], f"labels {name} FAKE, {by_label[REAL]} labels it REAL")
        for name, by_label in labels.items()
        if len(by_label) == 2
    ]
    return Listing.of("dfdc", _with_sources(clips), problems)


def _list_of(root: Path, part: str) -> str:
    """Name of the list that labels a folder's videos; empty without one.

    The header is looked at, because many datasets of other kinds have some `labels.csv`.
    """
    if (root / part / METADATA).is_file():
        return METADATA
    return TEST_LABELS if _has_test_labels(root, part) else ""


def _has_test_labels(root: Path, part: str) -> bool:
    path = root / part / TEST_LABELS
    try:
        head = read_list(path, "replace").partition("\n")[0] if path.is_file() else ""
    except OSError:
        return False
    columns = {column.strip().strip('"').lower() for column in head.split(",")}
    return "label" in columns and not columns.isdisjoint(_FILE_COLUMNS)


def _is_test_set(root: Path, part: str, listed_in: str, rows: _Rows) -> bool:
    """Whether a folder is a test set: by its labels.csv, or by a metadata.json in their form."""
    in_their_form = any(row.get("form") == _IS_FAKE for _, row in rows)
    return listed_in == TEST_LABELS or in_their_form or _has_test_labels(root, part)


def _clips_of_part(
    part: str,
    listed_in: str,
    files: Mapping[str, tuple[str, ...]],
    rows: Sequence[tuple[str, Mapping[str, str]]],
    split: str,
) -> tuple[list[Clip], list[Problem]]:
    """A row named twice with two labels gives two clips of one path, which nobody may train on.

    `files` holds the videos, and the clips of which there are pictures, with these.
    """
    clips: dict[tuple[str, int], Clip] = {}
    problems = []
    listed = set()
    for name, row in rows:
        if not PurePosixPath(name).name:
            problems.append(Problem(_join(part, listed_in), f"row of {listed_in} without a name"))
            continue
        path = _join(part, name)
        without_ending = str(PurePosixPath(path).with_suffix(""))
        if path not in files and without_ending in files:
            path = without_ending
        listed.add(path)
        if path not in files:
            problems.append(Problem(path, f"row of {listed_in} without its file"))
        elif row["label"] not in _LABELS:
            problems.append(Problem(path, "label is neither REAL nor FAKE"))
        else:
            label = _LABELS[row["label"]]
            original = row["original"] if label == FAKE else ""
            clips[path, label] = Clip(
                path=path,
                label=label,
                dataset="dfdc",
                method="real" if label == REAL else "fake",
                source=_join(part, original) if original else "",
                group=original or name,
                official_split=split,
                frames=files[path],
            )
    problems += [
        Problem(
            next(iter(pictures), path), f"file that {listed_in} does not name: its label is unknown"
        )
        for path, pictures in sorted(files.items())
        if path not in listed
    ]
    return list(clips.values()), problems


def _read_rows(root: Path, part: str, name: str) -> tuple[_Rows, list[Problem]]:
    path = _join(part, name)
    if not name:
        return [], [Problem(part, f"folder without {METADATA}: labels are unknown")]
    try:
        reader = _read_metadata if name == METADATA else _read_labels
        return reader(read_list(root / path)), []
    except OSError as error:
        return [], [Problem(path, f"cannot be read: {error.strerror}")]
    except (TypeError, ValueError, csv.Error):
        form = '{"x.mp4": {"label": "FAKE"}}' if name == METADATA else "filename,label"
        kind = "JSON" if name == METADATA else "CSV"
        return [], [Problem(path, f"is not {kind} of the form {form}")]


def _read_metadata(text: str) -> _Rows:
    """Rows in the file's order, repeated names included (a dict would keep the last alone)."""
    rows = []
    for name, fields in json.loads(text, object_pairs_hook=lambda pairs: pairs):
        row: Mapping[str, Any] = dict(fields)
        # The test sets' metadata.json says `is_fake` instead.
        form = "label" if "label" in row else _IS_FAKE if _IS_FAKE in row else ""
        values = {
            "label": str(row.get(form)).lower(),
            "original": str(row.get("original") or ""),
            "form": form,
        }
        rows.append((str(name), values))
    return rows


def _read_labels(text: str) -> _Rows:
    header, *lines = (line for line in csv.reader(text.splitlines(), strict=True) if line)
    columns = [column.strip().lower() for column in header]
    file = next(columns.index(name) for name in _FILE_COLUMNS if name in columns)
    label = columns.index("label")
    if any(len(line) != len(columns) for line in lines):
        raise ValueError("rows of different lengths")
    return [
        (line[file].strip(), {"label": line[label].strip().lower(), "original": ""})
        for line in lines
    ]


def _official_splits(folders: Sequence[str], tests: Sequence[str]) -> dict[str, str]:
    """Splits of folders, which are in the order of their numbers.

    Of those that are no test sets the last ones are for test, unless there is a test set, and those
    before them for val. One such folder alone is not divided.
    """
    parts = [folder for folder in folders if folder not in tests]
    splits = dict.fromkeys(tests, "test")
    if len(parts) == 1:
        return {**splits, parts[0]: "train" if tests else ""}
    held_out = max(1, len(parts) // _PARTS_PER_HELD_OUT)
    test = 0 if tests else held_out
    val = held_out if len(parts) > test + 1 else 0
    names = ["train"] * (len(parts) - test - val) + ["val"] * val + ["test"] * test
    return {**splits, **dict(zip(parts, names, strict=False))}


def _with_sources(clips: list[Clip]) -> list[Clip]:
    """Points fakes to their original where a download has put it into another part."""
    reals = {clip.group: clip.path for clip in clips if clip.label == REAL}
    return [
        replace(clip, source=reals.get(clip.group, clip.source)) if clip.source else clip
        for clip in clips
    ]


def _part_number(name: str) -> tuple[int, str]:
    number = re.search(r"(\d+)$", name)
    return int(number[1]) if number else -1, name


def _join(part: str, name: str) -> str:
    return f"{part}/{name}" if part else name


# Any metadata.json in a folder would do for it, so it comes last.
register(Layout("dfdc", LOOKS_LIKE, matches, owns, list_clips, order=1))
