"""Writes bodies of REST answers (util/json_tensor.cc of TensorFlow Serving)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from serving.server.inference import Classifications, type_name
from serving.server.status_codes import ServingError, invalid

# Outputs of this ending are bytes, others are text.
_BYTES_SUFFIX = "_bytes"
_VALUES_AT_ONCE = 1 << 16


def predictions(outputs: Mapping[str, np.ndarray], by_rows: bool) -> bytes:
    """The answer to Predict; a single output drops its name.

    Args:
      outputs: arrays by output name.
      by_rows: True answers `predictions`, a list with an entry a row; False `outputs`, arrays.

    Raises:
      ServingError: INVALID_ARGUMENT for types that JSON cannot hold and, by rows, for outputs
        without or with unequal rows.
    """
    if by_rows:
        _check_rows(outputs)
    values = {name: _jsonable(name, value) for name, value in sorted(outputs.items())}
    if not by_rows:
        return _dumps({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    if len(values) == 1:
        return _dumps({"predictions": next(iter(values.values()))})
    columns = [list(value) for value in values.values()]
    rows = [dict(zip(values, row, strict=True)) for row in zip(*columns, strict=True)]
    return _dumps({"predictions": rows})


def classifications(result: Classifications) -> bytes:
    """The answer to Classify: a list of [label, score] pairs for each example."""
    return _dumps(
        {
            "results": [
                [[_text(label), _number(score)] for label, score in row] for row in result.rows()
            ]
        }
    )


def regressions(values: np.ndarray) -> bytes:
    """The answer to Regress: a value for each example."""
    return _dumps({"results": _jsonable("outputs", values)})


def pretty(document: Any) -> bytes:
    """A document for people, as TensorFlow Serving writes metadata."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def error(failure: ServingError) -> bytes:
    """The answer to a request that failed."""
    return orjson.dumps({"error": failure.message.encode("utf-8", "replace").decode()})


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    size = None
    for name, value in sorted(outputs.items()):
        if value.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size is not None and len(value) != size:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(value)} expecting: {size}"
            )
        size = len(value)


def _jsonable(name: str, value: np.ndarray) -> Any:
    """An array, or nested lists where the array holds what orjson cannot write."""
    dtype = tf.as_dtype(value.dtype)
    if dtype == tf.string:
        as_bytes = name.endswith(_BYTES_SUFFIX)
        return _nested(value, _base64 if as_bytes else _text)
    if dtype in (tf.float32, tf.float64):
        return value if np.isfinite(value).all() else _nested(value, _number)
    if not (dtype.is_integer or dtype == tf.bool) or dtype.is_quantized:
        raise invalid(f"Failed to write JSON value for tensor type: {type_name(dtype)}")
    return value


def _nested(value: np.ndarray, convert: Any) -> Any:
    result = np.empty(value.shape, object)
    for index in np.ndindex(value.shape):
        result[index] = convert(value[index])
    return result.tolist()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode("ascii")}


def _number(value: Any) -> float:
    # Through the shortest text that gives the same float32: 0.1 and not 0.10000000149011612.
    return float(str(value))


def _dumps(document: Any) -> bytes:
    """JSON; float32 in the shortest form that reads back as the same float32."""
    if _holds_nonfinite(document):
        return json.dumps(document, default=_to_plain).encode()
    if len(document) == 1 and isinstance(array := next(iter(document.values())), np.ndarray):
        return b'{"%s":%s}' % (next(iter(document)).encode(), _array_text(array))
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY, default=_to_plain)


def _array_text(array: np.ndarray) -> bytes:
    """JSON of an array, written in parts: other threads get the GIL in between."""
    if array.ndim == 0 or array.size <= _VALUES_AT_ONCE:
        return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY, default=_to_plain)
    if array.size // len(array) > _VALUES_AT_ONCE:
        return b"[" + b",".join(map(_array_text, array)) + b"]"
    rows = max(1, _VALUES_AT_ONCE * len(array) // array.size)
    parts = (_array_text(array[start : start + rows]) for start in range(0, len(array), rows))
    return b"[" + b",".join(part[1:-1] for part in parts) + b"]"


def _holds_nonfinite(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nonfinite, value.values()))
    if isinstance(value, list):
        return any(map(_holds_nonfinite, value))
    return isinstance(value, float) and not np.isfinite(value)


def _to_plain(value: Any) -> Any:
    """Converts what neither writer knows: arrays that are not contiguous, scalars of NumPy."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype == np.float32:
            return _nested(np.asarray(value), _number)
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__}")
