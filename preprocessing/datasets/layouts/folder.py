"""Plain folders: `real/` and `fake/`, on their own or below `train/`, `val/` and `test/`.

They hold videos, pictures, or faces already cropped. Pictures whose names tell frames of one clip
(see `preprocessing.media.picture_names`) are one clip, and none beside the clip's video; every
other file is a clip of its own. Names as in Celeb-DF (`idA_NNNN`, `idA_idB_NNNN`, with or without a
frame number) tell the persons; a fake then stands in the group of its target clip.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from preprocessing.datasets.clip import (
    FAKE,
    REAL,
    SPLITS,
    Clip,
    Listing,
    Problem,
    is_video,
    media,
    subfolders,
    unread,
)
from preprocessing.datasets.layout import Layout, register
from preprocessing.datasets.pictures import ClipFiles, by_clip, celeb_df_persons, without_videos
from preprocessing.media.container import IMAGE_ENDINGS, VIDEO_ENDINGS

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
        class_names = {
            PurePosixPath(folder).name for folder in folders if folder.startswith(f"{top}/")
        }
        problems += [Problem(f"{top}/{p.path}", p.reason) for p in unread(root / top, class_names)]
    groups_of_videos: dict[str, str] = {}
    for folder, (split, label) in folders.items():
        paths, folder_problems = media(root, folder, VIDEO_ENDINGS | IMAGE_ENDINGS)
        problems += folder_problems
        videos = [path for path in paths if is_video(root, path)]
        entries, repeated = without_videos(by_clip(paths, folder), videos)
        problems += repeated
        clips += [_clip(files, folder, split, label) for files in entries]
        groups_of_videos |= {
            path: _group(PurePosixPath(path).with_suffix(""), folder, label) for path in videos
        }
    clips = _with_groups(clips, groups_of_videos)
    official_splits = [
        split for split in SPLITS if any(clip.official_split == split for clip in clips)
    ]
    division = f"{', '.join(official_splits)} folders" if official_splits else ""
    return Listing.of("folder", _with_sources(root, clips), problems, division)


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


def _clip(media: ClipFiles, folder: str, split: str, label: int) -> Clip:
    persons, group = celeb_df_persons(media.name, label)
    if media.clip and not group:
        group = _group(PurePosixPath(media.clip), folder, label)
    return Clip(
        path=media.path,
        label=label,
        dataset="folder",
        method="fake" if label == FAKE else "real",
        identities=persons,
        group=group,
        official_split=split,
        frames=media.frames,
    )


def _group(clip: PurePosixPath, folder: str, label: int) -> str:
    """Without the split's folder: what is of one clip in two splits then shows as a leak."""
    return str(PurePosixPath("fake" if label == FAKE else "real", clip.relative_to(folder)))


def _with_groups(clips: list[Clip], groups_of_videos: Mapping[str, str]) -> list[Clip]:
    """Puts a video into the group of its frames, where another split has some of them."""
    groups = {clip.group for clip in clips if clip.frames}
    return [
        replace(clip, group=group)
        if not clip.group and (group := groups_of_videos.get(clip.path, "")) in groups
        else clip
        for clip in clips
    ]


def _with_sources(root: Path, clips: list[Clip]) -> list[Clip]:
    """Fills in the target clip of fakes with Celeb-DF names: a video's is a video.

    Where the same target stands in several splits, the fake's own comes first.
    """
    by_name = {c.path for c in clips if c.identities and (c.frames or is_video(root, c.path))}
    reals: dict[tuple[str, bool], dict[str, str]] = defaultdict(dict)
    for clip in clips:
        if clip.label == REAL and clip.path in by_name:
            reals[clip.group, bool(clip.frames)][clip.official_split] = clip.path
    with_sources = []
    for clip in clips:
        if clip.label == FAKE and clip.path in by_name:
            targets = reals.get((clip.group, bool(clip.frames)), {"": ""})
            source = targets.get(clip.official_split) or next(iter(targets.values()))
            clip = replace(clip, source=source)
        with_sources.append(clip)
    return with_sources


register(Layout("folder", LOOKS_LIKE, matches, owns, list_clips))
