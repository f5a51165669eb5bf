"""DFDC: folders `dfdc_train_part_N/` (or any others) with videos and a metadata.json in each.

A row is `"x.mp4": {"label": "FAKE", "split": "train", "original": "y.mp4"}`. Persons are unknown;
an original and its fakes form one group. The official split is by part.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from preprocessing.datasets.clip import (
    FAKE,
    REAL,
    Clip,
    Listing,
    Problem,
    media,
    subfolders,
    unread,
)

LOOKS_LIKE = "folders such as dfdc_train_part_0/ with videos and a metadata.json in each"
METADATA = "metadata.json"
_LABELS = {"REAL": REAL, "FAKE": FAKE}
# Of every ten parts, one for validation and one for test: 40/5/5 of the whole dataset's 50.
_PARTS_PER_HELD_OUT = 10


def matches(root: Path) -> bool:
    """Whether a metadata.json stands in the folder, or in a folder in it."""
    return (root / METADATA).is_file() or any(
        (root / part / METADATA).is_file() for part in subfolders(root)
    )


def list_clips(root: Path) -> Listing:
    """Lists the clips of a folder, which may be a partial download."""
    clips: list[Clip] = []
    problems: list[Problem] = []
    if (root / METADATA).is_file():
        parts = [""]
    else:
        parts = sorted(subfolders(root), key=_part_number)
        problems += unread(root, parts)
    labels: dict[str, dict[int, str]] = defaultdict(dict)
    described = [part for part in parts if (root / part / METADATA).is_file()]
    official = dict(zip(described, _official_splits(len(described)), strict=True))
    for part in parts:
        rows, troubles = _read_metadata(root, part)
        found, strangers = media(root, part)
        problems += troubles + [p for p in strangers if p.path != _join(part, METADATA)]
        listed, troubles = _clips_of_part(part, set(found), rows, official.get(part, ""))
        clips += listed
        problems += troubles
        for name, row in rows:
            if row["label"] in _LABELS:
                labels[name].setdefault(_LABELS[row["label"]], _join(part, METADATA))
    problems += [
        Problem(where[FAKE], f"labels {name} FAKE, {where[REAL]} labels it REAL")
        for name, where in labels.items()
        if len(where) == 2
    ]
    return Listing.of("dfdc", _with_sources(clips), problems)


def _clips_of_part(
    part: str, found: Set[str], rows: Sequence[tuple[str, dict[str, Any]]], split: str
) -> tuple[list[Clip], list[Problem]]:
    """A row named twice with two labels gives two clips of one path, which nobody may train on."""
    clips: dict[tuple[str, int], Clip] = {}
    problems = []
    named = set()
    for name, row in rows:
        path = _join(part, name)
        named.add(path)
        if path not in found:
            problems.append(Problem(path, f"row of {METADATA} without its file"))
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
            )
    problems += [
        Problem(path, f"file that {METADATA} does not name: its label is unknown")
        for path in sorted(found)
        if path not in named
    ]
    return list(clips.values()), problems


def _read_metadata(root: Path, part: str) -> tuple[list[tuple[str, dict[str, Any]]], list[Problem]]:
    """Rows in the file's order, repeated names included (a dict would keep the last alone)."""
    path = _join(part, METADATA)
    rows = []
    try:
        pairs = json.loads(
            (root / path).read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: pairs
        )
        for name, fields in pairs:
            row: Mapping[str, Any] = dict(fields)
            label, original = row.get("label"), row.get("original")
            rows.append((str(name), {"label": str(label), "original": str(original or "")}))
    except FileNotFoundError:
        return [], [Problem(part, f"folder without {METADATA}: labels are unknown")]
    except OSError as error:
        return [], [Problem(path, f"cannot be read: {error.strerror}")]
    except (TypeError, ValueError):
        return [], [Problem(path, 'is not JSON of the form {"x.mp4": {"label": "FAKE"}}')]
    return rows, []


def _official_splits(parts: int) -> list[str]:
    """Splits of parts in the order of their numbers: the last ones are for test, then val."""
    if parts <= 1:
        return [""] * parts
    held_out = max(1, parts // _PARTS_PER_HELD_OUT)
    val = held_out if parts > 2 else 0
    return ["train"] * (parts - held_out - val) + ["val"] * val + ["test"] * held_out


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
