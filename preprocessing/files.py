"""Hashes of clips, remembered between runs, and text files that are complete or absent."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from preprocessing import progress
from preprocessing.datasets.clip import Clip, Problem

# Names that are not UTF-8 come from Python's file functions with surrogates in them.
TEXT = {"encoding": "utf-8", "errors": "surrogateescape"}
_READ_SIZE = 1 << 20


def hash_clips(
    root: Path, clips: Iterable[Clip], cache_path: Path | None = None
) -> tuple[list[Clip], list[Problem]]:
    """Fills in `sha256` and `size` of clips.

    Args:
      root: the dataset's folder.
      clips: its clips.
      cache_path: JSON file that remembers hashes by path, size and time of change; it may be
        absent, broken or read-only, which costs time only.

    Returns:
      The clips in the same order, without those whose file cannot be opened, and these.
    """
    clips = list(clips)
    cache = _read_cache(cache_path)
    fresh: dict[str, list[int | str]] = {}
    hashed, problems = [], []
    try:
        for number, clip in enumerate(clips, start=1):
            file = root / clip.path
            try:
                status = file.stat()
                if not stat.S_ISREG(status.st_mode):  # Opening a pipe would wait for ever.
                    problems.append(Problem(clip.path, "not a regular file"))
                    continue
                key, state = os.path.abspath(file), [status.st_size, status.st_mtime_ns]
                known = cache.get(key)
                if known and known[:2] == state:
                    if not os.access(file, os.R_OK):
                        raise PermissionError(13, "Permission denied")
                    sha256 = known[2]
                else:
                    sha256 = _sha256(file)
                    progress.report("hash", number, len(clips), "clips")
            except OSError as error:
                problems.append(Problem(clip.path, f"cannot be opened: {error.strerror}"))
                continue
            fresh[key] = [*state, sha256]
            hashed.append(replace(clip, sha256=sha256, size=status.st_size))
    finally:  # What is hashed stays hashed, also when the user stops a long run.
        if cache_path and not fresh.items() <= cache.items():
            with suppress(OSError), replacing(cache_path) as out:  # Without it, only time is lost.
                json.dump({**cache, **fresh}, out)
    return hashed, problems


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while block := opened.read(_READ_SIZE):
            digest.update(block)
    return digest.hexdigest()


def _read_cache(path: Path | None) -> dict[str, list[int | str]]:
    try:
        cache = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return {
            key: [int(size), int(mtime), str(sha256)]
            for key, (size, mtime, sha256) in cache.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """Opens a text file for writing that takes its place only once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", newline="", **TEXT) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp's 0600 would hide it from other users of the store.
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
