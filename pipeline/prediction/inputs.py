"""Which files a command was given: names, folders, patterns, and lists on standard input."""

from __future__ import annotations

import dataclasses
import glob
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.datasets.clip import is_document, is_utf8, media, printable
from preprocessing.datasets.pictures import by_clip
from preprocessing.media.container import IMAGE_ENDINGS, VIDEO_ENDINGS
from preprocessing.support.errors import UsageError

if TYPE_CHECKING:
    from preprocessing.media.frame_folder import Media

# What stands for a list on standard input.
STANDARD_INPUT = "-"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclasses.dataclass(frozen=True)
class Item:
    """One file to answer for.

    Attributes:
      name: name in answers: the path as it was given, or found.
      media: the file, or the pictures of one clip; None where there is no file.
      reason: why there is none; empty where there is one.
      counts: whether the command's exit status tells that it has no score; documents beside the
        files of a folder do not count.
    """

    name: str
    media: Media | None = None
    reason: str = ""
    counts: bool = True


def items_of(
    names: Sequence[str], read: Callable[[], bytes], output: Path | None = None
) -> list[Item]:
    """Everything that is to be answered for, in the order of the names.

    A folder stands for the videos and pictures below it, hidden ones left out, by path; pictures
    whose names say that they are frames or faces of one clip are one item, as for `deepfake score`.
    A name with `*`, `?` or `[` that no file has is a pattern, in which `**` stands for folders at
    any depth. `-` stands for a list on standard input, of files and folders.

    What the command has written is left out of folders and patterns, where its folder lies below
    theirs.

    Args:
      names: the arguments of the command.
      read: function that gives the bytes of standard input.
      output: folder that the command writes; None for none.

    Returns:
      At least one item; what is no file has its reason.

    Raises:
      UsageError: none of the names is a file, or `-` was given twice.
    """
    if list(names).count(STANDARD_INPUT) > 1:
        raise UsageError("- stands for the list on standard input and can be given once only")
    items: list[Item] = []
    for name in names:
        if name == STANDARD_INPUT:
            for listed in listed_names(read()):
                items += _named(listed, output)
        elif glob.has_magic(name) and not os.path.lexists(name) and not _ADDRESS.match(name):
            items += _matching(name, output)
        else:
            items += _named(name, output)
    if not any(item.media for item in items):
        raise UsageError(
            items[0].reason if items else "standard input names no file; write one name on a line"
        )
    return items


def listed_names(data: bytes) -> list[str]:
    r"""The names in a list, as `find -print0` or `ls` write them.

    Args:
      data: names that end with NUL, where there is one in the data, else with a newline.

    Returns:
      The names; empty ones are left out.

    >>> listed_names(b"a.mp4\r\n\nb c.mp4\n")
    ['a.mp4', 'b c.mp4']
    >>> listed_names(b"a\nb.mp4\0c.mp4\0")
    ['a\nb.mp4', 'c.mp4']
    """
    if b"\0" in data:
        names = data.split(b"\0")
    else:
        names = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(name) for name in names if name]


def _matching(pattern: str, output: Path | None) -> Iterator[Item]:
    paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  Patterns may be absolute.
    if "**" in pattern:  # It has found what is in the folders, too.
        paths = [path for path in paths if not Path(path).is_dir()]
    plain = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    skipped = _skipped(Path(*plain), output)
    paths = [path for path in paths if not is_within(Path(path), skipped)]
    if not paths:
        yield Item(pattern, reason=f"there is no file that matches {printable(pattern)}")
    for path in paths:
        yield from _named(path, output)


def _named(name: str, output: Path | None) -> Iterator[Item]:
    if _ADDRESS.match(name):
        yield Item(
            name,
            reason=f"{printable(name)} is an address, and predict reads files only: download it "
            "(curl -O) and name the file",
        )
    else:
        try:
            yield from _on_disk(name, output)
        except OSError as error:  # Of a folder that is closed to this user, of too long a name.
            reason = f"{printable(name)} cannot be looked at: {error.strerror}"
            yield Item(name, reason=reason)


def _on_disk(name: str, output: Path | None) -> Iterator[Item]:
    if Path(name).is_dir():
        yield from _below(name, output)
    elif Path(name).exists():
        yield Item(name, Path(name))
    else:
        yield Item(name, reason=f"there is no file {printable(name)}")


def _below(folder: str, output: Path | None) -> Iterator[Item]:
    root = Path(folder)
    skipped = _skipped(root, output)
    paths, problems = media(root, "", VIDEO_ENDINGS | IMAGE_ENDINGS)
    paths = [path for path in paths if not is_within(root / path, skipped)]
    items = []
    for files in by_clip(paths, "", sure=True):
        pictures = tuple(root / frame for frame in files.frames)
        items.append(Item(str(root / files.path), pictures or root / files.path))
    for problem in problems:
        path = root / problem.path
        if is_within(path, skipped):
            continue
        if not is_utf8(problem.path) and path.is_file():  # Only tables cannot hold its name.
            items.append(Item(str(path), path))
        else:
            items.append(Item(str(path), reason=problem.reason, counts=not is_document(path)))
    if not items:
        reason = f"the folder {printable(folder)} holds no video or picture"
        items.append(Item(folder, reason=reason))
    yield from sorted(items, key=lambda item: item.name)


def is_within(path: Path, folders: tuple[Path, ...]) -> bool:
    """Whether a path is one of some folders or files, or lies below one."""
    return any(path == folder or folder in path.parents for folder in folders)


def _skipped(folder: Path, output: Path | None) -> tuple[Path, ...]:
    """The folder that the command writes, as a path below another; empty where it is not below."""
    if output is None:
        return ()
    inner, outer = Path(os.path.realpath(output)), Path(os.path.realpath(folder))
    return (folder / inner.relative_to(outer),) if outer in inner.parents else ()
