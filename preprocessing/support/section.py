"""Sections of the configuration: frozen pydantic models, whose errors are written for people.

A section is a class with a default, a range or a choice, and a description beside each key:

>>> class ExampleConfig(Section):
...     margin: Number = Field(1.3, ge=1.0, le=3.0, description="Side of the crop over the face's.")
>>> ExampleConfig.from_dict({"margin": 2}, key="example")
ExampleConfig(margin=2.0)
>>> ExampleConfig.from_dict({"margni": 1.5}, key="example")
Traceback (most recent call last):
    ...
preprocessing.support.errors.UsageError: unknown key 'example.margni'; did you mean 'margin'?

Executors get sections as JSON: `to_dict` writes them, `from_dict` reads them.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo

from preprocessing.support.errors import UsageError
from preprocessing.support.nearest import nearest

_Section = TypeVar("_Section", bound="Section")
_Model = TypeVar("_Model", bound=BaseModel)

# Context of validation: the values were read from YAML, see `_number` and `_text`.
FROM_YAML = "from_yaml"
_KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "tuple": "a list; write [A, B]",
}
_LIMITS = ("greater_than_equal", "less_than_equal", "greater_than", "less_than")


class SectionError(ValueError):
    """Values of a section that cannot be, alone or together; raised by its validators.

    Args:
      key: the key within the section that the message is about; empty for the section itself.
      text: what is wrong and the remedy, without the key.
    """

    def __init__(self, key: str, text: str):
        super().__init__(f"{key}: {text}" if key else text)
        self.key = key
        self.text = text


class Section(BaseModel):
    """Base class of the configuration's sections: frozen, strict about types, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON or YAML; tuples become lists."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls: type[_Section], values: Mapping[str, Any], key: str = "") -> _Section:
        """The reverse of `to_dict`; keys that are absent get their default.

        Args:
          values: plain values.
          key: name of the section, for messages.

        Raises:
          UsageError: an unknown key, a value of the wrong type or range, or values that contradict
            each other.
        """
        return validated(cls, values, prefix=f"{key}." if key else "")

    def replace(self: _Section, **changes: Any) -> _Section:
        """A copy with other values for some keys, checked like the original.

        Raises:
          UsageError: as `from_dict`.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return validated(type(self), {**values, **changes})


def _number(value: Any, info: ValidationInfo) -> Any:
    """YAML 1.1 reads 1e-3 as a string, and whole numbers may be larger than any float."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("inf")
    if isinstance(value, str) and info.context and FROM_YAML in info.context:
        try:
            return float(value)
        except ValueError:
            pass
    return value


def _text(value: Any, info: ValidationInfo) -> Any:
    """YAML reads a key without a value as None."""
    return "" if value is None and info.context and FROM_YAML in info.context else value


# Types of keys. Numbers are finite; whole numbers are taken for them, as in `margin: 2`.
Number = Annotated[float, BeforeValidator(_number)]
Text = Annotated[str, BeforeValidator(_text)]
# JSON and YAML know lists only: `tuple[...]` of a key has to take them.
AsList = Field(strict=False)
Texts = Annotated[tuple[str, ...], AsList]
# Seeds: of numpy, which TensorFlow's and Keras' seeds follow.
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


def validated(
    model: type[_Model],
    values: Any,
    *,
    prefix: str = "",
    where: Callable[[str], str] = lambda key: "",
    from_yaml: bool = False,
) -> _Model:
    """Makes a section, or another model, of plain values, with messages for people.

    Args:
      model: the class.
      values: key -> value.
      prefix: what stands before the keys in messages, as in `training.`.
      where: dotted key -> where its value was read from, which opens the message; empty for none.
      from_yaml: whether numbers may be texts, and texts None, as YAML has them.

    Raises:
      UsageError: an unknown key (the nearest known one is named), a value of the wrong type or
        range, or values that contradict each other. The first fault is told.
    """
    try:
        return model.model_validate(values, context={FROM_YAML: True} if from_yaml else None)
    except ValidationError as error:
        # Errors hold the values that they are about; none of ours is too large to print.
        key, text = _describe(model, error.errors(include_url=False)[0], prefix)
        place = where(key)
        raise UsageError(f"{place}: {text}" if place else text) from error


