"""Clips for tests of splits, and what a division of them lacks."""

from preprocessing.datasets.clip import SPLITS, Clip
from preprocessing.manifest.splits import assign


def real(name: str, *persons: str, **more) -> Clip:
    return Clip(f"real/{name}.mp4", 0, "folder", "real", persons, **more)


def fake(name: str, *persons: str, **more) -> Clip:
    more.setdefault("method", "swap")
    return Clip(f"fake/{name}.mp4", 1, "folder", identities=persons, **more)


def divide(clips, protocol="identity", val=0.15, test=0.15, seed=1):
    return assign(clips, protocol, val, test, seed)


def split_of(clips) -> dict[str, str]:
    """Path -> split."""
    return {clip.path: clip.split for clip in clips}


def faults(divided) -> tuple[int, int, int, int]:
    """What a division lacks, worst first; smaller tuples are better.

    Returns:
      Classes that train lacks, empty splits, classes that all splits lack, classes that test lacks.
    """
    labels = {clip.label for clip in divided}
    held = {s: {clip.label for clip in divided if clip.split == s} for s in SPLITS}
    missing = {s: len(labels - held[s]) for s in SPLITS}
    empty = sum(not held[s] for s in SPLITS)
    return missing["train"], empty, sum(missing.values()), missing["test"]
