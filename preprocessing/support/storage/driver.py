"""What a client of an object store offers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Entry:
    """An object as listings have it.

    Attributes:
      key: its name in the bucket.
      size: bytes.
      changed_ns: when it was written, in nanoseconds since 1970.
      version: changes whenever the object is written with another content: the entity tag of S3,
        the generation of Cloud Storage. It tells that something has changed, and is no hash of the
        content: entity tags of uploads in several parts, or of encrypted objects, are none.
    """

    key: str
    size: int
    changed_ns: int
    version: str


class Sink(Protocol):
    """What the content of an object is written to."""

    def write(self, data: bytes, /) -> object:
        """Takes the next bytes."""


class Driver(Protocol):
    """The client of one store for one bucket; raises the errors of `storage.errors`."""

    def entries(self, prefix: str, most: int | None = None) -> Iterator[Entry]:
        """The objects whose keys begin with a text, in the order of the keys."""

    def level(self, prefix: str) -> Iterator[Entry | str]:
        """As `entries` down to the next slash: objects, and what several others begin with."""

    def entry(self, key: str) -> Entry:
        """One object."""

    def read(self, key: str, sink: Sink, most: int | None = None) -> int:
        """Writes an object's content, or its first bytes, and returns how many there are to be."""

    def write(self, key: str, file: Path) -> None:
        """Uploads a file; until that is complete, the object is as it was before."""

    def delete(self, key: str) -> None:
        """Deletes an object; that it does not exist is no error."""
