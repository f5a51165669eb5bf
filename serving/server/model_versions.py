"""The state of each version of a model, and the versions on disk."""

from __future__ import annotations

import dataclasses
import enum
import os
from pathlib import Path
from typing import Any

from serving.server.status_codes import Code

# Ended versions that status still shows; a server that swaps for months must not grow.
_REMEMBERED = 32


class State(enum.IntEnum):
    """ModelVersionStatus.State of tensorflow_serving/apis/get_model_status.proto."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass
class ModelVersion:
    """One version of one model.

    Attributes:
      number: number of the version.
      state: state of its life.
      code: OK, or why it is where it is.
      message: `code` in a sentence.
      servable: loaded model, from AVAILABLE until the last request left.
      users: requests that hold the servable.
      fingerprint: fingerprint of the files that failed to load, so that changed files are tried
        again.
      attempts: number of times that these files failed.
      retry_at: `time.monotonic` reading when they are tried again.
    """

    number: int
    state: State = State.START
    code: Code = Code.OK
    message: str = ""
    servable: Any = None
    users: int = 0
    fingerprint: tuple = ()
    attempts: int = 0
    retry_at: float = 0.0

    def set(self, state: State, code: Code = Code.OK, message: str = "") -> None:
        """Moves on; what status shows."""
        self.state, self.code, self.message = state, code, message


def list_versions(base_path: str) -> tuple[dict[int, Path], str]:
    """The version folders below a base path: those whose names are numbers, zeros before or not.

    Args:
      base_path: the folder that they are in.

    Returns:
      The folders by version, and what is to be said about folders of the same version (`7` and
      `007`): the last by name counts.

    Raises:
      OSError: the folder cannot be listed.
    """
    folders: dict[int, Path] = {}
    ignored = []
    with os.scandir(base_path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            decimal = entry.name.isascii() and entry.name.isdigit()
            number = int(entry.name) if decimal else -1
            if 0 <= number < 1 << 63 and entry.is_dir():  # int64
                if number in folders:
                    ignored.append(f"{folders[number].name} is ignored beside {entry.name}")
                folders[number] = Path(entry.path)
    return folders, "; ".join(ignored)


def fingerprint(folder: Path) -> tuple:
    """Names, sizes and times of all files of a version; changes when any of them does."""
    entries = []
    for root, _, names in os.walk(folder):
        for name in names:
            file = Path(root) / name
            try:
                status = file.stat()
            except OSError:  # It went away in between; the next look sees that.
                continue
            entries.append((str(file), status.st_size, status.st_mtime_ns))
    return tuple(sorted(entries))


def forget_ended(versions: dict[int, ModelVersion], on_disk: dict[int, Path]) -> None:
    """Drops the oldest ended versions that are gone from disk."""
    ended = [
        number
        for number, version in versions.items()
        if version.state is State.END and number not in on_disk
    ]
    for number in sorted(ended)[:-_REMEMBERED]:
        del versions[number]
