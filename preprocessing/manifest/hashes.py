"""Hashes of clips, remembered between runs."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from preprocessing.datasets.clip import Clip, Problem
from preprocessing.media.frame_folder import frame_files
from preprocessing.support import progress
from preprocessing.support.files import replacing

_READ_SIZE = 1 << 20
# Disks that serve several readers at once gain most from the first few; more only thrash others.
_THREADS = min(8, 2 * (os.cpu_count() or 1))

# Size in bytes, time of change in nanoseconds, SHA-256 in hex.
_Known = tuple[int, int, str]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def hash_clips(
    root: Path, clips: Iterable[Clip], cache_path: Path | None = None
) -> tuple[list[Clip], list[Problem]]:
    """Fills in `sha256` and `size` of clips, with several threads.

    The hash of a folder of frames covers the names and hashes of the files in it.

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
    fresh: dict[str, _Known] = {}
    hashed, problems = [], []
    try:
        results = _in_threads(lambda clip: _hash(root / clip.path, cache), clips)
        for number, (clip, result) in enumerate(zip(clips, results, strict=True), start=1):
            if isinstance(result, str):
                problems.append(Problem(clip.path, result))
                continue
            if any(cache.get(key) != known for key, known in result.files.items()):
                progress.report("hash", number, len(clips), "clips")
            fresh.update(result.files)
            hashed.append(replace(clip, sha256=result.sha256, size=result.size))
    finally:  # What is hashed stays hashed, also when the user stops a long run.
        if cache_path and not fresh.items() <= cache.items():
            with suppress(OSError), replacing(cache_path) as out:  # Without it, only time is lost.
                json.dump({**cache, **fresh}, out)
    return hashed, problems


@dataclass(frozen=True)
class _Hashed:
    sha256: str
    size: int
    files: dict[str, _Known]


def _in_threads(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """The results in the order of the items; few items are begun ahead of the one waited for."""
    pool = ThreadPoolExecutor(_THREADS)
    try:
        begun: deque[Future[_Result]] = deque()
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > 2 * _THREADS:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _hash(path: Path, cache: Mapping[str, _Known]) -> _Hashed | str:
    """Hash of a file or of a folder of frames, or why it cannot be read."""
    try:
        if not path.is_dir():
            key, known = _hash_file(path, cache)
            return _Hashed(known[2], known[0], {key: known})
        digest = hashlib.sha256()
        files = {}
        size = 0
        for file in frame_files(path):
            key, known = _hash_file(file, cache)
            files[key] = known
            size += known[0]
            digest.update(f"{file.name} {known[2]}\n".encode("utf-8", "surrogateescape"))
        return _Hashed(digest.hexdigest(), size, files)
    except _NotRegular:
        return "not a regular file"
    except OSError as error:
        return f"cannot be opened: {error.strerror}"


class _NotRegular(Exception):
    pass


def _hash_file(file: Path, cache: Mapping[str, _Known]) -> tuple[str, _Known]:
    """The file's key in the cache, and (size, time of change, hash)."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):  # Opening a pipe would wait for ever.
        raise _NotRegular
    key = os.path.abspath(file)  # noqa: PTH100  Path.absolute() keeps `..`.
    known = cache.get(key)
    if known and (known[0], known[1]) == (status.st_size, status.st_mtime_ns):
        if not os.access(file, os.R_OK):
            raise PermissionError(13, "Permission denied")
        return key, known
    return key, (status.st_size, status.st_mtime_ns, _sha256(file))


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_READ_SIZE):  # Reading and hashing let other threads work.
            digest.update(block)
    return digest.hexdigest()


def _read_cache(path: Path | None) -> dict[str, _Known]:
    try:
        cache = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return {
            key: (int(size), int(mtime), str(sha256))
            for key, (size, mtime, sha256) in cache.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
