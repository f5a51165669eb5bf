"""The import closure of a module: project modules, data files and libraries that it needs.

The modules are read, not imported, so that a cache key costs neither TensorFlow nor TFX.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import preprocessing

# The folder that holds the packages: a checkout, or site-packages.
ROOT = Path(preprocessing.__file__).resolve().parent.parent
# Whose imports are followed; everything else is a library.
PACKAGES = ("preprocessing", "serving", "components", "pipeline", "benchmarks")

# Fields that are no syntax nodes, such as names, and what is absent.
_PLAIN = frozenset([str, int, bool, type(None)])
# Loading or storing: the place in the statement tells.
_CONTEXTS = frozenset([ast.Load, ast.Store, ast.Del])
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_FILE_NAME = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*")


@dataclasses.dataclass(frozen=True)
class Closure:
    """All that an entry point leads to.

    Attributes:
      modules: name of each module of the project -> SHA-256, in hex, of its meaning.
      data: path of each data file, relative to the root -> SHA-256, in hex, of its bytes.
      imports: dotted names that are imported from elsewhere, libraries and standard library alike.
    """

    modules: dict[str, str]
    data: dict[str, str]
    imports: frozenset[str]


def closure_of(*entry_points: str, root: Path = ROOT) -> Closure:
    """Follows the imports of modules.

    What counts as an import:

    - `import` and `from` statements, relative ones and those inside functions too. Under
      `if TYPE_CHECKING` they do not count, since nothing is imported when the program runs.
    - The `__init__.py` of the packages above a module.
    - A string that names a module of the project, or something in one: child processes run
      `python -m serving.server` (its `__main__.py` counts as well), and TFX is told functions by
      their dotted names.
    - A string that names a data file or a folder of data files beside the module: templates,
      schemas, weights.

    Args:
      *entry_points: dotted names of modules. A module of a library stands for that library.
      root: the folder that holds the packages.

    Raises:
      ModuleNotFoundError: an entry point, or a module of the project that is imported, is absent.
    """
    tree = _Tree(root)
    modules: dict[str, str] = {}
    data: dict[str, str] = {}
    imports: set[str] = set()
    pending = [(name, "") for name in entry_points]
    while pending:
        name, importer = pending.pop()
        if name in modules:
            continue
        if name.partition(".")[0] not in PACKAGES:
            imports.add(name)
            continue
        path = tree.module(name)
        if path is None:
            raise ModuleNotFoundError(
                f"there is no module {name}" + (f", which {importer} imports" if importer else "")
            )
        source = _read(path.read_bytes(), str(path))
        modules[name] = source.digest
        pending += [(target, name) for target in tree.targets(source, name, path)]
        for file in tree.data_files(source, path):
            data[file.relative_to(root).as_posix()] = _sha256(file.read_bytes())
    return Closure(modules, data, frozenset(imports))


class _Tree:
    """The project's files; each folder is listed once."""

    def __init__(self, root: Path):
        self._root = root
        self._names: dict[str, frozenset[str]] = {}

    def module(self, name: str) -> Path | None:
        """The file of a module of the project; None where there is none."""
        if name.partition(".")[0] not in PACKAGES:
            return None
        *above, last = name.split(".")
        folder = "/".join([str(self._root), *above])
        names = self._names_in(folder)
        if last in names and "__init__.py" in self._names_in(f"{folder}/{last}"):
            return Path(folder, last, "__init__.py")
        return Path(folder, f"{last}.py") if f"{last}.py" in names else None

    def targets(self, source: _Source, name: str, path: Path) -> Iterator[str]:
        """All that a module imports or names: modules of the project, and what libraries have."""
        above = name.rpartition(".")[0]
        if above:
            yield above
        for module, names in source.imports_from(name if path.name == "__init__.py" else above):
            imported = [f"{module}.{name}" for name in names]
            if module.partition(".")[0] in PACKAGES:
                # What is taken from a module of ours may be a module, or an attribute of it.
                yield module
                yield from filter(self.module, imported)
            else:
                # All of `google` would be the libraries of many; what is taken tells which.
                yield from imported or [module]
        for text in source.texts:
            yield from self._modules_named(text)

    def data_files(self, source: _Source, path: Path) -> Iterator[Path]:
        """The data files that a module names: beside it, or all of a folder there."""
        folder = path.parent
        for text in source.texts:
            target = folder / text
            if text.partition("/")[0] not in self._names_in(str(folder)):
                continue
            if target.is_file() and target.suffix != ".py":
                yield target
            elif target.is_dir() and "__init__.py" not in self._names_in(str(target)):
                yield from (f for f in target.rglob("*") if f.is_file() and f.suffix != ".pyc")

    def _modules_named(self, text: str) -> list[str]:
        """The module that a dotted text names, by itself or with a function or class behind it."""
        if not _DOTTED.fullmatch(text):
            return []
        for name in (text, text.rpartition(".")[0]):
            if "." in name and (path := self.module(name)):
                runs = path.name == "__init__.py" and self.module(f"{name}.__main__")
                return [name, f"{name}.__main__"] if runs else [name]
        return []

    def _names_in(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                names = os.listdir(folder)  # noqa: PTH208  A Path for each name takes time.
                self._names[folder] = frozenset(names)
            except (FileNotFoundError, NotADirectoryError):
                self._names[folder] = frozenset()
        return self._names[folder]


@dataclasses.dataclass(frozen=True)
class _Source:
    """What a source file says, whatever its formatting.

    Attributes:
      digest: SHA-256 of the syntax tree without comments and docstrings.
      statements: (module, dots before it, names behind `import`) of each import statement.
      texts: strings that may name modules or files.
    """

    digest: str
    statements: tuple[tuple[str, int, tuple[str, ...]], ...]
    texts: frozenset[str]

    def imports_from(self, package: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Absolute names of the imported modules, and the names taken from each."""
        for module, level, names in self.statements:
            if level:
                above = package.split(".")[: len(package.split(".")) - level + 1]
                module = ".".join([*above, module] if module else above)
            yield module, names


@functools.cache
def _read(source: bytes, path: str) -> _Source:
    """Reads a source file; the same bytes are read once in a process."""
    reader = _Reader()
    reader.visit(ast.parse(source, path))
    return _Source(
        _sha256("\n".join(reader.form).encode("utf-8", "surrogatepass")),
        tuple(reader.statements),
        frozenset(reader.texts),
    )


class _Reader:
    """Walks a syntax tree once, for its written form and for what it imports.

    `ast.dump` would give the same form, in three times the time.
    """

    def __init__(self) -> None:
        self.form: list[str] = []
        self.statements: list[tuple[str, int, tuple[str, ...]]] = []
        self.texts: set[str] = set()
        self._imports_count = True

    def visit(self, node: ast.AST) -> None:
        kind = node.__class__
        self.form.append(kind.__name__)
        if isinstance(node, ast.Constant):
            self._see_constant(node.value)
            return
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self._see_import(node)
        for field in kind._fields:
            value: Any = getattr(node, field, None)
            if value.__class__ is list:
                checks = isinstance(node, ast.If) and field == "body" and _checks_types(node)
                self._visit_all(value, checks)
            elif value.__class__ in _PLAIN:
                self.form.append(repr(value))
            elif value.__class__ not in _CONTEXTS:
                self.visit(value)

    def _visit_all(self, values: list[Any], type_checking: bool) -> None:
        before = self._imports_count
        self._imports_count = before and not type_checking
        self.form.append("[")
        for value in values:
            if value.__class__ in _PLAIN:
                self.form.append(repr(value))
            elif not (value.__class__ is ast.Expr and _is_text(value.value)):
                self.visit(value)
        self.form.append("]")
        self._imports_count = before

    def _see_import(self, node: ast.Import | ast.ImportFrom) -> None:
        if not self._imports_count:
            return
        if isinstance(node, ast.Import):
            self.statements += [(alias.name, 0, ()) for alias in node.names]
        else:
            names = tuple(alias.name for alias in node.names)
            self.statements.append((node.module or "", node.level, names))

    def _see_constant(self, value: object) -> None:
        self.form.append(repr(value))
        text = value if isinstance(value, str) and len(value) < 200 else ""
        if _DOTTED.fullmatch(text) or _FILE_NAME.fullmatch(text):
            self.texts.add(text)


def _is_text(node: ast.AST) -> bool:
    """Of a statement: a docstring, or a string elsewhere, which does nothing either."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _checks_types(node: ast.If) -> bool:
    test = node.test
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
