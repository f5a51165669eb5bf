"""Hashes of clips, remembered between runs."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from preprocessing.datasets.clip import Clip, Problem
from preprocessing.media.frame_folder import frame_files
from preprocessing.media.picture_names import picture_name
from preprocessing.support import progress
from preprocessing.support.files import in_bucket, read_into, replacing, state

# Disks that serve several readers at once gain most from the first few; more only thrash others.
_THREADS = min(8, 2 * (os.cpu_count() or 1))

# How the file of a part ends.
_PART = re.compile(r"-\d+-of-\d+$")

# Size in bytes, time of change in nanoseconds or an object store's version, SHA-256 in hex.
_Known = tuple[int, int | str, str]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def hash_clips(
    root: Path, clips: Iterable[Clip], cache_path: Path | None = None
) -> tuple[list[Clip], list[Problem]]:
    """Fills in `sha256` and `size` of clips, with several threads.

    The hash of a clip of several pictures covers their hashes, and the numbers of frame and face in
    their names; of pictures without such numbers the names.

    Args:
      root: the dataset's folder.
      clips: its clips.
      cache_path: JSON file that remembers hashes by path, size and time of change; it may be
        absent, broken or read-only, which costs time only. What files beside it remember, those of
        parts (`hashes-3-of-8.json` beside `hashes.json`), is known as well.

    Returns:
      The clips in the same order, without those whose file cannot be opened, and these.
    """
    clips = list(clips)
    cache = _read_cache(cache_path)
    new_entries: dict[str, _Known] = {}
    hashed, problems = [], []
    try:
        results = _in_threads(lambda clip: _hash(root, clip, cache), clips)
        for number, (clip, result) in enumerate(zip(clips, results, strict=True), start=1):
            if isinstance(result, Problem):
                problems.append(result)
                continue
            if any(entry not in cache.get(key, ()) for key, entry in result.files.items()):
                progress.report("hash", number, len(clips), "clips")
            new_entries.update(result.files)
            hashed.append(replace(clip, sha256=result.sha256, size=result.size))
    finally:  # What is hashed stays hashed, also when the user stops a long run.
        remembered = _entries(cache_path) if cache_path else {}
        if cache_path and not new_entries.items() <= remembered.items():
            with suppress(OSError), replacing(cache_path) as out:  # Without it, only time is lost.
                json.dump({**remembered, **new_entries}, out)
    return hashed, problems


def known_clips(root: Path, clips: Iterable[Clip], cache_path: Path | None) -> list[Clip]:
    """The clips whose hashes are remembered, with them; no clip is read."""
    cache = _read_cache(cache_path)
    known = []
    for clip in clips:
        try:
            result = _hash(root, clip, cache, read=False)
        except _NotRemembered:
            continue
        if isinstance(result, _Hashed):
            known.append(replace(clip, sha256=result.sha256, size=result.size))
    return known


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


def _hash(
    root: Path, clip: Clip, cache: Mapping[str, Sequence[_Known]], read: bool = True
) -> _Hashed | Problem:
    """Hash of a file or of a clip's pictures, or which of them cannot be read and why.

    Raises:
      _NotRemembered: a hash is not known, and nothing shall be read.
    """
    path = clip.path
    files = {}
    try:
        digest = hashlib.sha256()
        for path in files_of(root, clip):
            key, entry = _hash_file(root / path, cache, read)
            files[key] = entry
            digest.update(f"{_place_of(path)} {entry[2]}\n".encode("utf-8", "surrogateescape"))
    except _NotRegular:
        return Problem(path, "not a regular file")
    except OSError as error:
        return Problem(path, f"cannot be opened: {error.strerror}")
    hashes = [sha256 for _, _, sha256 in files.values()]
    # One picture has the file's own hash, so that copies under other names are found.
    sha256 = hashes[0] if len(hashes) == 1 else digest.hexdigest()
    return _Hashed(sha256, sum(size for size, _, _ in files.values()), files)


def _place_of(path: str) -> str:
    """What places a picture within its clip; the clip's own name has no part in it."""
    file = PurePosixPath(path)
    parsed = picture_name(file)
    return file.name if parsed.frame is None else f"{parsed.frame} {parsed.face}"


def files_of(root: Path, clip: Clip) -> Sequence[str]:
    """POSIX paths of the clip's files, relative to the dataset's folder."""
    if clip.frames:
        return clip.frames
    if (root / clip.path).is_dir():
        return [f"{clip.path}/{file.name}" for file in frame_files(root / clip.path)]
    return (clip.path,)


class _NotRegular(Exception):
    pass


class _NotRemembered(Exception):
    pass


def _hash_file(file: Path, cache: Mapping[str, Sequence[_Known]], read: bool) -> tuple[str, _Known]:
    """The file's key in the cache, and (size, time of change or version, hash)."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):  # Opening a pipe would wait for ever.
        raise _NotRegular
    now = state(status)
    remote = in_bucket(file)
    key = str(file) if remote else os.path.abspath(file)  # noqa: PTH100  absolute() keeps `..`.
    for entry in cache.get(key, ()):
        if (entry[0], entry[1]) == now:
            if not remote and not os.access(file, os.R_OK):
                raise PermissionError(13, "Permission denied")
            return key, entry
    if not read:
        raise _NotRemembered
    return key, (*now, _sha256(file))


def _sha256(file: Path) -> str:
    # Reading and hashing let other threads work.
    return str(read_into(file, hashlib.sha256).hexdigest())


def _read_cache(path: Path | None) -> dict[str, list[_Known]]:
    """What a file remembers, and those beside it that belong to parts.

    Each file's own: one of them may have seen a clip before it changed, and another after that.
    """
    if path is None:
        return {}
    whole = path.with_name(f"{_PART.sub('', path.stem)}.json")
    parts = sorted(path.parent.glob(f"{glob.escape(whole.stem)}-*-of-*.json"))
    known: dict[str, list[_Known]] = {}
    for file in dict.fromkeys((path, whole, *parts)):
        for key, entry in _entries(file).items():
            known.setdefault(key, []).append(entry)
    return known


def _entries(path: Path) -> dict[str, _Known]:
    try:
        return {
            key: (int(size), changed if isinstance(changed, str) else int(changed), str(sha256))
            for key, (size, changed, sha256) in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
