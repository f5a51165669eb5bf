"""Dataset layouts: each module lists the clips of one on-disk layout as `Clip` records.

As in:

    listing = list_clips("/data/Celeb-DF-v2")
    listing.layout, len(listing.clips), listing.problems
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from preprocessing.datasets import celeb_df, dfdc, faceforensics, folder
from preprocessing.datasets.clip import Clip, Listing, Problem, printable
from preprocessing.errors import UsageError

__all__ = ["LAYOUTS", "Clip", "Listing", "Problem", "detect", "list_clips"]

# In the order of detection: any metadata.json in a folder would do for `dfdc`, so it comes last.
LAYOUTS = {
    "celeb_df": celeb_df,
    "faceforensics": faceforensics,
    "folder": folder,
    "dfdc": dfdc,
}


def list_clips(root: str | os.PathLike[str], layout: str = "auto") -> Listing:
    """Lists the clips of a dataset's folder; no media file is opened.

    Args:
      root: the dataset's folder.
      layout: a name in `LAYOUTS`; `demo`, which is read as `celeb_df` and says so in each clip's
        dataset; or `auto`, which detects.

    Returns:
      Its clips (splits, hashes and sizes not yet filled in) and what is wrong with it.

    Raises:
      UsageError: the folder is absent, a file, empty, unreadable, or of another layout.
    """
    root = Path(root)
    _check_folder(root)
    if layout == "auto":
        layout = detect(root)
    elif layout != "demo" and layout not in LAYOUTS:
        raise UsageError(f"there is no layout {layout!r}; layouts are {', '.join(LAYOUTS)}")
    module = LAYOUTS["celeb_df" if layout == "demo" else layout]
    if not module.matches(root):
        raise UsageError(
            f"{root} does not look like layout {layout}, which has {module.LOOKS_LIKE}. "
            f"{_found(root)}{_remedy(root)}"
        )
    listing = module.list_clips(root)
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
    for name, module in LAYOUTS.items():
        if module.matches(root):
            return name
    known = "; ".join(f"{name}: {module.LOOKS_LIKE}" for name, module in LAYOUTS.items())
    raise UsageError(
        f"{root} has none of the known layouts ({known}). {_found(root)}{_remedy(root)}"
    )


def _check_folder(root: Path) -> None:
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


def _found(root: Path) -> str:
    names = sorted(
        printable(path.name) + ("/" if path.is_dir() else "")
        for path in root.iterdir()
        if not path.name.startswith(".")
    )
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"It holds {', '.join(names[:6]) or 'only hidden files'}{more}"


def _remedy(root: Path) -> str:
    """Names the layout or the neighbouring folder that would have fitted."""
    for name, module in LAYOUTS.items():
        if module.matches(root):
            return f"; it looks like layout {name}"
    # People often name the folder above the dataset, or one of the folders within.
    near = [path for path in sorted(root.iterdir()) if path.is_dir()] + [root.resolve().parent]
    for path in near:
        for name, module in LAYOUTS.items():
            try:
                if module.matches(path):
                    return f"; did you mean {path} (layout {name})?"
            except OSError:
                continue
    return "; put real clips into real/ and fake ones into fake/"
