"""Converts JSON values to arrays, by the rules of util/json_tensor.cc of TensorFlow Serving."""

from __future__ import annotations

import binascii
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from serving.server.inference import as_strings, type_name
from serving.server.status_codes import Code, ServingError, invalid

# NumPy has no more dimensions.
_MAX_RANK = 32

_INTEGERS = {
    dtype: (int(np.iinfo(dtype.as_numpy_dtype).min), int(np.iinfo(dtype.as_numpy_dtype).max))
    for dtype in (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64)
}
_FLOATS = (tf.float32, tf.float64)

_TYPE_NAMES = {
    type(None): "Null",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}


def to_array(value: Any, dtype: tf.DType) -> np.ndarray:
    """A value or nested lists of values as an array.

    Args:
      value: value of the JSON.
      dtype: type of the tensor; numbers are rounded to a float type, and nothing else is converted.

    Raises:
      ServingError: INVALID_ARGUMENT for ragged lists and values of another type.
    """
    shape: list[int] = []
    # Level by level, so that the work on each element is done by C and depth needs no stack.
    flat = [value]
    while flat and isinstance(flat[0], list):
        if set(map(type, flat)) != {list}:
            odd = next(item for item in flat if not isinstance(item, list))
            raise invalid(
                f"JSON Value: {quoted(odd)} found at incorrect level: {len(shape) + 1} in the "
                "JSON DOM."
            )
        sizes = set(map(len, flat))
        if len(sizes) > 1:
            size = next(len(item) for item in flat if len(item) != len(flat[0]))
            raise invalid(
                f"Encountered list at unexpected size: {size} at level: {len(shape)} expected "
                f"size: {len(flat[0])}"
            )
        shape.append(len(flat[0]))
        if len(shape) > _MAX_RANK:
            raise invalid(f"lists are nested deeper than {_MAX_RANK}")
        flat = list(itertools.chain.from_iterable(flat))
    if any(type(item) is list for item in flat):
        raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return _leaves(flat, dtype).reshape(shape)


def _leaves(flat: list[Any], dtype: tf.DType) -> np.ndarray:
    if dtype == tf.string:
        return as_strings([to_bytes(item) for item in flat])
    if dtype in _FLOATS:
        return to_floats(flat, dtype)
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        for item in flat:
            if type(item) is not int or not low <= item <= high:
                raise _type_error(item, dtype)
        return np.array(flat, dtype.as_numpy_dtype)
    if dtype == tf.bool:
        for item in flat:
            if type(item) is not bool:
                raise _type_error(item, dtype)
        return np.array(flat, bool)
    raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value to type: {type_name(dtype)}")


def to_floats(flat: list[Any], dtype: tf.DType) -> np.ndarray:
    """Numbers as an array of a float type, rounded; those beyond its range become infinite."""
    kinds = set(map(type, flat))
    if not kinds <= {int, float}:
        raise _type_error(next(item for item in flat if type(item) not in (int, float)), dtype)
    with np.errstate(over="ignore"):
        return np.array(flat, np.float64).astype(dtype.as_numpy_dtype)


def to_bytes(item: Any) -> bytes:
    """A string, or an object whose only key is `b64`, as bytes."""
    if type(item) is str:
        return utf8(item)
    if type(item) is dict:
        if not is_base64(item):
            raise invalid(f"JSON Value: {quoted(item)} not formatted correctly for base64 data")
        return _base64(item["b64"])
    raise _type_error(item, tf.string)


def _base64(text: str) -> bytes:
    # The decoder skips characters that are not base64, so its result's length tells.
    for attempt in (text, "".join(text.split()).rstrip("=")):
        padded = attempt + "=" * (-len(attempt) % 4)
        try:
            decoded = binascii.a2b_base64(padded)
        except (binascii.Error, ValueError):
            continue
        if len(decoded) == len(padded) // 4 * 3 - padded.count("=") and len(attempt) % 4 != 1:
            return decoded
    raise invalid("Unable to base64 decode")


def is_base64(value: Any) -> bool:
    """Whether a value is an object whose only key is `b64`, with a string."""
    return type(value) is dict and len(value) == 1 and isinstance(value.get("b64"), str)


def utf8(text: str) -> bytes:
    """A string as UTF-8; JSON can write code points that have none."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None


def _type_error(value: Any, dtype: tf.DType) -> ServingError:
    return invalid(
        f"JSON Value: {quoted(value)} Type: {kind_of(value)} is not of expected type: "
        f"{type_name(dtype)}"
    )


def kind_of(value: Any) -> str:
    """The JSON type of a value, as TensorFlow Serving's messages name it."""
    if isinstance(value, bool):
        return str(value)
    return _TYPE_NAMES[type(value)]


def quoted(value: Any) -> str:
    """A value in an error message; bodies hold pictures, so not all of it."""
    text = repr(value) if not isinstance(value, dict | list) else ""
    if isinstance(value, dict):
        text = "{" + ", ".join(json.dumps(str(key)[:40]) + ": ..." for key in list(value)[:8]) + "}"
    elif isinstance(value, list):
        text = f"[... {len(value)} items]"
    elif isinstance(value, str):
        text = json.dumps(value)
    return text[:200].encode("utf-8", "replace").decode()


def shape_text(shape: Sequence[int]) -> str:
    """A shape as TensorFlow Serving's messages write it."""
    return "[" + ",".join(map(str, shape)) + "]"
