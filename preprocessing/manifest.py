"""The manifest: one row for each clip, with hash and split, and a digest over all of them.

As in:

    manifest = build_manifest("/data/Celeb-DF-v2", "auto", "identity", 0.15, 0.15, seed=1)
    warnings = check_trainable(manifest)
    manifest.write_csv("manifest.csv")
    print(manifest.table())
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from preprocessing import splits
from preprocessing.datasets import layouts
from preprocessing.datasets.clip import (
    FAKE,
    REAL,
    SPLITS,
    Clip,
    Problem,
    is_document,
    printable,
)
from preprocessing.errors import UsageError
from preprocessing.files import hash_clips
from preprocessing.text_files import TEXT, replacing

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
)
_LABEL_NAMES = {REAL: "real", FAKE: "fake"}


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
        Where the dataset stands, when its files were written and how clusters are named (`group`)
        do not count.
        """
        digest = hashlib.sha256()
        for row in sorted(_row(clip) for clip in self.clips):
            kept = [value for name, value in zip(COLUMNS, row, strict=True) if name != "group"]
            digest.update(json.dumps(kept).encode("ascii") + b"\n")
        return digest.hexdigest()

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes one row for each clip; the file is complete or as it was before.

        Problems, where there are any, go into `<name>.problems.csv` beside it.

        Raises:
          UsageError: the file cannot be written.
        """
        path = Path(path)
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
        path = Path(path)
        rows = _read_rows(path)
        problems = _read_rows(_problems_file(path)) if _problems_file(path).exists() else []
        if not rows or tuple(rows[0]) != COLUMNS:
            raise UsageError(f"{path} is no manifest: its columns must be {', '.join(COLUMNS)}")
        clips = []
        for number, row in enumerate(rows[1:], start=2):
            try:
                clips.append(_clip(row))
            except ValueError as error:
                raise UsageError(f"manifest {path}, row {number}: {error}") from error
        return cls(os.fspath(root), "", tuple(clips), tuple(Problem(*row[:2]) for row in problems))

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Number of clips: split -> `real` or `fake` -> method -> clips."""
        counts: dict[str, dict[str, dict[str, int]]] = {
            split: {"real": {}, "fake": {}} for split in SPLITS
        }
        for clip in self.clips:
            methods = counts[clip.split][_LABEL_NAMES[clip.label]]
            methods[clip.method] = methods.get(clip.method, 0) + 1
        return counts

    def table(self) -> str:
        """Clips by label and method in each split, persons, groups, problems and leaks."""
        counts = self.counts()
        lines = [("", *SPLITS, "all")]

        def add(name: str, numbers: Sequence[int], total: int | None = None) -> None:
            lines.append((name, *map(str, numbers), str(sum(numbers) if total is None else total)))

        for label in _LABEL_NAMES.values():
            by_split = [counts[split][label] for split in SPLITS]
            methods = sorted(set().union(*by_split))
            add(label, [sum(methods_of.values()) for methods_of in by_split])
            for method in methods:
                if method != label:
                    add(f"  {method}", [methods_of.get(method, 0) for methods_of in by_split])
        add("clips", [sum(clip.split == split for clip in self.clips) for split in SPLITS])
        for name, values in (
            ("identities", lambda clip: clip.identities),
            ("groups", lambda clip: (clip.group,)),
        ):
            sets = [
                {value for clip in self.clips if clip.split == split for value in values(clip)}
                for split in SPLITS
            ]
            add(name, [len(one) for one in sets], len(set().union(*sets)))
        widths = [max(len(line[column]) for line in lines) for column in range(5)]
        text = [
            "  ".join(
                [line[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            )
            for line in lines
        ]
        division = [f"split: {self.division}"] if self.division else []
        leaks = splits.leaks(self.clips).lines()
        return "\n".join([*text, *division, *problem_lines(self.problems), *leaks])


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """What is wrong with a folder, for people: how many files for each reason, with examples."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        by_reason[problem.reason].append(problem.path)
    if not by_reason:
        return []
    lines = [f"{sum(map(len, by_reason.values()))} problems:"]
    for reason, paths in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        more = ", ..." if len(paths) > 3 else ""
        lines.append(f"  {len(paths)} {reason}: {', '.join(map(printable, paths[:3]))}{more}")
    return lines


def left_out(
    root: str | os.PathLike[str], clips: Iterable[Clip], problems: Iterable[Problem]
) -> tuple[Problem, ...]:
    """The problems that keep something in the folder out of the clips.

    Others concern clips that are there nevertheless, or files that lists name and that are absent.
    Documents (`README.txt`) are no loss either.
    """
    used = {clip.path for clip in clips}
    return tuple(
        problem
        for problem in problems
        if problem.path not in used
        and os.path.lexists(os.path.join(root, problem.path))
        and not is_document(Path(root, problem.path))
    )


def build_manifest(
    root: str | os.PathLike[str],
    layout: str,
    protocol: str,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    hash_cache: Path | None = None,
) -> Manifest:
    """Lists, hashes and divides the clips of a dataset's folder.

    Args:
      root: the dataset's folder.
      layout: as for `layouts.list_clips`.
      protocol: `official`, `identity`, `clip`, or `auto`: `official` for plain folders that are
        divided into train, val and test, else `identity`.
      val_fraction: share of the clips that val aims at.
      test_fraction: share of the clips that test aims at.
      seed: seed of the division.
      hash_cache: JSON file that remembers hashes by path, size and time of change, so that a
        second run reads no clip; it may be absent or broken.

    Returns:
      The manifest. Files that cannot be opened are in its problems, and not in its clips.

    Raises:
      UsageError: as `layouts.list_clips` and `splits.assign`.
    """
    listing = layouts.list_clips(root, layout)
    clips, unreadable = hash_clips(Path(root), listing.clips, hash_cache)
    problems = sorted((*listing.problems, *unreadable), key=lambda p: (p.path, p.reason))
    # Other layouts' lists are a protocol for comparisons, and that of Celeb-DF v2 leaks.
    given = sorted({clip.official_split for clip in clips if listing.layout == "folder"} - {""})
    if protocol == "auto":
        protocol = "official" if given else "identity"
    divided = splits.assign(clips, protocol, val_fraction, test_fraction, seed)
    division = _division(protocol, given, clips)
    return Manifest(os.fspath(root), listing.layout, divided, tuple(problems), protocol, division)


def _division(protocol: str, given: Sequence[str], clips: Sequence[Clip]) -> str:
    """How the clips were divided, in a sentence; `given` are the splits that have folders."""
    names = {"identity": "by person", "clip": "by clip", "official": "as the dataset's lists say"}
    if not given:
        return f"{names[protocol]} (data.split={protocol})"
    folders = f"{', '.join(split for split in SPLITS if split in given)} folders"
    if protocol != "official":
        return (
            f"{names[protocol]} (data.split={protocol}). THE {folders.upper()} OF THE DATASET ARE "
            "NOT FOLLOWED; data.split=auto follows them"
        )
    text = f"as the {folders} divide it; data.split=identity divides anew, by person"
    if "train" in given and "val" not in given:
        text += ". Val is taken out of train"
    if rest := sum(not clip.official_split for clip in clips):
        text += f". {rest} clips outside of these folders are divided by person"
    return text


def check_trainable(manifest: Manifest, needs_fakes: bool = True) -> list[str]:
    """Refuses a manifest that training would go wrong with.

    Args:
      manifest: the clips.
      needs_fakes: False where pseudo-fakes stand for all fakes that are trained on.

    Returns:
      Warnings: what training can live with, but its user should know.

    Raises:
      UsageError: no clip, one class, one group, an empty split, train without one of the classes,
        or labels that contradict each other.
    """
    clips, root = manifest.clips, manifest.root
    if not clips:
        first = next((f": {printable(p.path)}: {p.reason}" for p in manifest.problems), "")
        raise UsageError(f"{root} holds no clip that can be used{first}")
    check_labels(clips)
    labels = {split: {c.label for c in clips if c.split == split} for split in SPLITS}
    present = set().union(*labels.values())
    if len(present) == 1 and (needs_fakes or present == {FAKE}):
        has, lacks = ("real", "fake") if present == {REAL} else ("fake", "real")
        raise UsageError(f"{root} holds only {has} clips; add {lacks} ones")
    other = {"identity": ", or use data.split=clip", "clip": ""}.get(
        manifest.protocol, ", or use data.split=identity"
    )
    if len({clip.group for clip in clips}) == 1:
        raise UsageError(
            f"all {len(clips)} clips of {root} hang together (same persons, or frames of the same "
            f"clip by their names), so they cannot be divided; add clips of others{other}"
        )
    for split in SPLITS:
        if not labels[split]:
            raise UsageError(f"no clip of {root} falls to {split}; add clips of others{other}")
    if len(labels["train"]) == 1 and (needs_fakes or labels["train"] == {FAKE}):
        has, lacks = ("real", "fake") if labels["train"] == {REAL} else ("fake", "real")
        raise UsageError(
            f"train holds only {has} clips of {root}; add {lacks} clips that have nothing in "
            f"common with those of val and test{other}"
        )
    warnings = []
    for split in ("val", "test"):
        if len(labels[split]) == 1:
            has = _LABEL_NAMES[next(iter(labels[split]))]
            warnings.append(f"{split} holds only {has} clips: AUC is undefined there")
    empty = [clip.path for clip in clips if clip.size == 0]
    if empty:
        warnings.append(f"{len(empty)} clips are empty files, such as {printable(empty[0])}")
    return warnings


def check_labels(clips: Sequence[Clip]) -> None:
    """Refuses clips whose labels contradict each other, for training and measuring alike.

    Raises:
      UsageError: a path or a content is labelled both real and fake.
    """
    seen: dict[str, Clip] = {}
    for clip in clips:
        other = seen.setdefault(clip.path, clip)
        if other.label != clip.label:
            raise UsageError(
                f"{printable(clip.path)} is labelled both real and fake; remove the wrong label"
            )
    for paths in splits.leaks(clips).contradictions:
        by_label = {seen[path].label: printable(path) for path in paths}
        raise UsageError(
            f"{by_label[REAL]} (real) and {by_label[FAKE]} (fake) are the same file; remove the "
            "one with the wrong label"
        )


def _problems_file(path: Path) -> Path:
    return path.with_suffix(".problems.csv")


def _write_rows(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with replacing(path) as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _read_rows(path: Path) -> list[list[str]]:
    try:
        # Spreadsheet programs write a byte order mark.
        with open(path, newline="", **{**TEXT, "encoding": "utf-8-sig"}) as file:
            return list(csv.reader(file, strict=True))
    except OSError as error:
        raise UsageError(f"manifest {path} cannot be read: {error.strerror}") from error
    except csv.Error as error:
        raise UsageError(f"manifest {path} is not valid CSV: {error}") from error


def _row(clip: Clip) -> tuple[str, ...]:
    values = replace(clip, identities=";".join(clip.identities))
    return tuple(str(getattr(values, column)) for column in COLUMNS)


def _clip(row: Sequence[str]) -> Clip:
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} values instead of {len(COLUMNS)}")
    values = dict(zip(COLUMNS, row, strict=True))
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
        }
    )
