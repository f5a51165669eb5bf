"""Installed distributions by the names that are imported from them (`cv2` -> its wheel)."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import sys
from collections import defaultdict
from collections.abc import Iterable

_MISSING = "-"
# The package or module that a line of RECORD belongs to.
_TOP = re.compile(r"^([A-Za-z_]\w*)(?:/|\.py,|\.[\w-]+\.so,)", re.MULTILINE)


def library_versions(imports: Iterable[str]) -> list[str]:
    """The installed versions of the distributions that modules are imported from.

    Args:
      imports: dotted names as they are imported, such as `cv2` or `google.protobuf.text_format`.
        Modules of the standard library are left out.

    Returns:
      `distribution==version` of each, sorted. `-` stands for the version of what is not installed,
      which is named as it is imported: an optional library that is missing decides, too.
    """
    versions: set[str] = set()
    for module in imports:
        if module.partition(".")[0] in sys.stdlib_module_names:
            continue
        names = distributions_of(module)
        versions.update(f"{name}=={installed(name)}" for name in names)
        if not names:
            versions.add(f"{module.partition('.')[0]}=={_MISSING}")
    return sorted(versions)


@functools.cache
def installed(name: str) -> str:
    """The version of an installed distribution.

    Raises:
      importlib.metadata.PackageNotFoundError: it is not installed.
    """
    return importlib.metadata.version(name)


@functools.cache
def distributions_of(module: str) -> tuple[str, ...]:
    """The distributions that a module may come from, in normalized spelling.

    Several distributions share a name such as `google`. Of these only those count that hold what
    is named behind it, as far down as any of them does.

    Args:
      module: dotted name; its last parts may be a function or class.
    """
    top, *rest = module.split(".")
    files = dict(_files_by_name().get(top, ()))
    path = top
    for part in rest:
        if len(files) < 2:
            break
        path += f"/{part}"
        pattern = re.compile(rf"^{re.escape(path)}[/.]", re.MULTILINE)
        deeper = {
            import_name: record for import_name, record in files.items() if pattern.search(record)
        }
        if not deeper:
            break
        files = deeper
    return tuple(sorted({_normalized(distribution) for distribution in files}))


@functools.cache
def _files_by_name() -> dict[str, list[tuple[importlib.metadata.Distribution, str]]]:
    """Import name -> distributions, each with the list of its files.

    `importlib.metadata.packages_distributions` of Python 3.10 reads top_level.txt only, which the
    wheels of scipy, scikit-learn and matplotlib do not have.
    """
    names: dict[str, list[tuple[importlib.metadata.Distribution, str]]] = defaultdict(list)
    for distribution in importlib.metadata.distributions():
        record = distribution.read_text("RECORD") or ""
        tops = set(_TOP.findall(record)) | set(
            (distribution.read_text("top_level.txt") or "").split()
        )
        for top in tops:
            names[top].append((distribution, record))
    return dict(names)


@functools.cache
def _normalized(distribution: importlib.metadata.Distribution) -> str:
    return re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
