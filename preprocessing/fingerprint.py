"""Digests of code and settings: what a cached result depends on, in one string."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from preprocessing.support.versions import result_libraries

_ROOT = Path(__file__).resolve().parent.parent


def code_digest(sources: Iterable[str]) -> str:
    """Hashes source files, so that a change of the code changes the key of what it made.

    The versions of the libraries that decide results are hashed too.

    Args:
      sources: paths of Python files or of folders (all .py files below), relative to the folder
        that holds the packages, such as `components/trainer`.

    Returns:
      16 hex digits. File names count too; bytecode, comments' authors and times do not.

    Raises:
      FileNotFoundError: one of them does not exist (a renamed file must not be forgotten).
    """
    digest = hashlib.sha256(result_libraries().encode())
    for source in sorted(sources):
        path = _ROOT / source
        if not path.exists():
            raise FileNotFoundError(f"no source {source} to take the digest of")
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            digest.update(str(file.relative_to(_ROOT)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def settings_digest(*settings: Any) -> str:
    """Hashes plain values (what JSON can hold); 16 hex digits."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
