"""Fills the templates in `templates/`; every text is escaped by them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2

_FOLDER = Path(__file__).parent / "templates"


def fill(template: str, **values: Any) -> str:
    """Fills a template.

    Args:
      template: its file name.
      **values: what it is given. Texts are escaped, `markupsafe.Markup` is not.

    Raises:
      jinja2.UndefinedError: the template asks for a value that it was not given.
    """
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
