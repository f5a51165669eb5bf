"""Paths in object stores, with the part of pathlib's interface that files here are used by.

pathlib cannot hold a URI, and libraries that offer such paths ask the store for each `is_dir` and
`stat`, twice per clip of a dataset. A path of a `snapshot` answers from one listing instead.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import io
import stat
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from preprocessing.support.errors import UsageError
from preprocessing.support.storage.bucket import SCHEMES, Bucket, bucket_of
from preprocessing.support.storage.driver import Entry
from preprocessing.support.storage.errors import absent
from preprocessing.support.storage.scratch import scratch_folder


def is_remote(text: str) -> bool:
    """Whether a text is the URI of a place in an object store.

    >>> is_remote("s3://videos/celeb"), is_remote("/data/celeb")
    (True, False)
    """
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


@dataclasses.dataclass(frozen=True)
class ObjectStatus:
    """What `os.stat_result` says of a file, as far as a store knows it.

    Attributes:
      st_size: bytes; of a folder those of all objects in it.
      st_mtime_ns: when it was written, in nanoseconds since 1970; of a folder the latest.
      st_mode: regular file or folder.
      version: see `Entry`; empty for a folder.
    """

    st_size: int
    st_mtime_ns: int
    st_mode: int
    version: str


@dataclasses.dataclass(frozen=True)
class ScannedObject:
    """What `os.DirEntry` says of an entry of a folder."""

    name: str
    folder: bool

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.folder

    def is_file(self) -> bool:
        """Whether it is an object."""
        return not self.folder

    def is_symlink(self) -> bool:
        """False: stores have none."""
        return False


class _Snapshot:
    """What lay below a folder when it was listed."""

    def __init__(self, folder: str, entries: list[Entry]):
        self._folder = folder
        self.objects: dict[str, Entry] = {}
        self._children: dict[str, dict[ScannedObject, None]] = {}
        for entry in entries:
            # A key with a slash at its end marks a folder, for people.
            if not entry.key.endswith("/"):
                self.objects[entry.key] = entry
                self._add(entry.key, folder=False)

    def _add(self, key: str, folder: bool) -> None:
        parent, _, name = key.rpartition("/")
        known = parent in self._children
        self._children.setdefault(parent, {})[ScannedObject(name, folder)] = None
        if not known and parent != self._folder:
            self._add(parent, folder=True)

    def children(self, folder: str) -> list[ScannedObject]:
        return list(self._children.get(folder, ()))

    def holds(self, key: str) -> bool:
        return not self._folder or key == self._folder or key.startswith(f"{self._folder}/")


class BucketPath:
    """A place in a bucket.

    A folder is what keys of objects begin with: it exists as soon as something lies in it, so
    `mkdir` does nothing. What is written is complete or absent.

    Args:
      bucket: of the place.
      key: of the object or folder, without slashes at its ends.
      snapshot: see `snapshot`; None to ask the store.
    """

    def __init__(self, bucket: Bucket, key: str, snapshot: _Snapshot | None = None):
        self.bucket = bucket
        self.key = key
        self._snapshot = snapshot if snapshot and snapshot.holds(key) else None

    @classmethod
    def of(cls, uri: str) -> BucketPath:
        """The place of a URI.

        Raises:
          UsageError: no bucket is named, a package is missing, or there are no credentials.
        """
        scheme, _, rest = uri.partition("://")
        name, _, key = rest.partition("/")
        if not name:
            raise UsageError(f"{uri}: no bucket is named; write it as {scheme}://BUCKET/FOLDER")
        return cls(bucket_of(scheme, name), _normal(key))

    def snapshot(self) -> BucketPath:
        """The same place; it and what is derived from it answer from one listing, made now."""
        entries = self.bucket.entries(self._prefix)
        return BucketPath(self.bucket, self.key, _Snapshot(self.key, entries))

    def __str__(self) -> str:
        return f"{self.bucket.uri}/{self.key}" if self.key else self.bucket.uri

    def __repr__(self) -> str:
        return f"BucketPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketPath) and str(self) == str(other)

    def __lt__(self, other: BucketPath) -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: object) -> BucketPath:
        return self._at(f"{self.key}/{name}")

    def _at(self, key: str) -> BucketPath:
        return BucketPath(self.bucket, _normal(key), self._snapshot)

    @property
    def _prefix(self) -> str:
        return f"{self.key}/" if self.key else ""

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath("/", self.key)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return self._pure.suffix

    @property
    def parent(self) -> BucketPath:
        """The folder that holds it; the bucket is its own."""
        return self._at(str(self._pure.parent))

    @property
    def parents(self) -> list[BucketPath]:
        """The folders above, up to the bucket."""
        return [self._at(str(parent)) for parent in self._pure.parents]

    def with_name(self, name: str) -> BucketPath:
        """The place of another name in the same folder."""
        return self._at(str(self._pure.with_name(name)))

    def with_suffix(self, suffix: str) -> BucketPath:
        """The place of the same name with another ending."""
        return self._at(str(self._pure.with_suffix(suffix)))

    def relative_to(self, other: BucketPath) -> PurePosixPath:
        """The path from a folder above."""
        return self._pure.relative_to(other._pure)

    def as_posix(self) -> str:
        """The URI."""
        return str(self)

    def resolve(self) -> BucketPath:
        """Itself: there are no links."""
        return self

    def stat(self) -> ObjectStatus:
        """What the store knows of the object or folder.

        Raises:
          FileNotFoundError: there is neither.
        """
        if self.is_file():
            entry = self._entry()
            return ObjectStatus(entry.size, entry.changed_ns, stat.S_IFREG, entry.version)
        entries = self.bucket.entries(self._prefix)
        if not entries:
            raise absent(str(self))
        size, changed = sum(e.size for e in entries), max(e.changed_ns for e in entries)
        return ObjectStatus(size, changed, stat.S_IFDIR, "")

    def _entry(self) -> Entry:
        if self._snapshot:
            return self._snapshot.objects[self.key]
        return self.bucket.entry(self.key)

    def exists(self) -> bool:
        """Whether there is such an object or folder."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is such an object."""
        if not self.key:
            return False
        if self._snapshot:
            return self.key in self._snapshot.objects
        try:
            self.bucket.entry(self.key)
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether an object lies below."""
        if self._snapshot:
            return bool(self._snapshot.children(self.key))
        return self.bucket.any_below(self._prefix)

    def scan(self) -> list[ScannedObject]:
        """The entries of the folder, as `os.scandir` gives them."""
        if self._snapshot:
            return self._snapshot.children(self.key)
        scanned = []
        for found in self.bucket.level(self._prefix):
            name = (found if isinstance(found, str) else found.key)[len(self._prefix) :]
            if name.rstrip("/"):
                scanned.append(ScannedObject(name.rstrip("/"), isinstance(found, str)))
        return scanned

    def iterdir(self) -> Iterator[BucketPath]:
        """The places of the folder's entries."""
        for entry in self.scan():
            yield self / entry.name

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """The entries of the folder whose names fit a pattern; a slash at its end wants folders.

        A pattern of two parts, as in `*/report.json`, looks into the folders.
        """
        first, slash, rest = pattern.partition("/")
        for entry in self.scan():
            if fnmatch.fnmatchcase(entry.name, first) and (entry.folder or not slash):
                if rest:
                    yield from (self / entry.name).glob(rest)
                else:
                    yield self / entry.name

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Does nothing: a folder exists with what lies in it."""

    def check(self) -> None:
        """Asks for what lies below.

        Raises:
          UsageError: the bucket cannot be used; the message says what would mend it.
        """
        self.bucket.check(self._prefix)

    def check_writable(self) -> None:
        """Proves that files can be written into this folder.

        Raises:
          UsageError: they cannot.
        """
        self.check()
        probe = self / ".deepfake-write-test"
        try:
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"{self} cannot be written: {error.strerror}") from error

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes the object."""
        if not missing_ok:
            self.bucket.entry(self.key)
        self.bucket.delete(self.key)

    def head(self, size: int) -> bytes:
        """The first bytes of the object."""
        return self.bucket.read(self.key, io.BytesIO, most=size).getvalue()

    def read_bytes(self) -> bytes:
        """The content of the object."""
        return self.bucket.read(self.key, io.BytesIO).getvalue()

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The content of the object as text."""
        return self.read_bytes().decode(encoding, errors)

    def open(self, mode: str = "r", **how: Any) -> io.IOBase:
        """The content of the object, held in memory, to read."""
        content = io.BytesIO(self.read_bytes())
        if mode == "rb":
            return content
        if mode != "r":
            raise ValueError(f"{self}: mode {mode!r}; write with preprocessing.support.files")
        return io.TextIOWrapper(content, **how)

    def write_text(self, text: str, encoding: str = "utf-8", errors: str = "strict") -> None:
        """Replaces the object's content."""
        self.write_bytes(text.encode(encoding, errors))

    def write_bytes(self, content: bytes) -> None:
        """Replaces the object's content."""
        with scratch_folder() as folder:
            file = folder / "content"
            file.write_bytes(content)
            self.bucket.write(self.key, file)


def _normal(key: str) -> str:
    """A key without empty parts, and slashes at its ends."""
    return "/".join(part for part in key.split("/") if part not in ("", "."))
