"""Plain folders: `real/` and `fake/`, on their own or below `train/`, `val/` and `test/`.

They hold videos, pictures, or faces already cropped. Each file is a clip of its own. Pictures
named `<stem>_<n>` are frames of one clip and form one group, so that no split divides them, unless
the stem is a mere word for a picture (`img_17.png`). Names as in Celeb-DF (`idA_NNNN`,
`idA_idB_NNNN`, with or without a frame number) tell the persons; a fake then stands in the group
of its target clip.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from preprocessing.datasets.clip import (
    FAKE,
    REAL,
    Clip,
    Listing,
    Problem,
    media,
    subfolders,
    unread,
)
from preprocessing.datasets.layout import Layout, register
from preprocessing.media.container import IMAGE_ENDINGS, VIDEO_ENDINGS, is_picture

LOOKS_LIKE = "folders real/ and fake/, or train/, val/ and test/ with real/ and fake/ in each"
_LABELS = {"real": REAL, "fake": FAKE}
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "test": "test",
    "testing": "test",
}
_CELEB_DF = re.compile(r"(?P<target>id\d+)(?:_(?P<donor>id\d+))?_(?P<number>\d{4})(?:_\d+)?")
_FRAME = re.compile(r"(?P<stem>.+?)[_-](?:frame[_-]?)?\d+")
_PICTURE_WORDS = frozenset("crop face fake image img photo pic picture real sample seed".split())


def matches(root: Path) -> bool:
    """Whether a `real` or `fake` folder stands in it, or in a split's folder in it."""
    return bool(_class_folders(root))


def owns(root: Path, within: PurePosixPath) -> bool:
    """Whether a path below a dataset's folder belongs to this layout."""
    tops = {PurePosixPath(folder).parts[0] for folder in _class_folders(root)}
    return within.parts[0] in tops


def list_clips(root: Path) -> Listing:
    """Lists the clips of a folder."""
    folders = _class_folders(root)
    clips: list[Clip] = []
    problems = unread(root, {PurePosixPath(folder).parts[0] for folder in folders})
    for top in {PurePosixPath(folder).parts[0] for folder in folders if "/" in folder}:
        known = {PurePosixPath(folder).name for folder in folders if folder.startswith(f"{top}/")}
        problems += [Problem(f"{top}/{p.path}", p.reason) for p in unread(root / top, known)]
    for folder, (split, label) in folders.items():
        found, troubles = media(root, folder, VIDEO_ENDINGS | IMAGE_ENDINGS)
        problems += troubles
        clips += [_clip(root, path, folder, split, label) for path in found]
    return Listing.of("folder", _with_sources(root, clips), problems)


def _class_folders(root: Path) -> dict[str, tuple[str, int]]:
    """Path of each class's folder -> its split (empty without one) and label."""
    folders = {}
    for name in subfolders(root):
        if name.lower() in _LABELS:
            folders[name] = ("", _LABELS[name.lower()])
        elif name.lower() in _SPLITS:
            for inner in subfolders(root / name):
                if inner.lower() in _LABELS:
                    place = (_SPLITS[name.lower()], _LABELS[inner.lower()])
                    folders[f"{name}/{inner}"] = place
    return folders


def _clip(root: Path, path: str, folder: str, split: str, label: int) -> Clip:
    persons, group = _persons_and_group(root, path, folder, label)
    return Clip(
        path=path,
        label=label,
        dataset="folder",
        method="fake" if label == FAKE else "real",
        identities=persons,
        group=group,
        official_split=split,
    )


def _persons_and_group(
    root: Path, path: str, folder: str, label: int
) -> tuple[tuple[str, ...], str]:
    name = PurePosixPath(path)
    known = _CELEB_DF.fullmatch(name.stem)
    if known and bool(known["donor"]) == (label == FAKE):
        persons = [known["target"], known["donor"] or known["target"]]
        return tuple(dict.fromkeys(persons)), f"{known['target']}_{known['number']}"
    if _is_video(root, path):
        return (), ""
    # Without the split's folder: frames of one clip in two splits then show as a leak.
    within = PurePosixPath("fake" if label == FAKE else "real", name.parent.relative_to(folder))
    frame = _FRAME.fullmatch(name.stem)
    if frame and frame["stem"].lower() not in _PICTURE_WORDS:
        return (), str(within / frame["stem"])
    if name.stem.isdecimal() and len(within.parts) > 1:  # one folder a clip: fake/clip7/0001.png
        return (), str(within)
    return (), ""


def _with_sources(root: Path, clips: list[Clip]) -> list[Clip]:
    """Fills in the target clip of fake videos with Celeb-DF names."""
    reals = {
        PurePosixPath(clip.path).stem: clip.path
        for clip in clips
        if clip.label == REAL and _is_video(root, clip.path)
    }
    return [
        replace(clip, source=reals.get(clip.group, ""))
        if clip.label == FAKE and _is_video(root, clip.path)
        else clip
        for clip in clips
    ]


def _is_video(root: Path, path: str) -> bool:
    """By the ending where it is known, so that millions of pictures need not be opened."""
    ending = PurePosixPath(path).suffix.lower()
    if ending in VIDEO_ENDINGS | IMAGE_ENDINGS:
        return ending in VIDEO_ENDINGS
    return not is_picture(root / path)


register(Layout("folder", LOOKS_LIKE, matches, owns, list_clips))
