"""The index of a dataset: its clips are listed, hashed, divided and checked, and shown as a table.

As in:

    manifest = build_manifest("/data/Celeb-DF-v2", "auto", "identity", 0.15, 0.15, seed=1)
    warnings = check_trainable(manifest)
    print(dataset_table(manifest))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from preprocessing import splits
from preprocessing.datasets import layouts
from preprocessing.datasets.clip import FAKE, REAL, SPLITS, Clip, printable
from preprocessing.errors import UsageError
from preprocessing.files import hash_clips
from preprocessing.manifest import LABEL_NAMES, Manifest, problem_lines


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


def dataset_table(manifest: Manifest) -> str:
    """Clips by label and method in each split, persons, groups, problems and leaks."""
    counts = manifest.counts()
    lines = [("", *SPLITS, "all")]

    def add(name: str, numbers: Sequence[int], total: int | None = None) -> None:
        lines.append((name, *map(str, numbers), str(sum(numbers) if total is None else total)))

    for label in LABEL_NAMES.values():
        by_split = [counts[split][label] for split in SPLITS]
        methods = sorted(set().union(*by_split))
        add(label, [sum(methods_of.values()) for methods_of in by_split])
        for method in methods:
            if method != label:
                add(f"  {method}", [methods_of.get(method, 0) for methods_of in by_split])
    add("clips", [sum(clip.split == split for clip in manifest.clips) for split in SPLITS])
    for name, values in (
        ("identities", lambda clip: clip.identities),
        ("groups", lambda clip: (clip.group,)),
    ):
        sets = [
            {value for clip in manifest.clips if clip.split == split for value in values(clip)}
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
    division = [f"split: {manifest.division}"] if manifest.division else []
    leaks = splits.leaks(manifest.clips).lines()
    return "\n".join([*text, *division, *problem_lines(manifest.problems), *leaks])


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
            has = LABEL_NAMES[next(iter(labels[split]))]
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
