"""What the tests of dataset listings share."""

import os
from pathlib import Path

import pytest

from preprocessing.datasets.clip import Clip, Listing

MEDIA = os.environ.get("DEEPFAKE_TEST_MEDIA", "")
needs_media = pytest.mark.skipif(
    not MEDIA, reason="set DEEPFAKE_TEST_MEDIA to the folder of real excerpts"
)
# The files of a small list, and its rows.
FILES = ("a/r1.jpg", "a/r2.jpg", "b/f1.jpg", "b/f2.jpg")
ROWS = ("a/r1.jpg,real", "a/r2.jpg,0", "b/f1.jpg,FAKE", "b/f2.jpg,1")


def make(root: Path, *names: str) -> Path:
    """Writes files that hold their own names; returns the folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
    return root


def clips_by_path(listing: Listing) -> dict[str, Clip]:
    """The clips of a listing, each of which must be listed once."""
    clips = {clip.path: clip for clip in listing.clips}
    assert len(clips) == len(listing.clips), "a path is listed twice"
    return clips


def reasons(listing: Listing) -> dict[str, str]:
    """The problems of a listing, by path."""
    return {problem.path: problem.reason for problem in listing.problems}


def write_list(root: Path, *rows: str, header: str = "path,label", name: str = "clips.csv") -> Path:
    """Writes a list of clips, CSV without its files; returns its path."""
    root.mkdir(parents=True, exist_ok=True)
    file = root / name
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file
