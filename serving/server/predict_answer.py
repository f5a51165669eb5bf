"""Writes answers of gRPC's Predict: PredictResponse in the wire format of protocol buffers.

A message object is not used for the values: it would hold another copy of each array, and filling
and serializing it holds the GIL, so that every other request waits for a large answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

# Fields of TensorProto, which TensorFlow Serving fills instead of `tensor_content`.
VALUE_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int32: "int_val",
    tf.int16: "int_val",
    tf.int8: "int_val",
    tf.uint8: "int_val",
    tf.uint16: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}
_OUTPUTS = predict_pb2.PredictResponse.DESCRIPTOR.fields_by_name["outputs"]
_ENTRY = _OUTPUTS.message_type.fields_by_name
_TENSOR = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name
# Values that are converted under the GIL at a time: 64 KiB of float32.
_VALUES_AT_ONCE = 1 << 14


def predict_response(spec: model_pb2.ModelSpec, outputs: Mapping[str, np.ndarray]) -> bytes:
    """A serialized PredictResponse.

    Args:
      spec: name and version that answered.
      outputs: arrays of any type of TensorFlow by output name; their values become typed values.
    """
    parts = [predict_pb2.PredictResponse(model_spec=spec).SerializeToString()]
    for alias, value in outputs.items():
        key = alias.encode()
        entry = [
            *_delimited(_ENTRY["key"].number, [key]),
            *_delimited(_ENTRY["value"].number, _tensor(value)),
        ]
        parts += _delimited(_OUTPUTS.number, entry)
    # Joining many bytes gives the GIL to others.
    return b"".join(parts)


def _tensor(value: np.ndarray) -> list[bytes]:
    """The parts of a TensorProto."""
    dtype = tf.as_dtype(value.dtype)
    field = VALUE_FIELDS.get(dtype)
    if field is None:
        return [tf.make_tensor_proto(value, shape=value.shape).SerializeToString()]
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    # An answer of no dimensions has a shape too, and an unset field would say nothing.
    proto.tensor_shape.SetInParent()
    for size in value.shape:
        proto.tensor_shape.dim.add(size=size)
    values = value.ravel()
    if dtype == tf.string:
        proto.string_val.extend(values.tolist())
        return [proto.SerializeToString()]
    packed = _fixed if dtype.is_floating else _varints
    return [
        proto.SerializeToString(),
        *_delimited(_TENSOR[field].number, [packed(part) for part in _in_parts(values)]),
    ]


def _delimited(field: int, parts: Sequence[bytes]) -> list[bytes]:
    """A length-delimited field (wire type 2) whose contents are in parts."""
    return [_varint(field << 3 | 2), _varint(sum(map(len, parts))), *parts]


def _in_parts(values: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, values.size, _VALUES_AT_ONCE):
        yield values[start : start + _VALUES_AT_ONCE]


def _fixed(values: np.ndarray) -> bytes:
    """Numbers of 4 or 8 bytes, the lowest first."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _varint(number: int) -> bytes:
    """A number in seven bits a byte, the lowest first; all bytes but the last have bit 7."""
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _varints(values: np.ndarray) -> bytes:
    """Integers [n] as `_varint` writes them; negative ones as two's complement of 64 bits."""
    if values.dtype != np.uint64:
        values = values.astype(np.int64).view(np.uint64)
    longest = max(1, -(-int(values.max()).bit_length() // 7))
    groups = values[:, None] >> np.arange(0, 7 * longest, 7, dtype=np.uint64)
    used = groups != 0
    used[:, 0] = True
    return np.where(groups >= 0x80, groups | 0x80, groups).astype(np.uint8)[used].tobytes()
