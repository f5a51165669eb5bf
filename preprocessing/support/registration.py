"""Packages whose modules register what they define, so that a new one touches no other file."""

from __future__ import annotations

import functools
import importlib
import pkgutil


@functools.cache
def import_modules(package: str) -> None:
    """Imports each module of a package, once in the life of a process.

    Args:
      package: dotted name.
    """
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
