"""From the folder of a dataset to its manifest: lists, hashes and divides the clips."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from preprocessing.datasets.clip import SPLITS, Clip
from preprocessing.datasets.listing import list_clips
from preprocessing.manifest import splits
from preprocessing.manifest.hashes import hash_clips
from preprocessing.manifest.manifest import Manifest


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
      layout: as for `listing.list_clips`.
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
      UsageError: as `listing.list_clips` and `splits.assign`.
    """
    listing = list_clips(root, layout)
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
