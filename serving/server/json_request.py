"""Parses bodies of REST requests (util/json_tensor.cc of TensorFlow Serving)."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from serving.server.json_tensor import (
    is_base64,
    kind_of,
    quoted,
    shape_text,
    to_array,
    to_bytes,
    to_floats,
    utf8,
)
from serving.server.status_codes import ServingError, invalid

# Of a number of 64 bits, with its sign.
_MOST_DIGITS = 20


def parse(body: bytearray | bytes) -> dict[str, Any]:
    """A request's body as an object; NaN, Infinity and -Infinity are numbers in it.

    Raises:
      ServingError: INVALID_ARGUMENT: it is no JSON object.
    """
    if body.startswith(codecs.BOM_UTF8):
        body = body[len(codecs.BOM_UTF8) :]
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except ValueError:
        # orjson knows no NaN; the slower parser does, and says where the error is.
        document = _parse_slowly(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {quoted(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names; empty when it names none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {quoted(document)} not formatted correctly. 'signature_name' key must "
            "be a string value."
        )
    return name


def predict_inputs(
    document: Mapping[str, Any], infos: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], bool]:
    """Arrays of a Predict request.

    Args:
      document: the body, with `instances` (rows) or `inputs` (columns).
      infos: TensorInfos of the signature's inputs; at least one.

    Returns:
      Arrays by input name, and whether the request was by rows.

    Raises:
      ServingError: INVALID_ARGUMENT for values that do not fit the types or each other,
        UNIMPLEMENTED for a type that JSON cannot give.
    """
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {quoted(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        return _rows(document, infos), True
    if "inputs" in document:
        return _columns(document["inputs"], infos), False
    raise invalid("Missing 'inputs' or 'instances' key")


def examples(document: Mapping[str, Any]) -> list[bytes]:
    """Serialized tf.Examples of a Classify or Regress request.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    context = b""
    if "context" in document:
        context = _example(document["context"])
    documents = document.get("examples")
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {quoted(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    if not isinstance(documents, list):
        raise invalid(
            f"JSON Value: {quoted(document)} Expecting 'examples' value to be an list/array"
        )
    if not documents:
        raise invalid(f"JSON Value: {quoted(document)} 'examples' value is an empty array")
    return [context + _example(example) for example in documents]


def _parse_slowly(body: bytearray | bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_float=_finite, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid value. at offset: {error.pos}") from None
    except UnicodeDecodeError as error:
        raise invalid(
            f"JSON Parse error: Invalid encoding in string. at offset: {error.start}"
        ) from None
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from None
    except RecursionError:
        raise invalid("JSON Parse error: nested too deeply") from None


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("Number too big to be stored in double.")
    return value


def _integer(text: str) -> int | float:
    """A number without a point; beyond 64 bits it is a float, as orjson has it."""
    value = int(text) if len(text) <= _MOST_DIGITS else None
    return value if value is not None and -(1 << 63) <= value < 1 << 64 else _finite(text)


def _rows(document: Mapping[str, Any], infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {quoted(document)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {quoted(document)} No values in 'instances' array")
    has_names = _is_object(instances[0])
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    for number, instance in enumerate(instances):
        if _is_object(instance) != has_names:
            expected = "object but got list" if has_names else "value/list but got object"
            raise invalid(f"Expecting {expected} at item {number} of input list")
        if has_names and instance.keys() != infos.keys():
            raise _wrong_keys(number, instance, infos)
    if has_names:
        columns = {name: [instance[name] for instance in instances] for name in infos}
    elif len(infos) > 1:
        raise _wrong_keys(0, instances[0], infos)
    else:
        columns = {next(iter(infos)): instances}
    arrays = {}
    for name, values in columns.items():
        dtype = tf.as_dtype(infos[name].dtype)
        try:
            arrays[name] = to_array(values, dtype)
        except ServingError:
            _explain_rows(values, dtype, name if has_names else "")
            raise
    return arrays


def _wrong_keys(number: int, instance: Any, infos: Mapping[str, Any]) -> ServingError:
    extra = [key for key in instance if key not in infos]
    if extra:
        return invalid(
            f"Failed to process element: {number} key: {extra[0]} of 'instances' list. Error: "
            f"INVALID_ARGUMENT: JSON object: does not have named input: {extra[0]}"
        )
    return invalid(
        f"Failed to process element: {number} of 'instances' list. JSON object: "
        f"{quoted(instance)} keys must be equal to: {','.join(sorted(infos))}"
    )


def _explain_rows(values: Sequence[Any], dtype: tf.DType, key: str) -> None:
    """Raises the error of the first row that is wrong by itself or unlike the first."""
    first = None
    for number, value in enumerate(values):
        place = f"element: {number} key: {key}" if key else f"element: {number}"
        try:
            array = to_array(value, dtype)
            if first is None:
                first = array
            if array.size != first.size:
                raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
            if array.shape != first.shape:
                raise invalid(
                    f"Expecting shape {shape_text(first.shape)} but got: {shape_text(array.shape)}"
                )
        except ServingError as error:
            raise ServingError(
                error.code,
                f"Failed to process {place} of 'instances' list. Error: {error.code.name}: "
                f"{error.message}",
            ) from None


def _columns(value: Any, infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not _is_object(value):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        value = {next(iter(infos)): value}
    arrays = {}
    for name, info in infos.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = to_array(value[name], tf.as_dtype(info.dtype))
    return arrays


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {kind_of(value)}")
    features = {}
    for name, content in value.items():
        features[utf8(name).decode()] = _feature(
            name, content if isinstance(content, list) else [content]
        )
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _feature(name: str, values: Sequence[Any]) -> tf.train.Feature:
    feature = tf.train.Feature()
    item: bytes | float
    for value in values:
        if type(value) is str or is_base64(value):
            kind, item = "bytes_list", to_bytes(value)
        elif type(value) is float:
            kind, item = "float_list", float(to_floats([value], tf.float32)[0])
        elif type(value) in (int, bool):
            kind, item = "int64_list", int(value)
            if not -(1 << 63) <= item < 1 << 63:
                raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        else:
            raise invalid(
                f"Feature: {name} has element with unexpected JSON type: {kind_of(value)}"
            )
        if feature.WhichOneof("kind") not in (None, kind):
            expected = feature.WhichOneof("kind").removesuffix("_list")
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {expected}")
        getattr(feature, kind).value.append(item)
    return feature


def _is_object(value: Any) -> bool:
    return type(value) is dict and not is_base64(value)
