"""Finds the real clip that a fake of a list was made from, by the fake's group."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from preprocessing.datasets.clip import FAKE, REAL, Clip, Problem
from preprocessing.datasets.clip_table import Row
from preprocessing.datasets.pictures import clip_of
from preprocessing.media.container import IMAGE_ENDINGS, VIDEO_ENDINGS


@dataclass(frozen=True)
class Listed:
    """A clip of a list.

    Attributes:
      name: in the list; without one the file's, without its ending.
      target: name of the target clip that a name in the form of Celeb-DF tells; empty without one.
      row: the first of its rows.
      clip: the clip.
      files: its files.
    """

    name: str
    target: str
    row: Row
    clip: Clip
    files: tuple[str, ...]


def with_sources(file: Path, clips: Sequence[Listed]) -> tuple[list[Clip], list[Problem]]:
    """Fills in the real clip that a fake was made from: its group's name, or by Celeb-DF's names.

    Of several real clips with that name the one in the fake's folder is its source; all of them
    and the fake get one group, unless the list gives them others.

    Args:
      file: the list.
      clips: its clips.

    Returns:
      The clips, and a problem where groups of fakes have nothing to do with any real clip.
    """
    originals = _Originals(clips)
    sources: dict[str, str] = {}
    groups: dict[str, str] = {}
    strangers: list[Row] = []
    for fake in clips:
        if fake.clip.label != FAKE:
            continue
        of_group = originals.of_group(fake.row.group)
        candidates = (of_group, originals.named(fake.target))
        beside = [[path for path in paths if _beside(path, fake)] for paths in candidates]
        only = [paths[0] for paths in (*candidates, *beside) if len(paths) == 1]
        sources[fake.clip.path] = only[0] if only else ""
        if len(of_group) > 1:
            groups[fake.clip.path] = originals.tied(of_group, fake.row.group)
        elif fake.row.group and not of_group and fake.row.group not in originals.carried:
            strangers.append(fake.row)
    groups |= originals.groups
    completed = [
        replace(
            listed.clip,
            source=sources.get(listed.clip.path, ""),
            group=originals.joined(groups.get(listed.clip.path, listed.clip.group)),
        )
        for listed in clips
    ]
    return completed, _without_originals(file, strangers) if originals.groups else []


class _Originals:
    """The real clips of a list, by what a fake's group may call them.

    Attributes:
      groups: path of each -> its group.
      carried: the groups that they have in the list.
    """

    def __init__(self, clips: Iterable[Listed]):
        reals = [listed for listed in clips if listed.clip.label == REAL]
        self.groups = {listed.clip.path: listed.clip.group for listed in reals}
        self.carried = set(self.groups.values())
        self._given = {listed.row.group for listed in reals} - {""}
        self._joined: dict[str, str] = {}
        # One for each kind of name, the surest first: name -> paths of the clips.
        self._paths: list[dict[str, list[str]]] = []
        for names in zip(*map(_names, reals), strict=True):
            paths: dict[str, list[str]] = defaultdict(list)
            for name, listed in zip(names, reals, strict=True):
                paths[name].append(listed.clip.path)
            self._paths.append(paths)

    def named(self, name: str) -> list[str]:
        """Paths of the clips that a name fits best; none for an empty one."""
        path = posixpath.normpath(name.replace("\\", "/"))
        spellings = [name, path, _without_ending(path)] if name else []
        return next((p[s] for s in spellings for p in self._paths if s in p), [])

    def of_group(self, group: str) -> list[str]:
        """Paths of the clips that a fake's group names.

        Where the list gives that group to real clips, a clip with another one only happens to have
        such a name.
        """
        paths = self.named(group)
        if group in self._given:
            return [path for path in paths if self.groups[path] in ("", group)]
        return paths

    def tied(self, paths: Sequence[str], group: str) -> str:
        """Gives clips that one name fits one group, the first that any of them has.

        Groups that the list gives are kept.

        Args:
          paths: the clips.
          group: what it is where none of them has any.

        Returns:
          That group.
        """
        groups = [self.joined(self.groups[path]) for path in paths]
        common = next(filter(None, groups), group)
        for path, before in zip(paths, groups, strict=True):
            if not before:
                self.groups[path] = common
            elif before != common and before not in self._given:
                self._joined[before] = common
        return common

    def joined(self, group: str) -> str:
        """The group that a group of pictures was joined to; itself where it was not."""
        while group in self._joined:
            group = self._joined[group]
        return group


def _names(listed: Listed) -> tuple[str, ...]:
    """What a group may call a real clip, the surest name first; some may be empty."""
    path = listed.clip.path
    file = posixpath.basename(path)
    of_frame = posixpath.basename(clip_of(path, posixpath.dirname(path)))
    paths = path, _without_ending(path), file, _without_ending(file)
    return listed.name, *paths, of_frame, listed.target


def _without_ending(path: str) -> str:
    file = PurePosixPath(path)
    known = file.suffix.lower() in VIDEO_ENDINGS | IMAGE_ENDINGS
    return str(file.with_suffix("")) if known else path


def _beside(path: str, fake: Listed) -> bool:
    return posixpath.dirname(path) == posixpath.dirname(fake.clip.path)


def _without_originals(file: Path, rows: Sequence[Row]) -> list[Problem]:
    """Says where fakes have a group that ties them to no real clip."""
    if not rows:
        return []
    reason = (
        f"{len(rows)} fakes have a group that no real clip has for its group, clip, path or file "
        "name: if it names their original, nothing keeps the two in one split"
    )
    return [Problem(file.name, reason, f"row {rows[0].number}: group {rows[0].group!r}")]