def one_of(key: str, value: str, known: Iterable[str]) -> None:
    """Refuses (UsageError) a value that is none of the known ones."""
    known = tuple(known)
    if value not in known:
        raise UsageError(f"{key}: {not_one_of(value, known)}")


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a key holds; None for a key with a value."""
    return model_of(annotation, Section)


@typing.overload
def model_of(annotation: Any) -> type[BaseModel] | None: ...


@typing.overload
def model_of(annotation: Any, kind: type[_Model]) -> type[_Model] | None: ...


def model_of(annotation: Any, kind: type[BaseModel] = BaseModel) -> type[BaseModel] | None:
    """The model of this kind that a key holds, or the items of its list; None for neither."""
    if isinstance(annotation, type) and issubclass(annotation, kind):
        return annotation
    inner = (model_of(argument, kind) for argument in typing.get_args(annotation))
    return next(filter(None, inner), None)


def limits_of(annotation: Any, metadata: Iterable[Any] = ()) -> tuple[Any, Any]:
    """The least and the largest value of a key, or of the items of its list; None for no limit."""
    low = high = None
    for item in _constraints(annotation, metadata):
        low = getattr(item, "ge", low)
        high = getattr(item, "le", high)
    return low, high


def choices_of(annotation: Any) -> tuple[str, ...]:
    """The names that a key may hold, or the items of its list; empty where there is no choice."""
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    for argument in typing.get_args(annotation):
        if choices := choices_of(argument):
            return choices
    return ()


def _constraints(annotation: Any, metadata: Iterable[Any]) -> Iterator[Any]:
    for item in metadata:
        yield from getattr(item, "metadata", (item,))
    for argument in typing.get_args(annotation):
        yield from _constraints(argument, getattr(argument, "__metadata__", ()))


def _describe(model: type[BaseModel], error: Mapping[str, Any], prefix: str) -> tuple[str, str]:
    """The dotted key that an error is about, and the error in words."""
    # Numbers are places in a list.
    path = [str(name) for name in error["loc"] if not isinstance(name, int)]
    kind, value = error["type"], error["input"]
    name = prefix + ".".join(path)
    if kind in ("extra_forbidden", "invalid_key"):
        name = prefix + ".".join(map(str, error["loc"]))
        parent = model_of(_field(model, path[:-1])[0])
        keys: Iterable[str] = parent.model_fields if parent else ()
        return name, f"unknown key {name!r}{nearest(str(error['loc'][-1]), keys)}"
    if kind in ("model_type", "dict_type"):
        return name, f"{name or prefix or 'the file'} must hold `key: value` lines"
    if kind == "value_error":
        cause = error["ctx"]["error"]
        if isinstance(cause, SectionError):
            name = ".".join(filter(None, [name.rstrip("."), cause.key]))
            return name, f"{name}: {cause.text}" if name else cause.text
        return name, f"{name}: {cause}" if path or prefix else str(cause)
    return name, f"{name}: {_wrong_value(model, path, kind, value, error['msg'])}"


def _wrong_value(model: type[BaseModel], path: list[str], kind: str, value: Any, text: str) -> str:
    annotation, metadata = _field(model, path)
    if kind in _LIMITS:
        low, high = limits_of(annotation, metadata)
        # A whole number that was given for a float is shown as what it stands for.
        value = type(low)(value)
        return f"{value} is outside {low} to {high}"
    if kind == "literal_error":
        return not_one_of(value, choices_of(annotation))
    if kind == "finite_number":
        return f"{value} is not a finite number"
    if kind == "missing":
        return "it is missing"
    expected = _KINDS.get(kind.partition("_")[0])
    return f"{value!r} is not {expected}" if expected else text


def _field(model: type[BaseModel], path: list[str]) -> tuple[Any, list[Any]]:
    """Annotation and metadata of a key; of the model itself for an empty path."""
    annotation: Any = model
    metadata: list[Any] = []
    for name in path:
        if typing.get_origin(annotation) is dict:
            annotation, metadata = typing.get_args(annotation)[1], []
            continue
        within = model_of(annotation)
        if within is None:
            return Any, []
        field = within.model_fields[name]
        annotation, metadata = field.annotation, field.metadata
    return annotation, metadata


def not_one_of(value: Any, known: Iterable[str]) -> str:
    """The message about a value that is none of the known ones."""
    known = tuple(known)
    return f"{value!r} is not known{nearest(str(value), known)}; it may be {', '.join(known)}"
