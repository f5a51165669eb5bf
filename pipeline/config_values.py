"""From YAML to nested frozen dataclasses: typos and wrong types are refused by name."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

import yaml

from preprocessing.support.errors import UsageError

Section = TypeVar("Section")


class _Loader(yaml.SafeLoader):
    """As SafeLoader, which takes the last of several equal keys without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        # Before `<<` is resolved: what a mapping says itself may override what it merges in.
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | None):
                continue  # Refused below, as a key that has no hash or is none of ours.
            line = key_node.start_mark.line + 1
            if key in seen:
                raise DuplicateKey(f"the key {key!r} stands in line {seen[key]} and in line {line}")
            seen[key] = line
        return super().construct_mapping(node, deep)


class DuplicateKey(yaml.YAMLError):
    """A mapping holds a key twice."""


def read_yaml(text: str) -> Any:
    """Plain values of a YAML text.

    Raises:
      yaml.YAMLError: it is not YAML, or a mapping in it holds a key twice (`DuplicateKey`).
    """
    return yaml.load(text, _Loader)  # noqa: S506, a SafeLoader.


def build(section: type, values: Any, where: str, prefix: str = "") -> Any:
    """Makes a dataclass of plain values.

    Args:
      section: the dataclass; fields that are dataclasses themselves are built in turn.
      values: key -> value; keys that are not there keep their default.
      where: what the values were read from, for messages.
      prefix: what stands before the keys, for messages.

    Raises:
      UsageError: a key that does not exist (the nearest known one is named), or a wrong type.
    """
    if not isinstance(values, dict):
        raise UsageError(f"{where}: {prefix or 'the file'} must hold `key: value` lines")
    hints = typing.get_type_hints(section)
    built = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in hints:
            raise UsageError(f"{where}: unknown key {name!r}{nearest(str(key), hints)}")
        if dataclasses.is_dataclass(hints[key]):
            built[key] = build(hints[key], value, where, f"{name}.")
        else:
            built[key] = _typed(hints[key], value, f"{where}: {name}")
    return section(**built)


def override(config: Section, text: str) -> Section:
    """A dataclass with one value changed.

    Args:
      config: the dataclass.
      text: `key=value` or `section.key=value`; the value is YAML.

    Raises:
      UsageError: as `build`, and for a text of another form.
    """
    key, equals, value_text = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: write it as section.key=value")
    try:
        value = read_yaml(value_text)
    except DuplicateKey as error:
        raise UsageError(f"--set {text}: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: {value_text!r} is not a YAML value") from error
    return _replace(config, key.strip().split("."), value, f"--set {key}")


def _replace(section: Any, path: list[str], value: Any, where: str) -> Any:
    hints = typing.get_type_hints(type(section))
    key, rest = path[0], path[1:]
    if key not in hints:
        raise UsageError(f"{where}: unknown key {key!r}{nearest(key, hints)}")
    nested = dataclasses.is_dataclass(hints[key])
    if nested and not rest:
        raise UsageError(f"{where}: {key!r} is a section; name a key in it, as in {key}.KEY=value")
    if rest and not nested:
        raise UsageError(f"{where}: {key!r} has no keys below it")
    if nested:
        new = _replace(getattr(section, key), rest, value, where)
    else:
        new = _typed(hints[key], value, where)
    return dataclasses.replace(section, **{key: new})


def _typed(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.GenericAlias):  # tuple[str, ...], tuple[float, ...]
        if not isinstance(value, list | tuple):
            raise UsageError(f"{where}: {value!r} is not a list; write [A, B]")
        return tuple(_typed(typing.get_args(hint)[0], item, where) for item in value)
    if hint is float:
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 as a string.
            try:
                value = float(value)
            except ValueError:
                pass
        elif isinstance(value, int) and not isinstance(value, bool):
            try:
                value = float(value)
            except OverflowError:
                value = math.inf
    if hint is str and value is None:
        value = ""
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        raise UsageError(f"{where}: {value!r} is not {kind[hint]}")
    if hint is float and not math.isfinite(value):
        raise UsageError(f"{where}: {value} is not a finite number")
    return value


def one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    """Refuses (UsageError) a value that is none of the known ones."""
    if value not in known:
        raise UsageError(
            f"{key}: {value!r} is not known{nearest(value, known)}; it may be {', '.join(known)}"
        )


def within(key: str, value: float, low: float, high: float) -> None:
    """Refuses (UsageError) a value outside of [low, high], and NaN."""
    if not low <= value <= high:
        raise UsageError(f"{key}: {value} is outside {low} to {high}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known: the known one that looks like it."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
