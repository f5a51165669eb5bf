"""The DFDC preview dataset (Dolhansky et al., 2019): one dataset.json for all folders.

A row is `"method_A/.../x.mp4": {"label": "fake", "set": "train", "target_id": "1255229",
"swapped_id": "1003254"}`. It tells the persons, and the official split into train and test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from preprocessing.datasets.clip import FAKE, REAL, Clip, Listing, Problem, media
from preprocessing.datasets.lists import read_list

DATASET_JSON = "dataset.json"
ORIGINALS = "original_videos"
_LABELS = {"real": REAL, "fake": FAKE}
_SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def matches(root: Path) -> bool:
    """Whether a dataset.json stands beside folders as the preview's."""
    return (root / DATASET_JSON).is_file() and (
        (root / ORIGINALS).is_dir() or any(root.glob("method_*/"))
    )


def owns(root: Path, within: PurePosixPath) -> bool:
    """Whether a path below a dataset's folder belongs to this layout."""
    return within.parts[0] == ORIGINALS or within.parts[0].startswith("method_")


def list_clips(root: Path) -> Listing:
    """Lists the clips of a folder, which may be a partial download."""
    paths, problems = media(root, "")
    problems = [problem for problem in problems if problem.path != DATASET_JSON]
    try:
        pairs = json.loads(
            read_list(root / DATASET_JSON), object_pairs_hook=lambda members: members
        )
        rows = [(str(name), dict(fields)) for name, fields in pairs]
    except OSError as error:
        problems.append(Problem(DATASET_JSON, f"cannot be read: {error.strerror}"))
        rows = []
    except (TypeError, ValueError):
        reason = 'is not JSON of the form {"method_A/x.mp4": {"label": "fake", "set": "train"}}'
        problems.append(Problem(DATASET_JSON, reason))
        rows = []
    clips, row_problems = _clips(frozenset(paths), rows)
    return Listing.of("dfdc", clips, [*problems, *row_problems])


def _clips(
    present: frozenset[str], rows: Iterable[tuple[str, Mapping[str, Any]]]
) -> tuple[list[Clip], list[Problem]]:
    """A row named twice with two labels gives two clips of one path, which nobody may train on."""
    clips: dict[tuple[str, int], Clip] = {}
    problems = []
    listed = set()
    for name, row in rows:
        path = name.replace("\\", "/")
        listed.add(path)
        label = _LABELS.get(str(row.get("label")).lower())
        if path not in present:
            problems.append(Problem(path, f"row of {DATASET_JSON} without its file"))
        elif label is None:
            problems.append(Problem(path, "label is neither real nor fake"))
        else:
            persons = _persons(row.get("target_id")) + _persons(row.get("swapped_id"))
            clips[path, label] = Clip(
                path=path,
                label=label,
                dataset="dfdc_preview",
                method=PurePosixPath(path).parts[0] if label == FAKE else "real",
                identities=tuple(dict.fromkeys(persons)),
                source=_original(path, row, present) if label == FAKE else "",
                official_split=_SPLITS.get(str(row.get("set")).lower(), ""),
            )
            if not persons:
                problems.append(Problem(path, "row does not tell the person, who may leak"))
    problems += [
        Problem(path, f"file that {DATASET_JSON} does not name: its label is unknown")
        for path in sorted(present - listed)
    ]
    return list(clips.values()), problems


def _persons(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(f"dfdc-{person}" for person in values if person not in (None, ""))


def _original(path: str, row: Mapping[str, Any], present: frozenset[str]) -> str:
    """`original_videos/1_A_001.mp4`'s path, of a fake named `1_2_A_001.mp4`; empty if absent."""
    target = str(row.get("target_id") or "")
    name = PurePosixPath(path).name
    parts = name.split("_")
    if len(parts) < 3 or parts[0] != target:
        return ""
    original = f"{ORIGINALS}/{target}/{'_'.join([target, *parts[2:]])}"
    return original if original in present else ""
