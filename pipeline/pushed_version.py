"""The version that a run pushed, or that an earlier run pushed where Pusher's result is reused."""

from __future__ import annotations

import shlex
from pathlib import Path

from serving.model.card import version_folders


def next_step(version: Path) -> str:
    """What a person may do with a pushed version: a command as they would type it here.

    Args:
      version: folder of the version.
    """
    base = version.resolve().parent
    shown = base.relative_to(Path.cwd()) if base.is_relative_to(Path.cwd()) else base
    highest = max(version_folders(base), default=0)
    if highest > int(version.name):
        command = f"deepfake rollback {shlex.quote(str(shown))} --to {int(version.name)}"
        return (
            f"version {highest} beside it is higher, and is the one that is served; to have this "
            f"one served: {command}"
        )
    return f"ask the model in a browser: deepfake up {shlex.quote(str(shown))}"
