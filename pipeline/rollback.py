"""Has servers serve an earlier version, or any other that is there, for `deepfake rollback`.

TensorFlow Serving's policy `latest` serves the highest number, and Pusher numbers versions by the
time of the push. So the version to serve is copied to the number that a push would have now.
Were the newest renamed or moved instead, the metadata store would keep the address of a push that
is not there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from preprocessing.support.errors import UsageError
from preprocessing.support.output_lock import locked
from serving.model.card import version_folders

# In the copy, beside the card; TensorFlow Serving leaves the folder alone.
MARKER = "assets.extra/deepfake_rollback.json"
# Between versions, names of what is not finished; no server takes them for a version.
_UNFINISHED = ".rollback-"


@dataclasses.dataclass(frozen=True)
class Rollback:
    """What was done.

    Attributes:
      served: number of the copy, the highest now.
      copy_of: number of the version that was copied; of a copy, that of which it is one.
      instead_of: number of the version that was the highest before.
    """

    served: int
    copy_of: int
    instead_of: int

    def text(self) -> str:
        """A sentence for people."""
        return (
            f"version {self.served}, a copy of version {self.copy_of}, is the highest now and is "
            f"served instead of version {self.instead_of}, whose folder stays as it is"
        )


def roll_back(model_base: str | Path, to: int | None = None) -> Rollback:
    """Copies a version to a number above all others.

    Args:
      model_base: folder of version folders.
      to: number of the version, any that is there; None for the version that was served before the
        newest. Where the newest is such a copy itself, that is the one that was served before the
        version that was copied.

    Returns:
      What was done; the copy is complete when it appears.

    Raises:
      UsageError: no folder, no version, none before the newest, none of the number `to`, or one
        that is the newest already; or the copy cannot be written.
    """
    base = Path(model_base)
    if not base.is_dir():
        raise UsageError(
            f"{model_base} is not a folder on this machine; give the folder of versions that "
            "`deepfake run` pushed to (OUTPUT/models/NAME)"
        )
    with locked(base.resolve(), "a rollback", otherwise=""):
        folders = version_folders(base)
        if not folders:
            raise UsageError(
                f"{model_base} holds no version of a model; give the folder of versions that "
                "`deepfake run` pushed to (OUTPUT/models/NAME)"
            )
        newest = max(folders)
        version = _version_before(base, folders) if to is None else _given(base, folders, to)
        copy_of = _copied(folders[version]) or version
        done = Rollback(max(int(time.time()), newest + 1), copy_of, newest)
        _copy(base, folders[version], done)
    return done


def _version_before(base: Path, folders: Mapping[int, Path]) -> int:
    """The version that was served before the one that is served, or before the one it copies.

    That may be a copy itself: between the push of what it is a copy of and this copy lie the
    versions that were withdrawn.
    """
    newest = max(folders)
    shown = _copied(folders[newest]) or newest
    before = [number for number in folders if number < shown]
    if not before:
        raise UsageError(
            f"{base} holds no version before {shown}, so there is none to go back to; "
            "push another one"
        )
    return max(before)


def _given(base: Path, folders: Mapping[int, Path], version: int) -> int:
    """The version that was asked for by its number."""
    if version not in folders:
        numbers = ", ".join(map(str, sorted(folders)))
        raise UsageError(f"--to: {base} holds no version {version}; give one of {numbers}")
    if version == max(folders):
        raise UsageError(
            f"--to: version {version} is the highest in {base}, and is served already; give "
            "another one"
        )
    return version


def _copied(version: Path) -> int | None:
    """The version that one is a copy of; None for one that was pushed."""
    path = version / MARKER
    if not path.exists():
        return None
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["copy_of"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} does not say which version was copied ({error}); move the folder {version} "
            "out of the way and call it again"
        ) from error


def _copy(base: Path, version: Path, done: Rollback) -> None:
    waiting: Path | None = None
    try:
        waiting = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=base))
        copy = waiting / "version"
        shutil.copytree(version, copy)
        marker = copy / MARKER
        marker.parent.mkdir(exist_ok=True)
        marker.write_text(json.dumps(dataclasses.asdict(done)) + "\n", encoding="utf-8")
        copy.rename(base / str(done.served))
    except (OSError, shutil.Error) as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(
            f"version {version.name} in {base} cannot be copied ({reason}); make room, or the "
            "folder writable, and call it again"
        ) from error
    finally:
        if waiting:
            shutil.rmtree(waiting, ignore_errors=True)
