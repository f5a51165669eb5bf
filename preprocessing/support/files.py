"""Files that are complete or absent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypedDict


class _Text(TypedDict):
    """Arguments of `open`."""

    encoding: str
    errors: str


# Names that are not UTF-8 come from Python's file functions with surrogates in them.
TEXT: _Text = {"encoding": "utf-8", "errors": "surrogateescape"}


@contextmanager
def replacing(path: Path, binary: bool = False) -> Iterator[IO[Any]]:
    """Opens a file for writing that takes its place only once it is complete.

    Several processes may write the same file: the last of them to end is read afterwards.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") if binary else _text(handle) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o644)  # mkstemp's 0600 would hide it from other users of the store.
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink()
        raise


def _text(handle: int) -> IO[str]:
    return os.fdopen(handle, "w", newline="", **TEXT)
