"""Lists by the user: `clips.csv` or `clips.parquet` with a row for each file.

Columns are those of `preprocessing.datasets.clip_table`. Rows with the same `clip` are the pictures
of one clip. A row may also name a folder that holds the pictures of one clip. `group` keeps clips
together when they are divided; a fake whose group is the name of a real clip was made from that
one, see `preprocessing.datasets.originals`. Names as in Celeb-DF tell persons and target where the
list does not.
"""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from pathlib import Path, PurePosixPath

from preprocessing.datasets.clip import (
    FAKE,
    LABEL_NAMES,
    LISTS,
    Clip,
    Listing,
    Problem,
    is_video,
    media,
    printable,
)
from preprocessing.datasets.clip_table import Row, read_rows, refuse
from preprocessing.datasets.layout import Layout, register
from preprocessing.datasets.originals import Listed, with_sources
from preprocessing.datasets.pictures import celeb_df_persons, clip_of
from preprocessing.media.container import FRAME_ENDINGS, IMAGE_ENDINGS, VIDEO_ENDINGS
from preprocessing.media.frame_folder import frame_files
from preprocessing.media.picture_names import natural_order, picture_name
from preprocessing.support.errors import UsageError
from preprocessing.support.files import in_bucket, is_there

NAME = "list"
LOOKS_LIKE = "a list clips.csv or clips.parquet with columns path and label"
# A clip has one value of each.
_OF_A_CLIP = ("label", "split", "group", "method", "dataset")


def matches(root: Path) -> bool:
    """Whether a list stands in the folder."""
    return any((root / name).is_file() for name in LISTS)


def owns(root: Path, within: PurePosixPath) -> bool:
    """Whether a path below a dataset's folder belongs to this layout: any may be listed."""
    return matches(root)


def list_clips(root: Path) -> Listing:
    """Lists the clips that the folder's own list names.

    Raises:
      UsageError: there are two lists, or as `read`.
    """
    names = [name for name in LISTS if (root / name).is_file()]
    if len(names) > 1:
        raise UsageError(
            f"{printable(str(root))} holds {' and '.join(names)}; remove one, or name the one that "
            "counts with data.list"
        )
    return read(root, root / names[0])


def read(root: Path, file: Path) -> Listing:
    """Lists the clips that a list names.

    Args:
      root: the dataset's folder, which paths are relative to.
      file: the list.

    Raises:
      UsageError: as `clip_table.read_rows`, or rows that contradict each other: one file twice with
        different values, one clip with two labels, splits, groups, methods or datasets.
    """
    rows, problems = read_rows(file, root)
    rows, repeated = _without_repeats(file, rows)
    problems += repeated
    clips: list[Listed] = []
    faults: list[str] = []
    for members in _by_clip(file, rows):
        files, clip_problems = _files_of(root, file, members)
        problems += clip_problems
        faults += _videos_among(root, members, files)
        if files:
            clips.append(_listed(members, files))
    refuse(file, faults)
    _check_distinct(file, clips)
    problems += _unlisted(root, file, {path for clip in clips for path in clip.files})
    problems += _frames_apart(file, rows)
    division = f"splits of {file.name}" if any(row.split for row in rows) else ""
    listed, without_originals = with_sources(file, _beside_frames(root, clips))
    problems += without_originals
    return Listing.of(NAME, listed, problems, division, _divided_persons(clips))


def _without_repeats(file: Path, rows: Iterable[Row]) -> tuple[list[Row], list[Problem]]:
    """The rows without those that repeat another; refuses a path with two different rows."""
    first: dict[str, Row] = {}
    problems, faults = [], []
    for row in rows:
        before = first.setdefault(row.path, row)
        if before is row:
            continue
        differing = [c for c in (*_OF_A_CLIP, "clip", "identities") if _differ(before, row, c)]
        if differing:
            faults.append(_contradiction(before, row, differing[0], printable(row.path)))
        else:
            place = f"rows {before.number} and {row.number}"
            reason = f"row of {file.name} that is there twice, counted once"
            problems.append(Problem(row.path, reason, place))
    refuse(file, faults)
    return list(first.values()), problems


