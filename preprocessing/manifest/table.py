"""The content of a manifest as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from preprocessing.datasets.clip import LABEL_NAMES, SPLITS
from preprocessing.manifest.leaks import leaks
from preprocessing.manifest.manifest import Manifest, problem_lines


def dataset_table(manifest: Manifest) -> str:
    """Clips by label and method in each split, persons, groups, problems and leaks."""
    counts = manifest.counts()
    lines: list[tuple[str, ...]] = [("", *SPLITS, "all")]

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
    if any(clip.frames for clip in manifest.clips):
        files = [(clip.split, len(clip.frames) or 1) for clip in manifest.clips]
        add("files", [sum(n for file_split, n in files if file_split == split) for split in SPLITS])
    for name, values in (
        ("identities", lambda clip: clip.identities),
        ("groups", lambda clip: (clip.group,)),
    ):
        sets = [
            {value for clip in manifest.clips if clip.split == split for value in values(clip)}
            for split in SPLITS
        ]
        add(name, [len(values) for values in sets], len(set().union(*sets)))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    text = [
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    ]
    division = [f"split: {manifest.division}"] if manifest.division else []
    leaking = leaks(manifest.clips).lines()
    return "\n".join([*text, *division, *problem_lines(manifest.problems), *leaking])
