"""Puts an exported model back where it was deleted, from a copy of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from serving.model.card import SAVED_MODEL


def restore(model: Path, copy: Path) -> bool:
    """Puts a model back that was deleted, wholly or in part; it is complete when it appears.

    Args:
      model: the folder that held `saved_model.pb`.
      copy: a folder with the same files.

    Returns:
      Whether it had to be put back.

    Raises:
      OSError: it cannot be copied.
    """
    if (model / SAVED_MODEL).is_file():
        return False
    unfinished = model.with_name(f"{model.name}.unfinished")
    for folder in (unfinished, model):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(copy, unfinished)
    unfinished.rename(model)
    return True
