"""Files on this machine and in object stores: found, read, and written whole or not at all.

A path is a `pathlib.Path`, or a `BucketPath`, which has the part of its interface that is used
here; `place` makes either from a text. Code that takes a `Path` works with both, unless it opens
the file by itself or hands its name to a library: that goes through `local_copy` and `written`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, TypedDict, cast

from preprocessing.support.errors import UsageError
from preprocessing.support.storage.bucket_path import BucketPath, ObjectStatus, is_remote
from preprocessing.support.storage.scratch import scratch_folder

_BLOCK = 1 << 20


class _Text(TypedDict):
    """Arguments of `open`."""

    encoding: str
    errors: str


# Names that are not UTF-8 come from Python's file functions with surrogates in them.
TEXT: _Text = {"encoding": "utf-8", "errors": "surrogateescape"}


class Scanned(Protocol):
    """An entry of a folder, as `os.scandir` gives it."""

    @property
    def name(self) -> str:
        """Of the entry, without the folder's."""

    def is_dir(self) -> bool:
        """Whether it is a folder."""

    def is_file(self) -> bool:
        """Whether it is a file."""

    def is_symlink(self) -> bool:
        """Whether it is a link."""


def place(path: str | os.PathLike[str] | BucketPath) -> Path:
    """The path of a text, which may be the URI of a place in an object store.

    Raises:
      UsageError: the store's package or credentials are missing.
    """
    if isinstance(path, BucketPath):
        return cast(Path, path)
    text = os.fspath(path)
    return cast(Path, BucketPath.of(text)) if is_remote(text) else Path(text)


def refuse_bucket(
    path: str, remedy: str = "copy it into the bucket afterwards", option: str = "--output"
) -> None:
    """Refuses (UsageError) the URI of an object store where a path of this machine is needed.

    Args:
      path: a file or folder, or the URI of one.
      remedy: what to do instead.
      option: of the command line, that names it.
    """
    if is_remote(path):
        raise UsageError(f"{option} {path} has to be on this machine: {remedy}")


def in_bucket(path: Path) -> BucketPath | None:
    """The path as one of an object store; None for one of this machine."""
    return path if isinstance(path, BucketPath) else None


def snapshot(folder: Path) -> Path:
    """The folder; one in an object store answers from a listing of all that lies below it now."""
    remote = in_bucket(folder)
    return cast(Path, remote.snapshot()) if remote else folder


def scan(folder: Path) -> list[Scanned]:
    """The entries of a folder, in no order; on this machine without a look at each file.

    Raises:
      OSError: the folder cannot be read.
    """
    remote = in_bucket(folder)
    if remote:
        return list(remote.scan())
    with os.scandir(folder) as entries:
        return list(entries)


def is_folder(entry: Scanned) -> bool:
    """Whether an entry is a folder; a link that leads in a circle or cannot be followed is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_there(path: Path) -> bool:
    """Whether a file, a folder or a link is there, wherever the link leads."""
    return path.exists() if in_bucket(path) else os.path.lexists(path)


def state(status: os.stat_result | ObjectStatus) -> tuple[int, int | str]:
    """What tells that a file has changed: bytes, and time of change (ns) or the store's version."""
    if isinstance(status, ObjectStatus):
        return status.st_size, status.version
    return status.st_size, status.st_mtime_ns


def read_into(file: Path, sink: Any) -> Any:
    """Writes a file's content to what `sink()` makes, such as `hashlib.sha256`, by `update`."""
    remote = in_bucket(file)
    if remote:
        return remote.bucket.read(remote.key, lambda: _Updating(sink())).target
    target = sink()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            target.update(block)
    return target


class _Updating:
    def __init__(self, target: Any):
        self.target = target

    def write(self, data: bytes, /) -> None:
        self.target.update(data)


@contextmanager
def local_copies(root: Path, files: Iterable[str]) -> Iterator[Path]:
    """A folder of this machine with some files of a dataset.

    Args:
      root: the dataset's folder. On this machine it is yielded itself.
      files: POSIX paths relative to it, of files or of folders of pictures, which are one clip.
        What is not there is left out.
    """
    remote = in_bucket(root)
    if remote is None:
        yield root
        return
    with scratch_folder() as folder:
        for file in files:
            try:
                _download(remote / file, folder / file)
            except FileNotFoundError:
                # Its copy was begun before the store said that there is no such object.
                (folder / file).unlink(missing_ok=True)
                for entry in (remote / file).scan():
                    if entry.is_file():
                        _download(remote / file / entry.name, folder / file / entry.name)
        yield folder


@contextmanager
def local_copy(file: Path) -> Iterator[Path]:
    """A file of this machine with the content of a file; one of this machine itself.

    Raises:
      FileNotFoundError: there is no such object in the store.
    """
    remote = in_bucket(file)
    if remote is None:
        yield file
        return
    with scratch_folder() as folder:
        copy = folder / remote.name
        _download(remote, copy)
        yield copy


def _download(remote: BucketPath, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)

    def anew() -> IO[bytes]:
        # A new file: what an attempt before has not yet written must not land in this one's.
        copy.unlink(missing_ok=True)
        return copy.open("xb")

    with contextlib.closing(remote.bucket.read(remote.key, anew)):
        pass


@contextmanager
def written(path: Path, unfinished_in: Path | None = None, synced: bool = True) -> Iterator[Path]:
    """A new file of this machine that takes the place of `path` when it is complete.

    Several processes may write the same file: the last of them to end is read afterwards. An
    object store shows an upload when it is complete; on this machine the file lies beside `path`
    until then.

    Args:
      path: of the file.
      unfinished_in: where it lies until then, on the same disk; None for the folder of `path`.
      synced: whether its content reaches the disk before it is renamed. Without it a power failure
        can leave a file that is cut off, which its readers must notice.
    """
    remote = in_bucket(path)
    if remote:
        with scratch_folder() as folder:
            yield folder / "content"
            remote.bucket.write(remote.key, folder / "content")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes of other machines may have the same number.
    name = f".{path.name}.{secrets.token_hex(8)}.tmp"
    unfinished = (unfinished_in or path.parent) / name
    try:
        yield unfinished
        if synced:
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def replacing(path: Path, binary: bool = False) -> Iterator[IO[Any]]:
    """Opens a file for writing that takes its place only once it is complete; see `written`."""
    with written(path) as unfinished, _opened(unfinished, binary) as file:
        yield file


def _opened(file: Path, binary: bool) -> IO[Any]:
    return file.open("wb") if binary else file.open("w", newline="", **TEXT)


def delete_folder(folder: Path) -> None:
    """Deletes a folder with all that lies in it, if it is there."""
    remote = in_bucket(folder)
    if remote is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for entry in remote.bucket.entries(f"{remote.key}/"):
        remote.bucket.delete(entry.key)
