"""The clips of a dataset's folder, whatever layout it has.

As in:

    listing = list_clips("/data/Celeb-DF-v2")
    listing.layout, len(listing.clips), listing.problems
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path, PurePosixPath

from preprocessing.datasets.clip import Listing, printable, subfolders
from preprocessing.datasets.layout import layouts
from preprocessing.datasets.layouts import list as own_list
from preprocessing.support.errors import UsageError
from preprocessing.support.files import is_folder, place, scan

# How far a hint looks for the folder that was meant: levels, and folders in all.
_HINT_DEPTH = 4
_HINT_FOLDERS = 500


def list_clips(
    root: str | os.PathLike[str], layout: str = "auto", list_file: Path | None = None
) -> Listing:
    """Lists the clips of a dataset's folder; no media file is opened.

    Args:
      root: the dataset's folder.
      layout: the name of a layout; `demo`, which is read as `celeb_df` and says so in each clip's
        dataset; or `auto`, which detects.
      list_file: a list of the clips, which makes the layout `list`; None for `clips.csv` or
        `clips.parquet` in the folder, where it is of that layout.

    Returns:
      Its clips (splits, hashes and sizes not yet filled in) and what is wrong with it.

    Raises:
      UsageError: the folder is absent, a file, empty, unreadable, or of another layout; or a list
        contradicts itself.
    """
    root = place(root)
    if list_file is not None and not list_file.is_file():
        raise UsageError(f"list {list_file} is not there; data.list names a CSV or Parquet file")
    check_folder(root)
    if list_file is not None:
        if layout not in ("auto", own_list.NAME):
            raise UsageError(
                f"data.list={list_file} is read as layout {own_list.NAME}, but data.layout is "
                f"{layout}; set data.layout={own_list.NAME}"
            )
        return own_list.read(root, list_file)
    if layout == "auto":
        layout = detect(root)
    elif layout != "demo" and layout not in layouts():
        raise UsageError(f"there is no layout {layout!r}; layouts are {', '.join(layouts())}")
    chosen = layouts()["celeb_df" if layout == "demo" else layout]
    if not chosen.matches(root):
        raise UsageError(
            f"{printable(str(root))} does not look like layout {layout}, which has "
            f"{chosen.looks_like}. {_contents(root)}{_remedy(root)}"
        )
    listing = chosen.list_clips(root)
    if layout == "demo":
        # Its clips are drawings; no report may show them as Celeb-DF's.
        clips = tuple(dataclasses.replace(clip, dataset="demo") for clip in listing.clips)
        listing = Listing("demo", clips, listing.problems)
    return listing


def detect(root: Path) -> str:
    """The name of the layout that a folder has.

    Raises:
      UsageError: none of them; the message says what each looks like and what was found.
    """
    for name, layout in layouts().items():
        if layout.matches(root):
            return name
    descriptions = "; ".join(f"{name}: {layout.looks_like}" for name, layout in layouts().items())
    raise UsageError(
        f"{printable(str(root))} has none of the known layouts ({descriptions}). "
        f"{_contents(root)}{_remedy(root)}"
    )


def check_folder(root: Path) -> None:
    """Refuses what is no folder with something in it.

    Raises:
      UsageError: the folder is absent, a file, empty or unreadable.
    """
    if root.is_file():
        raise UsageError(f"{root} is a file; name the folder that holds the dataset")
    if not root.is_dir():
        raise UsageError(f"dataset folder {root} does not exist")
    try:
        empty = not any(root.iterdir())
    except OSError as error:
        raise UsageError(f"dataset folder {root} cannot be read: {error.strerror}") from error
    if empty:
        raise UsageError(f"dataset folder {root} is empty")


def _contents(root: Path) -> str:
    names = sorted(
        printable(entry.name) + ("/" if is_folder(entry) else "")
        for entry in scan(root)
        if not entry.name.startswith(".")
    )
    others = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"It holds {', '.join(names[:6]) or 'only hidden files'}{others}"


def _remedy(root: Path) -> str:
    """Names the layout or the folder within or above that would have fitted."""
    for name, layout in layouts().items():
        if layout.matches(root):
            return f"; it looks like layout {name}"
    # People often name a folder above the dataset (archives hold one within the other) or one of
    # the dataset's own.
    neighbour = _layout_below(root) or _layout_above(root)
    if neighbour:
        return f"; did you mean {neighbour[0]} (layout {neighbour[1]})?"
    return "; put real clips into real/ and fake ones into fake/"


def _layout_below(root: Path) -> tuple[str, str] | None:
    """The first folder below that has a layout, the nearest levels first, and the layout."""
    level, visited = [root], 0
    for _ in range(_HINT_DEPTH):
        level = [above / name for above in level for name in subfolders(above)]
        for path in level:
            visited += 1
            if visited > _HINT_FOLDERS:
                return None
            for name in _layouts_of(path):
                return printable(str(path)), name
    return None


def _layout_above(root: Path) -> tuple[str, str] | None:
    """The folder above whose layout has `root` for a part, and the layout.

    A folder above that matches because of another of its folders is not meant. Of several the
    outermost is: train/ with real/ and fake/ in it is a part of what has val/ and test/ too.
    """
    root = root.resolve()
    outermost = None
    for above in list(root.parents)[:_HINT_DEPTH]:
        for name in _layouts_of(above):
            if layouts()[name].owns(above, PurePosixPath(root.relative_to(above))):
                outermost = printable(str(above)), name
    return outermost


def _layouts_of(folder: Path) -> list[str]:
    try:
        return [name for name, layout in layouts().items() if layout.matches(folder)]
    except OSError:
        return []