def _by_clip(file: Path, rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each clip; refuses a clip whose rows contradict each other."""
    clips: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        clips[row.clip, "" if row.clip else row.path].append(row)
    faults = [
        _contradiction(members[0], row, column, f"clip {members[0].clip!r}")
        for members in clips.values()
        for row in members
        for column in _OF_A_CLIP
        if _differ(members[0], row, column)
    ]
    refuse(file, faults)
    return list(clips.values())


def _differ(first: Row, second: Row, column: str) -> bool:
    return getattr(first, column) != getattr(second, column)


def _contradiction(first: Row, row: Row, column: str, subject: str) -> str:
    def value(of: Row) -> str:
        values = getattr(of, column)
        return LABEL_NAMES[values] if column == "label" else repr(values)

    return (
        f"row {row.number}: {subject} has {column} {value(row)} here ({printable(row.path)}), "
        f"{value(first)} in row {first.number} ({printable(first.path)}); mend or remove one"
    )


def _files_of(root: Path, file: Path, rows: Iterable[Row]) -> tuple[list[str], list[Problem]]:
    """The files of a clip that are there, and rows that name none."""
    files: list[str] = []
    problems = []
    for row in rows:
        try:
            row_files, fault = _files_at(root, row.path)
        except OSError as error:
            if in_bucket(root):  # The store's fault, not the row's.
                raise
            row_files, fault = [], f"whose file cannot be looked at: {error.strerror}"
        files += row_files
        if fault:
            reason = f"row of {file.name} {fault}"
            problems.append(Problem(row.path, reason, f"row {row.number}"))
    return sorted(files, key=natural_order), problems


def _files_at(root: Path, path: str) -> tuple[list[str], str]:
    """The file of a row, or the pictures of its folder; without any, what is wrong with it."""
    place = root / path
    if place.is_file():
        return [path], ""
    if place.is_dir():
        pictures = [f"{path}/{picture.name}" for picture in frame_files(place)]
        return pictures, "" if pictures else "for a folder without pictures"
    return [], "for no file" if is_there(place) else "without its file"


def _videos_among(root: Path, rows: Sequence[Row], files: Sequence[str]) -> list[str]:
    """Says where a clip of several files has a video: of pictures alone a clip is put together."""
    videos = [path for path in files if is_video(root, path)] if len(files) > 1 else []
    return [
        f"row {row.number}: {printable(row.path)} is a video, and clip {row.clip!r} has "
        f"{len(files)} files; a video is a clip of its own, so give each a name of its own"
        for row in rows
        if row.path in videos[:1]
    ]


def _listed(rows: Sequence[Row], files: Sequence[str]) -> Listed:
    row = rows[0]
    name = row.clip or PurePosixPath(row.path).stem
    clip_name = row.clip or PurePosixPath(_clip_by_name(row.path)).name or name
    persons = tuple(dict.fromkeys(person for row in rows for person in row.identities))
    named_persons, target = celeb_df_persons(clip_name, row.label)
    clip = Clip(
        path=_path_of(row, files),
        label=row.label,
        dataset=row.dataset or "list",
        method=(row.method or "fake") if row.label == FAKE else "real",
        identities=persons or named_persons,
        group=row.group or target or ("" if row.clip else _clip_by_name(row.path)),
        official_split=row.split,
        frames=tuple(files) if len(files) > 1 or _is_frame(row, files[0]) else (),
    )
    return Listed(name, target, row, clip, tuple(files))


def _path_of(row: Row, files: Sequence[str]) -> str:
    """The clip's id: the file or folder that is all of it, else its name below all its files."""
    if len(files) == 1 or not row.clip:
        return files[0] if len(files) == 1 else row.path
    common = posixpath.commonpath([posixpath.dirname(file) for file in files])
    if f"/{common}".endswith(f"/{row.clip}"):
        return common
    return "/".join(filter(None, (common, row.clip)))


def _is_frame(row: Row, path: str) -> bool:
    file = PurePosixPath(path)
    of_pictures = bool(row.clip) and file.suffix.lower() in FRAME_ENDINGS
    return of_pictures and picture_name(file).frame is not None


def _clip_by_name(path: str) -> str:
    return clip_of(path, posixpath.dirname(path))


def _check_distinct(file: Path, clips: Iterable[Listed]) -> None:
    """Refuses two clips that share a file, or would have one id."""
    owners: dict[str, Listed] = {}
    faults = []
    for listed in clips:
        for path in dict.fromkeys((listed.clip.path, *listed.files)):
            other = owners.setdefault(path, listed)
            if other is not listed:
                faults.append(
                    f"row {listed.row.number}: {printable(path)} is taken by the clip of row "
                    f"{other.row.number} ({printable(other.row.path)}); give both rows one clip, "
                    "or the clips other names"
                )
    refuse(file, faults)


def _unlisted(root: Path, file: Path, listed: Set[str]) -> list[Problem]:
    """The problems of files in the folder that the list does not name."""
    paths, problems = media(root, "", VIDEO_ENDINGS | IMAGE_ENDINGS)
    reason = f"file that {file.name} does not name: its label is unknown"
    return [
        *(Problem(path, reason) for path in paths if path not in listed),
        *(p for p in problems if p.path not in listed and root / p.path != file),
    ]


def _frames_apart(file: Path, rows: Sequence[Row]) -> list[Problem]:
    """Says where pictures of one clip are clips of their own, because the list names no clips."""
    names = Counter(filter(None, (_clip_by_name(row.path) for row in rows if not row.clip)))
    shared = [number for number in names.values() if number > 1]
    if not shared:
        return []
    reason = (
        f"{sum(shared)} rows without a clip look like frames of {len(shared)} clips by their "
        "names: each is scored by itself; give them a column clip"
    )
    return [Problem(file.name, reason)]


def _beside_frames(root: Path, clips: Sequence[Listed]) -> list[Listed]:
    """Puts a video without a group into that of its frames, which are clips of their own."""
    groups = {listed.clip.group for listed in clips} - {""}
    with_groups = []
    for listed in clips:
        clip = listed.clip
        name = str(PurePosixPath(clip.path).with_suffix(""))
        if not clip.group and name in groups and is_video(root, clip.path):
            listed = replace(listed, clip=replace(clip, group=name))
        with_groups.append(listed)
    return with_groups


def _divided_persons(clips: Iterable[Listed]) -> list[Problem]:
    """The persons whom the list's splits have in two of them, each with two rows."""
    first: dict[str, Row] = {}
    problems: dict[tuple[str, str], Problem] = {}
    for listed in clips:
        for person in listed.clip.identities if listed.row.split else ():
            row, before = listed.row, first.setdefault(person, listed.row)
            if row.split != before.split:
                place = (
                    f"row {row.number}: {person} is in {row.split} here, in {before.split} by row "
                    f"{before.number}, {before.path}"
                )
                problems.setdefault(
                    (person, row.split), Problem(row.path, "person in two splits", place)
                )
    return list(problems.values())


# Before all others: who writes a list means it, whatever the folders look like.
register(Layout(NAME, LOOKS_LIKE, matches, owns, list_clips, order=-1))
