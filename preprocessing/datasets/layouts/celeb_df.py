"""Celeb-DF v2: Celeb-real, YouTube-real, Celeb-synthesis and List_of_testing_videos.txt.

A fake `idA_idB_NNNN` shows the target clip `idA_NNNN` with the face of idB. The dataset has no
official validation split: what the test list does not name is training data. Instead of videos
the folders may hold `frames/<clip>/` with a clip's frames as pictures, or crops and frames whose
names tell their clip, such as `id0_0000_10.png`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from preprocessing.datasets.clip import (
    FAKE,
    REAL,
    Clip,
    Listing,
    Problem,
    frame_folders,
    unread,
)
from preprocessing.datasets.layout import Layout, register
from preprocessing.datasets.lists import read_list
from preprocessing.datasets.pictures import videos_and_pictures, with_pictures

LOOKS_LIKE = "folders Celeb-real/, YouTube-real/ and Celeb-synthesis/ with videos in them"
FRAMES = "frames"
FOLDERS = {"Celeb-real": REAL, "YouTube-real": REAL, "Celeb-synthesis": FAKE}
TEST_LIST = "List_of_testing_videos.txt"

_NAMES = {
    "Celeb-real": re.compile(r"(?P<target>id\d+)_(?P<number>\d+)"),
    "YouTube-real": re.compile(r"(?P<number>\d+)"),
    "Celeb-synthesis": re.compile(r"(?P<target>id\d+)_(?P<donor>id\d+)_(?P<number>\d+)"),
}


def matches(root: Path) -> bool:
    """Whether one of the dataset's three folders is there."""
    return any((root / folder).is_dir() for folder in FOLDERS)


def owns(root: Path, within: PurePosixPath) -> bool:
    """Whether a path below a dataset's folder belongs to this layout."""
    return within.parts[0] in FOLDERS


def list_clips(root: Path) -> Listing:
    """Lists the clips of a folder, which may be a partial download."""
    names: list[str] = []
    pictures: dict[str, tuple[str, ...]] = {}
    problems = unread(root, (*FOLDERS, TEST_LIST))
    for folder in FOLDERS:
        if (root / folder).is_dir():
            frames = f"{folder}/{FRAMES}"
            videos, loose, folder_problems = videos_and_pictures(root, folder, frames)
            problems += folder_problems
            clips, folder_problems = frame_folders(root, frames, [*videos, *loose])
            names += [*videos, *loose, *clips]
            pictures |= loose
            problems += folder_problems
    text = None
    try:
        text = read_list(root / TEST_LIST, errors="replace")
    except FileNotFoundError:
        problems.append(Problem(TEST_LIST, "list is missing: there is no official split"))
    except OSError as error:
        problems.append(Problem(TEST_LIST, f"list cannot be read: {error.strerror}"))
    listing = clips_of_names(names, text)
    problems = [*problems, *listing.problems]
    return Listing.of("celeb_df", with_pictures(listing.clips, pictures), problems)


def clips_of_names(names: Iterable[str], test_list: str | None) -> Listing:
    """Makes clips of names alone; no file is needed.

    Args:
      names: POSIX paths such as `Celeb-real/id0_0000.mp4` or `Celeb-real/frames/id0_0000`.
      test_list: text of the test list, or None when there is none.

    Returns:
      The clips, and the lines of the test list that fit none of them.
    """
    names = list(names)
    tested, problems = _read_test_list(test_list or "")
    present = {_stem(name): name for name in names}
    problems += [
        Problem(path, "named in the test list, file is missing")
        for stem, path in tested.items()
        if stem not in present
    ]
    clips = []
    for name in names:
        path = PurePosixPath(name)
        folder = path.parts[0]
        parsed = _NAMES[folder].fullmatch(path.stem)
        if not parsed:
            problems.append(Problem(name, "name does not tell the person, who may leak"))
        persons, source = _persons_and_source(folder, path, parsed) if parsed else ((), "")
        # The target may have been re-encoded to another container than the fake.
        source = present.get(_stem(source), source) if source else ""
        official = "test" if _stem(name) in tested else "train"
        clips.append(
            Clip(
                path=name,
                label=FOLDERS[folder],
                dataset="celeb_df_v2",
                method="swap" if FOLDERS[folder] == FAKE else "real",
                identities=persons,
                source=source,
                official_split=official if test_list is not None else "",
            )
        )
    return Listing.of("celeb_df", clips, problems)


def _persons_and_source(
    folder: str, path: PurePosixPath, parsed: re.Match[str]
) -> tuple[tuple[str, ...], str]:
    number = parsed["number"]
    if folder == "YouTube-real":
        return (f"youtube-{number}",), ""
    target = parsed["target"]
    if folder == "Celeb-real":
        return (target,), ""
    persons = tuple(dict.fromkeys((target, parsed["donor"])))
    return persons, f"Celeb-real/{target}_{number}{path.suffix or '.mp4'}"


def _read_test_list(text: str) -> tuple[dict[str, str], list[Problem]]:
    """Reads `label path` lines; there is no header, and there 1 stands for real.

    Returns:
      Path without ending -> path, and problems. Clips re-encoded to another container keep
      their place in the list that way.
    """
    tested: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split(maxsplit=1)
        if not fields:
            continue
        path = fields[1].strip().replace("\\", "/") if len(fields) == 2 else ""
        folder = path.partition("/")[0]
        if fields[0] not in ("0", "1") or folder not in FOLDERS:
            problems.append(
                Problem(TEST_LIST, f"line {number} is not `label path`: {line.strip()[:80]!r}")
            )
            continue
        if (fields[0] == "1") != (FOLDERS[folder] == REAL):
            problems.append(
                Problem(
                    path, "label in the test list (1 = real) contradicts the folder, which counts"
                )
            )
        tested[_stem(path)] = path
    return tested, problems


def _stem(name: str) -> str:
    """`Celeb-real/id0_0000` of a clip's video and of its folder of frames."""
    path = PurePosixPath(name)
    parts = [part for part in path.parts[:-1] if part != FRAMES]
    return "/".join((*parts, path.stem))


register(Layout("celeb_df", LOOKS_LIKE, matches, owns, list_clips))
