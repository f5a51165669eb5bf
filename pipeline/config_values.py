"""Reads YAML and `--set` texts as plain values; refuses keys given twice or misspelt."""

from __future__ import annotations

import json
from typing import Any, cast

import yaml

from preprocessing.support.errors import UsageError
from preprocessing.support.nearest import nearest
from preprocessing.support.section import Section, section_of


class _Loader(yaml.SafeLoader):
    """As SafeLoader, which takes the last of several equal keys without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        # Before `<<` is resolved: what a mapping says itself may override what it merges in.
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | None):
                continue  # Refused below, as a key that has no hash or is not known.
            line = key_node.start_mark.line + 1
            if key in lines:
                raise DuplicateKey(
                    f"the key {key!r} stands in line {lines[key]} and in line {line}"
                )
            lines[key] = line
        return super().construct_mapping(node, deep)


class DuplicateKey(yaml.YAMLError):
    """A mapping holds a key twice."""


def read_yaml(text: str) -> Any:
    """Plain values of a YAML text.

    Raises:
      yaml.YAMLError: it is not YAML, or a mapping in it holds a key twice (`DuplicateKey`).
    """
    return yaml.load(text, _Loader)  # noqa: S506, a SafeLoader.


def quoted(text: str) -> str:
    """A text in YAML's double quotes, which stand for exactly this text."""

    def escaped(character: str) -> str:
        # JSON writes these as two surrogates, which YAML reads as two characters.
        return f"\\U{ord(character):08x}" if character > "\uffff" else json.dumps(character)[1:-1]

    return f'"{"".join(map(escaped, text))}"'


def override(section: type[Section], values: Any, text: str, where: str) -> None:
    """Changes one value of a configuration that is not yet validated.

    Args:
      section: class of the configuration.
      values: plain values, which are changed.
      text: `key=value` or `section.key=value`; the value is YAML.
      where: source of the values, for messages.

    Raises:
      UsageError: a text of another form, or a key that does not exist (the nearest known one is
        named).
    """
    name, equals, value_text = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: write it as section.key=value")
    try:
        value = read_yaml(value_text)
    except DuplicateKey as error:
        raise UsageError(f"--set {text}: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: {value_text!r} is not a YAML value") from error
    path = name.strip().split(".")
    for place, key in enumerate(path):
        if not isinstance(values, dict):
            above = ".".join(path[:place]) or "the file"
            raise UsageError(f"{where}: {above} must hold `key: value` lines")
        if key not in section.model_fields:
            raise UsageError(
                f"--set {name}: unknown key {key!r}{nearest(key, section.model_fields)}"
            )
        nested, last = section_of(section.model_fields[key].annotation), place == len(path) - 1
        if nested and last:
            raise UsageError(
                f"--set {name}: {key!r} is a section; name a key in it, as in {key}.KEY=value"
            )
        if not nested and not last:
            raise UsageError(f"--set {name}: {key!r} has no keys below it")
        if last:
            values[key] = value
        else:
            # A section that `<<` merged in may be the same object in two places.
            below = values.get(key, {})
            values[key] = dict(below) if isinstance(below, dict) else below
            section, values = cast("type[Section]", nested), values[key]
