"""Object stores for TFX's own file functions, by the project's file layer.

TensorFlow's, which TFX takes otherwise, know no `s3://` without packages that few versions fit.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from typing import Any

from tfx.dsl.io import fileio, filesystem, filesystem_registry

from preprocessing.support.files import delete_folder, local_copy, place, replacing, scan, written
from preprocessing.support.storage.bucket import SCHEMES

_Path = str | bytes


def register() -> None:
    """Makes `tfx.dsl.io.fileio` of this process use `ObjectStores` for their URIs."""
    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(ObjectStores, priority=0)


class ObjectStores(filesystem.Filesystem):
    """TFX's interface of a file system; each method does what its name says."""

    SUPPORTED_SCHEMES = [f"{scheme}://" for scheme in SCHEMES]

    @staticmethod
    def open(name: _Path, mode: str = "r") -> Any:
        """A file to read, or one that is in the store once it is closed."""
        path = place(os.fsdecode(name))
        if mode.startswith("w"):
            return _Upload(os.fsdecode(name), "b" in mode)
        try:
            return path.open(mode)
        except FileNotFoundError as error:
            raise fileio.NotFoundError(str(error)) from error

    @staticmethod
    def copy(src: _Path, dst: _Path, overwrite: bool = False) -> None:
        """Through this machine."""
        source, target = place(os.fsdecode(src)), place(os.fsdecode(dst))
        if not overwrite and target.exists():
            raise OSError(f"{target} exists already")
        with local_copy(source) as copy, written(target) as file:
            copy.rename(file)

    @staticmethod
    def exists(path: _Path) -> bool:
        """An object or a folder."""
        return place(os.fsdecode(path)).exists()

    @staticmethod
    def glob(pattern: _Path) -> list[str]:
        """Patterns in the last two parts."""
        path = place(os.fsdecode(pattern))
        wild = 2 if any(mark in path.parent.name for mark in "*?[") else 1
        folder = path.parents[wild - 1]
        return sorted(str(found) for found in folder.glob(str(path.relative_to(folder))))

    @staticmethod
    def isdir(path: _Path) -> bool:
        """Whether an object lies below."""
        return place(os.fsdecode(path)).is_dir()

    @staticmethod
    def listdir(path: _Path) -> list[str]:
        """Names in a folder."""
        return sorted(entry.name for entry in scan(place(os.fsdecode(path))))

    @staticmethod
    def makedirs(path: _Path) -> None:
        """Nothing: a folder exists with what lies in it."""

    mkdir = makedirs

    @staticmethod
    def remove(path: _Path) -> None:
        """One object."""
        place(os.fsdecode(path)).unlink()

    @classmethod
    def rename(cls, src: _Path, dst: _Path, overwrite: bool = False) -> None:
        """One object, as a copy."""
        cls.copy(src, dst, overwrite)
        cls.remove(src)

    @staticmethod
    def rmtree(path: _Path) -> None:
        """All objects below."""
        delete_folder(place(os.fsdecode(path)))

    @staticmethod
    def stat(path: _Path) -> Any:
        """Size and time of an object."""
        return place(os.fsdecode(path)).stat()

    @classmethod
    def walk(
        cls, top: _Path, topdown: bool = True, onerror: Callable[..., None] | None = None
    ) -> Iterable[tuple[str, list[str], list[str]]]:
        """As `os.walk`."""
        folder = os.fsdecode(top)
        entries = sorted(scan(place(folder)), key=lambda entry: entry.name)
        here = (
            folder,
            [entry.name for entry in entries if entry.is_dir()],
            [entry.name for entry in entries if not entry.is_dir()],
        )
        if topdown:
            yield here
        for name in here[1]:
            yield from cls.walk(f"{folder.rstrip('/')}/{name}", topdown, onerror)
        if not topdown:
            yield here


class _Upload(io.BytesIO):
    """What is written to it is in the store once it is closed."""

    def __init__(self, uri: str, binary: bool):
        super().__init__()
        self._uri = uri
        self._binary = binary

    def write(self, data: Any, /) -> int:
        return super().write(data if self._binary else data.encode())

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:  # It is not complete.
            super().close()
        self.close()

    def close(self) -> None:
        if not self.closed:
            with replacing(place(self._uri), binary=True) as file:
                file.write(self.getvalue())
        super().close()
