"""Answers of gRPC's Predict: what is written around arrays is what the messages would write."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow_serving.apis import model_pb2, predict_pb2

from serving.server.predict_answer import VALUE_FIELDS, predict_response

SPEC = model_pb2.ModelSpec(name="m", signature_name="serving_default")
NUMBERS = {
    "float32": "float_val", "float64": "double_val", "int8": "int_val", "int16": "int_val",
    "int32": "int_val", "int64": "int64_val", "uint8": "int_val", "uint16": "int_val",
    "uint32": "uint32_val", "uint64": "uint64_val", "bool": "bool_val",
}  # fmt: skip


def message(outputs):
    """The answer as the message's own fields hold it."""
    response = predict_pb2.PredictResponse(model_spec=SPEC)
    for alias, value in outputs.items():
        tensor = response.outputs[alias]
        dtype = tf.as_dtype(value.dtype)
        tensor.dtype = dtype.as_datatype_enum
        tensor.tensor_shape.SetInParent()
        for size in value.shape:
            tensor.tensor_shape.dim.add(size=size)
        getattr(tensor, VALUE_FIELDS[dtype]).extend(value.ravel().tolist())
    return response


def parsed(outputs):
    return predict_pb2.PredictResponse.FromString(predict_response(SPEC, outputs))


@pytest.mark.parametrize(("dtype", "field"), NUMBERS.items())
@pytest.mark.parametrize("shape", [(), (0,), (3, 2), (40_000,), (2, 0, 3)])
def test_numbers_are_typed_values(dtype, field, shape):
    array = (np.arange(math.prod(shape)) % 100).reshape(shape).astype(dtype)
    answer = parsed({"y": array})
    assert answer == message({"y": array})
    tensor = answer.outputs["y"]
    assert len(getattr(tensor, field)) == array.size
    assert not tensor.tensor_content
    assert tf.make_ndarray(tensor).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint32", "uint64"])
def test_integers_of_every_length(dtype):
    info = np.iinfo(dtype)
    bounds = {sign * (2**bits + step) for bits in range(65) for step in (-1, 0) for sign in (1, -1)}
    array = np.array(sorted(n for n in bounds if info.min <= n <= info.max), dtype)
    assert {info.min, 0, info.max} <= set(array.tolist())
    assert parsed({"y": array}) == message({"y": array})


@settings(deadline=None, max_examples=100)
@given(arrays.arrays(st.sampled_from([*NUMBERS]), arrays.array_shapes(min_dims=0, min_side=0)))
def test_any_array(array):
    tensor = parsed({"y": array}).outputs["y"]
    # Comparing messages, NaN would differ from itself.
    assert tf.make_ndarray(tensor).tobytes() == array.tobytes()
    assert tf.make_ndarray(tensor).shape == array.shape


def test_several_outputs_and_names_that_are_no_ascii():
    outputs = {
        "y" * 200: np.arange(70_000, dtype=np.float32).reshape(2, -1),
        "größe": np.array([b"a", b"", b"\xff\0"], object),
        "transposed": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        "big_endian": np.arange(3, dtype=">f8"),
        "": np.array(True),
    }
    answer = parsed(outputs)
    assert answer == message(outputs)
    assert answer.model_spec == SPEC
    assert predict_pb2.PredictResponse.FromString(predict_response(SPEC, {})) == message({})


@pytest.mark.parametrize("dtype", [np.float16, tf.bfloat16.as_numpy_dtype, np.complex64])
def test_other_types_are_as_tensorflow_writes_them(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    assert parsed({"y": array}).outputs["y"] == tf.make_tensor_proto(array)


@pytest.mark.parametrize("shape", [(2,), (1 << 20,)])
def test_the_bytes_are_as_long_as_the_messages(shape):
    """Nothing is written twice, which a parser would merge and not show."""
    outputs = {"y": np.zeros(shape, np.float32), "z": np.full(shape, 300, np.int64)}
    assert len(predict_response(SPEC, outputs)) == message(outputs).ByteSize()
