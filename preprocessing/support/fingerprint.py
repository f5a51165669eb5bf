"""Digests of code and settings: what a cached result depends on, in one string."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

from preprocessing.support.import_closure import ROOT, closure_of
from preprocessing.support.libraries import library_versions


def code_digest(*entry_points: str, root: Path = ROOT) -> str:
    """Hashes all that modules run, so that a change of it changes the key of what they made.

    That is the modules of the project that they lead to (see `closure_of`) without comments,
    docstrings and formatting, the data files that these name, and the versions of the libraries
    that are imported on the way. Libraries that these import in turn do not count; a new version of
    one comes with `uv.lock`, whose environments are upgraded as a whole.

    The version of Python counts too, as in 3.10: its standard library is a library like others,
    and the form of syntax trees changes with it.

    Args:
      *entry_points: dotted names of modules, such as `components.trainer.run_fn`; a library's
        stands for that library.
      root: the folder that holds the packages.

    Returns:
      16 hex digits, the same wherever the project is installed.

    Raises:
      ModuleNotFoundError: an entry point, or a module of the project that is imported, is absent.
    """
    closure = closure_of(*entry_points, root=root)
    python = ".".join(platform.python_version_tuple()[:2])
    libraries = [*library_versions(closure.imports), f"python=={python}"]
    return settings_digest(closure.modules, closure.data, libraries)


def settings_digest(*settings: Any) -> str:
    """Hashes plain values (what JSON can hold); 16 hex digits."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
