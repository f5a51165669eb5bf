"""Writes the configuration reference, docs/configuration.md, from the classes: `make docs`.

python -m pipeline.config_reference > docs/configuration.md
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from pipeline.config import Config
from preprocessing.support.section import Section, choices_of, limits_of, section_of

_HEAD = """# Configuration

Every key of a preset or a configuration file, made from the classes by `make docs`. A key is set
in YAML, or by `--set SECTION.KEY=VALUE`, which may be given several times; unknown keys, values of
another type and values out of range are refused. The reasons for defaults and limits stand beside
the keys in the named modules.
"""
_TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def reference() -> str:
    """The reference as Markdown."""
    return "\n".join([_HEAD, *_of_section(Config, "")])


def _of_section(section: type[Section], key: str, description: str = "") -> Iterator[str]:
    """Heading and table of a section, then those of the sections in it."""
    yield f"## `{key}`" if key else "## Top level"
    yield ""
    about = filter(None, [inspect.cleandoc(section.__doc__ or ""), description])
    yield f"{' '.join(about)} (`{section.__module__}`)"
    yield ""
    yield "| key | values | default | meaning |"
    yield "|---|---|---|---|"
    nested = []
    for field_name, field in section.model_fields.items():
        below = section_of(field.annotation)
        if below:
            path = f"{key}.{field_name}" if key else field_name
            nested.append((below, path, field.description or ""))
        else:
            cells = (f"`{field_name}`", _values(field), _default(field), field.description or "")
            yield f"| {' | '.join(_cell(cell) for cell in cells)} |"
    yield ""
    for below, path, words in nested:
        yield from _of_section(below, path, words)


def _values(field: FieldInfo) -> str:
    """What a key may hold."""
    annotation: Any = field.annotation
    is_list = typing.get_origin(annotation) is tuple
    if choices := choices_of(annotation):
        text = ", ".join(f"`{choice}`" for choice in choices)
    else:
        kind = typing.get_args(annotation)[0] if is_list else annotation
        kind = getattr(kind, "__origin__", kind)
        text = _TYPES[kind]
        low, high = limits_of(annotation, field.metadata)
        if low is not None:
            text = f"{text}, {low:g} to {high:g}" if kind is float else f"{text}, {low} to {high}"
    return f"list: {text}" if is_list else text


def _default(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, str):
        return f"`{default}`" if default else "empty"
    return f"`{json.dumps(default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
