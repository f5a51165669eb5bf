"""Checks that a manifest can be trained on and measured with, and lists what it leaves out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from preprocessing.datasets.clip import (
    FAKE,
    LABEL_NAMES,
    REAL,
    SPLITS,
    Clip,
    Problem,
    is_document,
    printable,
)
from preprocessing.datasets.pictures import by_numbers
from preprocessing.manifest.leaks import leaks
from preprocessing.manifest.manifest import Manifest
from preprocessing.support.errors import UsageError
from preprocessing.support.files import is_there, place


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
        present_class, missing_class = ("real", "fake") if present == {REAL} else ("fake", "real")
        raise UsageError(f"{root} holds only {present_class} clips; add {missing_class} ones")
    merged = clips_by_numbers(manifest)
    hint = f". {merged}" if merged else ""
    other = {"identity": ", or use data.split=clip", "clip": ""}.get(
        manifest.protocol, ", or use data.split=identity"
    )
    if len({clip.group for clip in clips}) == 1:
        raise UsageError(
            f"all {len(clips)} clips of {root} hang together (same persons, or frames of the same "
            f"clip by their names), so they cannot be divided; add clips of others{other}{hint}"
        )
    for split in SPLITS:
        if not labels[split]:
            raise UsageError(
                f"no clip of {root} falls to {split}; add clips of others{other}{hint}"
            )
    if len(labels["train"]) == 1 and (needs_fakes or labels["train"] == {FAKE}):
        present_class, missing_class = (
            ("real", "fake") if labels["train"] == {REAL} else ("fake", "real")
        )
        raise UsageError(
            f"train holds only {present_class} clips of {root}; add {missing_class} clips that "
            f"have nothing in common with those of val and test{other}{hint}"
        )
    warnings = [merged] if merged else []
    for split in ("val", "test"):
        if len(labels[split]) == 1:
            present_class = LABEL_NAMES[next(iter(labels[split]))]
            warnings.append(f"{split} holds only {present_class} clips: AUC is undefined there")
    empty = [clip.path for clip in clips if clip.size == 0]
    if empty:
        warnings.append(f"{len(empty)} clips are empty files, such as {printable(empty[0])}")
    return warnings


def check_labels(clips: Sequence[Clip]) -> None:
    """Refuses clips whose labels contradict each other, for training and measuring alike.

    Raises:
      UsageError: a path or a content is labelled both real and fake.
    """
    by_path: dict[str, Clip] = {}
    for clip in clips:
        other = by_path.setdefault(clip.path, clip)
        if other.label != clip.label:
            raise UsageError(
                f"{printable(clip.path)} is labelled both real and fake; remove the wrong label"
            )
    for paths in leaks(clips).contradictions:
        by_label = {by_path[path].label: printable(path) for path in paths}
        raise UsageError(
            f"{by_label[REAL]} (real) and {by_label[FAKE]} (fake) are the same file; remove the "
            "one with the wrong label"
        )


def clips_by_numbers(manifest: Manifest) -> str:
    """Says which pictures are one clip for mere numbers in their names; empty without any.

    Other layouts have lists, or names of their own, that tell the clips.
    """
    if manifest.layout != "folder":
        return ""
    merged = [clip for clip in manifest.clips if len(clip.frames) > 1 and by_numbers(clip)]
    if not merged:
        return ""
    pictures = sum(len(clip.frames) for clip in merged)
    return (
        f"{pictures} pictures were read as {len(merged)} clips by the numbers in their names (for "
        f"example {printable(merged[0].frames[0])}); if they show different people, give a list "
        "with a clip for each (docs/datasets.md)"
    )


def left_out(
    root: str | os.PathLike[str], clips: Iterable[Clip], problems: Iterable[Problem]
) -> tuple[Problem, ...]:
    """The problems that keep something in the folder out of the clips.

    Others concern clips that are there nevertheless, or files that lists name and that are absent.
    Documents (`README.txt`) are no loss either.
    """
    clip_paths = {path for clip in clips for path in (clip.path, *clip.frames)}
    return tuple(
        problem
        for problem in problems
        if problem.path not in clip_paths
        and is_there(place(root) / problem.path)
        and not is_document(place(root) / problem.path)
    )
