"""The interface of dataset layouts and their registry: one module each.

A new layout needs one file in `preprocessing/datasets/layouts/` that ends with `register(...)`, and
a preset that names it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath
from typing import Protocol

from preprocessing.datasets.clip import Listing
from preprocessing.support.registration import import_modules


class Matches(Protocol):
    """Whether a folder has a layout; looks at names only."""

    def __call__(self, root: Path) -> bool:
        """See the class."""


class Owns(Protocol):
    """Whether the path `within` a folder of the layout belongs to it."""

    def __call__(self, root: Path, within: PurePosixPath) -> bool:
        """See the class."""


class ListClips(Protocol):
    """The clips of a folder, which may be a partial download; no media file is opened."""

    def __call__(self, root: Path) -> Listing:
        """See the class."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How clips and labels lie in a folder.

    Attributes:
      name: in the configuration, `data.layout`.
      looks_like: what the folder holds, for messages.
      matches: see `Matches`.
      owns: see `Owns`.
      list_clips: see `ListClips`.
      order: of the detection; layouts that match more than theirs come later.
    """

    name: str
    looks_like: str
    matches: Matches
    owns: Owns
    list_clips: ListClips
    order: int = 0


_registry: dict[str, Layout] = {}


def register(layout: Layout) -> None:
    """Makes a layout known by its name.

    Raises:
      ValueError: another layout has that name.
    """
    if _registry.setdefault(layout.name, layout) != layout:
        raise ValueError(f"two layouts have the name {layout.name!r}")


def layouts() -> dict[str, Layout]:
    """All layouts by name, in the order of detection: those of this folder, and registered ones."""
    import_modules("preprocessing.datasets.layouts")
    ordered = sorted(_registry.values(), key=lambda layout: (layout.order, layout.name))
    return {layout.name: layout for layout in ordered}
