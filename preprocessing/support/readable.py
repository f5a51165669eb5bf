"""Folders that another user wrote, as on a volume that containers share."""

from __future__ import annotations

import os
from pathlib import Path

from preprocessing.support.errors import UsageError

_LIST = os.R_OK | os.X_OK


def check_readable(folder: Path) -> None:
    """Refuses a folder that this user may not read.

    Args:
      folder: is there; it and the folders in it are looked at.

    Raises:
      UsageError: one of them cannot be listed.
    """
    inner = folder.iterdir() if os.access(folder, _LIST) else ()
    for path in (folder, *filter(os.path.isdir, inner)):
        if not os.access(path, _LIST):
            user = os.geteuid()
            raise UsageError(
                f"{path} may not be read by the user {user} of this process: give it to that user "
                f"(chown -R {user} FOLDER), or let everybody read it (chmod -R o+rX FOLDER)"
            )
