"""Builds the manifest of a dataset's folder: lists, hashes and divides the clips."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from preprocessing.datasets.clip import Clip, Listing, printable
from preprocessing.datasets.listing import list_clips
from preprocessing.datasets.pictures import by_numbers, clip_of
from preprocessing.manifest import splits
from preprocessing.manifest.clusters import clusters
from preprocessing.manifest.hashes import hash_clips
from preprocessing.manifest.leaks import LeakReport, leaks
from preprocessing.manifest.manifest import Manifest
from preprocessing.support.errors import UsageError
from preprocessing.support.files import place

_PROMISE = "data.split=auto promises no person in two splits"
_OTHERS = (
    "use data.split=identity, which divides anew, or data.split=official, which follows them all "
    "the same"
)


def build_manifest(
    root: str | os.PathLike[str],
    layout: str,
    protocol: str,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    hash_cache: Path | None = None,
    list_file: Path | None = None,
) -> Manifest:
    """Lists, hashes and divides the clips of a dataset's folder.

    Args:
      root: the dataset's folder.
      layout: as for `listing.list_clips`.
      protocol: `official`, `identity`, `clip`, or `auto`: `official` where folders or a list of
        one's own divide the clips into train, val and test, else `identity`. `auto` refuses such a
        division where it has a person, a fake and its original, or frames of one clip in two
        splits, and takes a missing test out of train.
      val_fraction: share of the clips that val aims at.
      test_fraction: share of the clips that test aims at.
      seed: seed of the division.
      hash_cache: JSON file that remembers hashes by path, size and time of change, so that a
        second run reads no clip; it may be absent or broken.
      list_file: a list of the clips, see `listing.list_clips`.

    Returns:
      The manifest. Files that cannot be opened are in its problems, and not in its clips.

    Raises:
      UsageError: as `listing.list_clips` and `splits.assign`, or a person in two splits, known or
        by kin.
    """
    listing = list_clips(root, layout, list_file)
    clips, unreadable = hash_clips(place(root), listing.clips, hash_cache)
    problems = [*listing.problems, *unreadable]
    # Other layouts' lists are a protocol for comparisons, and that of Celeb-DF v2 leaks.
    missing = ("val", "test") if protocol == "auto" else ("val",)
    promised = protocol == "auto" and bool(listing.given)
    if promised and listing.divided_persons:
        raise UsageError(_divided_persons(listing))
    if protocol == "auto":
        protocol = "official" if listing.given else "identity"
    if protocol == "official":
        problems += listing.divided_persons
    divided = splits.assign(clips, protocol, val_fraction, test_fraction, seed, missing)
    if promised:
        _refuse_divided_persons(listing.given, leaks(divided))
        _refuse_divided_kin(listing, clips, {clip.path: clip.split for clip in divided})
    return Manifest(
        str(root),
        listing.layout,
        divided,
        tuple(sorted(problems, key=lambda p: (p.path, p.reason))),
        protocol,
        _division(protocol, listing.given, clips, missing),
    )


def _divided_persons(listing: Listing) -> str:
    first, *others = listing.divided_persons
    rest = f", and {len(others)} more" if others else ""
    return f"{first.named}: {first.reason}{rest}. {_PROMISE}: mend the list, or {_OTHERS}"


def _refuse_divided_persons(given: str, report: LeakReport) -> None:
    """Raises UsageError where a division has persons in two splits, those of names included."""
    persons = report.shared_identities + report.train_val_identities
    if persons:
        rest = f" and {len(persons) - 1} more" if len(persons) > 1 else ""
        raise UsageError(
            f"the {given} have person {printable(persons[0])}{rest} in two splits, by what they "
            f"say or once what they leave out is divided. {_PROMISE}: mend them, or {_OTHERS}; "
            "where all persons hang together, only data.split=clip divides"
        )


def _refuse_divided_kin(
    listing: Listing, clips: Sequence[Clip], split_of: Mapping[str, str]
) -> None:
    """Raises UsageError where clips that belong together, and so show one person, are divided.

    Copies do not count, which `leaks` tells, nor what mere numbers in names put together.
    """
    kin = [replace(clip, sha256="", group=_sure_group(clip, listing.layout)) for clip in clips]
    first: dict[str, str] = {}
    apart: list[tuple[str, str]] = []
    for name, clip in zip(clusters(kin, persons=False), kin, strict=True):
        before = first.setdefault(name, clip.path)
        if split_of[before] != split_of[clip.path]:
            apart.append((before, clip.path))
    if apart:
        places = " and ".join(f"{printable(path)} in {split_of[path]}" for path in apart[0])
        rest = f", and {len(apart) - 1} more such clips" if len(apart) > 1 else ""
        raise UsageError(
            f"the {listing.given} have {places}{rest}, by what they say or once what they "
            "leave out is divided; these belong together: a fake and its original, frames of one "
            f"clip, or one group. {_PROMISE}: mend them, or {_OTHERS}"
        )


def _sure_group(clip: Clip, layout: str) -> str:
    """The clip's group; empty where a layout read it from mere numbers in names."""
    folder = posixpath.dirname(clip.path)
    read = clip.frames if layout == "folder" else clip.group == clip_of(clip.path, folder)
    return "" if read and by_numbers(clip) else clip.group


def _division(protocol: str, official: str, clips: Sequence[Clip], missing: Sequence[str]) -> str:
    """How the clips were divided, in a sentence; `given` is what divided them before."""
    names = {"identity": "by person", "clip": "by clip", "official": "as the dataset's lists say"}
    if not official:
        return f"{names[protocol]} (data.split={protocol})"
    if protocol != "official":
        return (
            f"{names[protocol]} (data.split={protocol}). THE {official.upper()} OF THE DATASET ARE "
            "NOT FOLLOWED; data.split=auto follows them"
        )
    text = f"as the {official} divide it; data.split=identity divides anew, by person"
    present = {clip.official_split for clip in clips}
    if carved_splits := [split for split in missing if split not in present and "train" in present]:
        verb = "is" if len(carved_splits) == 1 else "are"
        text += f". {' and '.join(carved_splits).capitalize()} {verb} taken out of train"
    if rest := sum(not clip.official_split for clip in clips):
        text += f". {rest} clips outside of these are divided by person"
    return text
