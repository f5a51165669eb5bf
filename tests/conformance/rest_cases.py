"""REST requests and their answers, as TensorFlow Serving's sources and documentation have them.

The facts come from model_servers/http_rest_api_handler_test.cc, http_rest_api_util.cc,
util/json_tensor_test.cc and g3doc/api_rest.md of tensorflow/serving.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

HALF = "/v1/models/half_plus_two"
ECHO = "/v1/models/echo"


@dataclasses.dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
      name: of the test.
      path: below the server's URL.
      body: bytes as they are sent, or what becomes JSON; None sends none.
      status: that the answer must have.
      answer: the whole JSON; NaN equals NaN.
      error: what the error's text must contain.
      method: of HTTP.
      headers: of the request.
    """

    name: str
    path: str
    body: Any = None
    status: int = 200
    answer: Any = None
    error: str = ""
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()

    def data(self) -> bytes | None:
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()


def _echo(name: str, signature: str, body: Any, answer: Any) -> Case:
    return Case(name, f"{ECHO}:predict", {"signature_name": signature, **body}, answer=answer)


def _echo_error(name: str, signature: str, body: Any, error: str, status: int = 400) -> Case:
    if isinstance(body, str):
        sent = f'{{"signature_name": "{signature}", {body}}}'.encode()
    else:
        sent = {"signature_name": signature, **body}
    return Case(name, f"{ECHO}:predict", sent, status=status, error=error)


def _get(name: str, path: str, status: int = 200, **expected: Any) -> Case:
    return Case(name, path, None, status=status, method="GET", **expected)


_BODY = {"instances": [1]}

PATHS = [
    _get("get_unknown_resource", "/v1/foo", 400, error="Malformed request"),
    Case("post_unknown_resource", "/v1/foo", b"", 400, error="Malformed request"),
    _get("get_models_without_name", "/v1/models", 400, error="Missing model name"),
    Case("post_models_without_name", "/v1/models", b"", 400, error="Malformed request"),
    _get("get_predict", f"{HALF}:predict", 400, error="Malformed request"),
    _get("get_predict_of_version_misspelt", "/v1/models/foo/version/50:predict", 400,
         error="Malformed request"),
    Case("post_version_misspelt", "/v1/models/foo/version/50:regress", b"", 400,
         error="Malformed request"),
    Case("post_version_not_a_number", "/v1/models/foo/versions/HELLO:regress", b"", 400,
         error="Malformed request"),
    Case("post_version_negative", f"{HALF}/versions/-1:predict", _BODY, 400,
         error="Malformed request"),
    Case("post_version_empty", f"{HALF}/versions/:predict", _BODY, 400, error="Malformed request"),
    Case("post_version_too_large", "/v1/models/foo/versions/18446744073709551615:regress", b"", 400,
         error="Failed to convert version"),
    _get("get_version_too_large", "/v1/models/foo/versions/18446744073709551615", 400,
         error="Failed to convert version"),
    Case("post_unknown_method", f"{HALF}:explain", _BODY, 400, error="Malformed request"),
    Case("post_without_method", HALF, _BODY, 400, error="Malformed request"),
    Case("post_version_and_label", f"{HALF}/versions/123/labels/stable:predict", _BODY, 400,
         error="Malformed request"),
    Case("post_label_empty", f"{HALF}/labels/:predict", _BODY, 400, error="Malformed request"),
    Case("post_to_metadata", f"{HALF}/metadata", _BODY, 400, error="Malformed request"),
    Case("put", f"{HALF}:predict", _BODY, 400, error="Malformed request", method="PUT"),
    Case("delete", HALF, None, 400, error="Malformed request", method="DELETE"),
    Case("path_in_capitals", "/V1/MODELS/half_plus_two:predict", _BODY,
         answer={"predictions": [2.5]}),
    Case("escaped_name", "/v1/models/half%5Fplus%5Ftwo:predict", _BODY,
         answer={"predictions": [2.5]}),
    _get("outside_v1", "/index", 404),
    _get("root", "/", 404),
]  # fmt: skip

PATHS += [
    Case("query", f"{HALF}:predict?x=1", _BODY, 400, error="Malformed request"),
    _get("query_is_part_of_the_name", f"{HALF}?x=1", 404,
         error="Could not find any versions of model half_plus_two?x=1"),
    Case("absolute_address", f"http://localhost:8501{HALF}:predict", _BODY,
         answer={"predictions": [2.5]}),
    Case("preflight", f"{HALF}:predict", None, method="OPTIONS",
         headers=(("Origin", "https://example.org"),)),
    Case("preflight_without_origin", f"{HALF}:predict", None, 400, method="OPTIONS",
         error="Origin header is missing"),
]  # fmt: skip

MODELS = [
    Case("unknown_model", "/v1/models/foo:predict", _BODY, 404, error="Servable not found"),
    Case("unknown_model_and_version", "/v1/models/foo/versions/50:predict", _BODY, 404,
         error="Servable not found"),
    Case("version_run_into_name", "/v1/models/half_plus_two99:predict", _BODY, 404,
         error="Servable not found"),
    Case("unknown_version", f"{HALF}/versions/99:predict", _BODY, 404, error="Servable not found"),
    Case("known_version", f"{HALF}/versions/123:predict", _BODY, answer={"predictions": [2.5]}),
    Case("known_label", f"{HALF}/labels/stable:predict", _BODY, answer={"predictions": [2.5]}),
    Case("unknown_label", f"{HALF}/labels/canary:predict", _BODY, 400,
         error="Unrecognized servable version label"),
    Case("body_is_read_before_model_is_sought", "/v1/models/foo:predict", b"{", 400,
         error="JSON Parse error"),
    Case("signature_is_sought_after_model", "/v1/models/foo:predict",
         {"signature_name": "none", "instances": [1]}, 404, error="Servable not found"),
]  # fmt: skip

BODIES = [
    Case("empty_body", f"{HALF}:predict", b"", 400,
         error="JSON Parse error: The document is empty"),
    Case("not_json", f"{HALF}:predict", b"instances = [1, 2]", 400,
         error="JSON Parse error: Invalid value"),
    Case("json_array", f"{HALF}:predict", [1, 2], 400, error="Is not object"),
    Case("json_number", f"{HALF}:predict", 5, 400, error="Is not object"),
    Case("json_cut_short", f"{HALF}:predict", b'{"instances": [1, 2', 400,
         error="JSON Parse error"),
    Case("json_twice", f"{HALF}:predict", b'{"instances": [1]} {"instances": [1]}', 400,
         error="JSON Parse error"),
    Case("neither_key", f"{HALF}:predict", {}, 400, error="Missing 'inputs' or 'instances' key"),
    Case("both_keys", f"{HALF}:predict", {"instances": [1], "inputs": [1]}, 400,
         error="Not formatted correctly"),
    Case("instances_not_a_list", f"{HALF}:predict", {"instances": 5}, 400,
         error="Expecting 'instances' to be an list/array"),
    Case("instances_an_object", f"{HALF}:predict", {"instances": {"x": [1]}}, 400,
         error="to be an list/array"),
    Case("instances_empty", f"{HALF}:predict", {"instances": []}, 400, error="No values in"),
    Case("signature_not_a_string", f"{HALF}:predict", {"signature_name": 5, "instances": [1]}, 400,
         error="must be a string value"),
    Case("unknown_signature", f"{HALF}:predict", {"signature_name": "none", "instances": [1]}, 400,
         error='Serving signature name: "none" not found in signature def'),
    Case("unknown_key_is_ignored", f"{HALF}:predict", {"instances": [1], "comment": "hello"},
         answer={"predictions": [2.5]}),
]  # fmt: skip

FORMATS = [
    Case("scalar_for_a_matrix", f"{HALF}:predict", {"inputs": 2}, answer={"outputs": 3.0}),
    Case("matrix_as_declared", f"{HALF}:predict", {"instances": [[2], [3]]},
         answer={"predictions": [[3.0], [3.5]]}),
    Case("shape_beyond_the_declared", f"{HALF}:predict", {"instances": [[[2, 3]]]},
         answer={"predictions": [[[3.0, 3.5]]]}),
    Case("rows", f"{HALF}:predict", {"instances": [2, 3, 4]},
         answer={"predictions": [3.0, 3.5, 4.0]}),
    Case("rows_named", f"{HALF}:predict", {"instances": [{"x": 2.0}, {"x": 3}]},
         answer={"predictions": [3.0, 3.5]}),
    Case("columns", f"{HALF}:predict", {"inputs": [3.0, 4.0]}, answer={"outputs": [3.5, 4.0]}),
    Case("columns_named", f"{HALF}:predict", {"inputs": {"x": [3.0]}}, answer={"outputs": [3.5]}),
    Case("signature_named", f"{HALF}:predict",
         {"signature_name": "serving_default", "instances": [3.0, 4.0]},
         answer={"predictions": [3.5, 4.0]}),
    Case("two_outputs_by_rows", f"{HALF}:predict",
         {"signature_name": "two_outputs", "instances": [2, 3]},
         answer={"predictions": [{"y": 3.0, "z": 4.0}, {"y": 3.5, "z": 4.5}]}),
    Case("two_outputs_by_columns", f"{HALF}:predict",
         {"signature_name": "two_outputs", "inputs": [2, 3]},
         answer={"outputs": {"y": [3.0, 3.5], "z": [4.0, 4.5]}}),
    _echo("rows_of_two_inputs", "pair", {"instances": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]},
          {"predictions": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}),
    _echo("columns_of_two_inputs", "pair", {"inputs": {"a": [1, 2], "b": ["x", "y"]}},
          {"outputs": {"a": [1, 2], "b": ["x", "y"]}}),
    _echo("nested_rows", "int32", {"instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]},
          {"predictions": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}),
    _echo("scalar_column", "int32", {"inputs": 5}, {"outputs": 5}),
    _echo("empty_column", "int32", {"inputs": []}, {"outputs": []}),
    _echo("rows_of_nothing", "int32", {"instances": [[], []]}, {"predictions": [[], []]}),
    _echo_error("plain_rows_for_two_inputs", "pair", {"instances": [1, 2]},
                "instances is a plain list, but expecting list of objects"),
    _echo_error("plain_columns_for_two_inputs", "pair", {"inputs": [1, 2]},
                "inputs is a plain value/list, but expecting an object"),
    _echo_error("row_lacks_an_input", "pair", {"instances": [{"a": 1}]}, "keys must be equal to"),
    _echo_error("row_has_an_unknown_input", "pair", {"instances": [{"a": 1, "b": "x", "c": 1}]},
                "does not have named input: c"),
    _echo_error("column_lacks_an_input", "pair", {"inputs": {"a": [1]}}, "Missing named input: b"),
    _echo_error("row_plain_after_object", "pair", {"instances": [{"a": 1, "b": "x"}, [1, 2]]},
                "Expecting object but got list at item 1"),
    _echo_error("row_object_after_plain", "text", {"instances": [["a"], {"value": ["b"]}]},
                "Expecting value/list but got object at item 1"),
    _echo_error("rows_of_unequal_size", "int32", {"instances": [[1, 2], [3, 4], [5, 6, 7]]},
                "Expecting tensor size"),
    _echo_error("rows_of_unequal_shape", "int32", {"instances": [[1, 2], [3, 4], [[5, 6]]]},
                "Expecting shape"),
    _echo_error("row_list_after_scalar", "int32", {"instances": [1, [1]]}, "Expecting shape"),
    _echo_error("ragged_row", "int32", {"instances": [[[1, 2], [3]]]},
                "Encountered list at unexpected size"),
    _echo_error("ragged_column", "int32", {"inputs": [[1, 2], [3]]},
                "Encountered list at unexpected size"),
    _echo_error("rows_without_batch_in_answer", "scalar", {"instances": [1, 2]},
                "has no shape information"),
    _echo("columns_without_batch_in_answer", "scalar", {"inputs": [1, 2]}, {"outputs": 3.0}),
    _echo_error("rows_of_unequal_batches_in_answer", "unequal", {"instances": [1, 2]},
                "inconsistent batch size"),
]  # fmt: skip

TYPES = [
    _echo("integers_in_floats", "float", {"instances": [1, 2.0, 3, 5.5, 0.0]},
          {"predictions": [1.0, 2.0, 3.0, 5.5, 0.0]}),
    _echo("integers_in_doubles", "double", {"instances": [1.0, 2, 0.662]},
          {"predictions": [1.0, 2.0, 0.662]}),
    _echo("float_in_shortest_form", "float", {"instances": [0.2, 0.0003, 555557.5]},
          {"predictions": [0.2, 0.0003, 555557.5]}),
    Case("nan_and_infinity", f"{ECHO}:predict",
         b'{"signature_name": "float", "instances": [NaN, Infinity, -Infinity, 3]}',
         answer={"predictions": [float("nan"), float("inf"), float("-inf"), 3.0]}),
    Case("nan_in_doubles", f"{ECHO}:predict",
         b'{"signature_name": "double", "inputs": [NaN, 2.0]}',
         answer={"outputs": [float("nan"), 2.0]}),
    _echo("booleans", "bool", {"instances": [True, False]}, {"predictions": [True, False]}),
    _echo("int64", "int64", {"instances": [-9223372036854775808, 9223372036854775807]},
          {"predictions": [-9223372036854775808, 9223372036854775807]}),
    _echo("uint8", "uint8", {"instances": [0, 255]}, {"predictions": [0, 255]}),
    _echo_error("string_for_float", "float", {"instances": [1, "a"]},
                "not of expected type: float"),
    _echo_error("boolean_for_float", "float", {"instances": [True]},
                "not of expected type: float"),
    _echo_error("null_for_float", "float", {"instances": [None]},
                "not of expected type: float"),
    _echo_error("object_for_float", "float", {"inputs": [{"b64": "aGVsbG8="}]},
                "not of expected type: float"),
    _echo_error("decimal_for_int", "int32", {"instances": [1.5]}, "not of expected type: int32"),
    _echo_error("whole_decimal_for_int", "int32", '"instances": [1.0]',
                "not of expected type: int32"),
    _echo_error("nan_for_int", "int32", '"instances": [NaN]', "not of expected type: int32"),
    _echo_error("int64_for_int32", "int32", {"instances": [2147483648]},
                "not of expected type: int32"),
    _echo_error("strings_for_int", "int32", {"instances": [[1, 2], ["a", "b"]]},
                "not of expected type"),
    _echo_error("number_for_bool", "bool", {"instances": [1]}, "not of expected type: bool"),
    _echo_error("number_for_string", "text", {"instances": [1]}, "not of expected type: string"),
    _echo("integer_that_float_rounds", "float", {"instances": [33554433, -16777217]},
          {"predictions": [33554432.0, -16777216.0]}),
    _echo("integer_that_double_rounds", "double", {"instances": [9007199254740993]},
          {"predictions": [9007199254740992.0]}),
    _echo("uint64_in_doubles", "double", {"instances": [18446744073709551615]},
          {"predictions": [1.8446744073709552e19]}),
    _echo("double_beyond_float", "float",
          {"instances": [1.7976931348623157e308, -1.7976931348623157e308]},
          {"predictions": [float("inf"), float("-inf")]}),
    Case("byte_order_mark", f"{HALF}:predict", b'\xef\xbb\xbf{"instances": [2]}',
         answer={"predictions": [3.0]}),
    _echo_error("number_beyond_double", "double", '"instances": [1e400]', "JSON Parse error"),
]  # fmt: skip

STRINGS = [
    _echo("b64_scalars", "text", {"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]},
          {"predictions": [{"copy_bytes": {"b64": "aGVsbG8="}, "value": "hello"},
                           {"copy_bytes": {"b64": "d29ybGQ="}, "value": "world"}]}),
    _echo("b64_in_lists", "text", {"instances": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]},
          {"predictions": [{"copy_bytes": [{"b64": "aGVsbG8="}], "value": ["hello"]},
                           {"copy_bytes": [{"b64": "d29ybGQ="}], "value": ["world"]}]}),
    _echo("b64_named", "text", {"instances": [{"value": {"b64": "aGVsbG8="}}]},
          {"predictions": [{"copy_bytes": {"b64": "aGVsbG8="}, "value": "hello"}]}),
    _echo("b64_as_whole_column", "text", {"inputs": {"b64": "aGVsbG8="}},
          {"outputs": {"copy_bytes": {"b64": "aGVsbG8="}, "value": "hello"}}),
    _echo("b64_beside_text", "text", {"inputs": ["plain", {"b64": "aGVsbG8="}]},
          {"outputs": {"copy_bytes": [{"b64": "cGxhaW4="}, {"b64": "aGVsbG8="}],
                       "value": ["plain", "hello"]}}),
    _echo("b64_without_padding", "text", {"inputs": [{"b64": "aGVsbG8"}]},
          {"outputs": {"copy_bytes": [{"b64": "aGVsbG8="}], "value": ["hello"]}}),
    _echo("b64_of_nothing", "text", {"inputs": [{"b64": ""}]},
          {"outputs": {"copy_bytes": [{"b64": ""}], "value": [""]}}),
    _echo("text_with_zero_byte", "text", {"inputs": ["a\0"]},
          {"outputs": {"copy_bytes": [{"b64": "YQA="}], "value": ["a\0"]}}),
    _echo("text_of_many_scripts", "text", {"inputs": ["gr\u00fc\u00df \u4f60\u597d \U0001f600"]},
          {"outputs": {"copy_bytes": [{"b64": "Z3LDvMOfIOS9oOWlvSDwn5iA"}],
                       "value": ["gr\u00fc\u00df \u4f60\u597d \U0001f600"]}}),
    _echo_error("b64_that_is_none", "text", {"inputs": [{"b64": "a*b"}]},
                "Unable to base64 decode"),
    _echo_error("b64_beside_another_key", "text", {"inputs": [{"b64": "aGVsbG8=", "x": 1}]},
                "not formatted correctly for base64 data"),
    _echo_error("b64_not_a_string", "text", {"inputs": [{"b64": 5}]},
                "not formatted correctly for base64 data"),
]  # fmt: skip

EXAMPLES = [
    Case("regress", f"{HALF}:regress",
         {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}, {"x": 20.0}]},
         answer={"results": [42.0, 12.0]}),
    Case("classify", f"{HALF}:classify",
         {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}]},
         answer={"results": [[["", 12.0]]]}),
    Case("classify_with_labels", f"{HALF}:classify",
         {"signature_name": "classify_labelled", "examples": [{"x": 10.0}]},
         answer={"results": [[["hello", 7.0]]]}),
    Case("regress_of_version", f"{HALF}/versions/123:regress",
         {"signature_name": "regress_x_to_y", "examples": [{"x": [80.0]}]},
         answer={"results": [42.0]}),
    Case("regress_with_context", f"{HALF}:regress",
         {"signature_name": "regress_x_to_y", "context": {"x": 80.0}, "examples": [{}, {"x": 2.0}]},
         answer={"results": [42.0, 3.0]}),
    Case("regress_of_nan", f"{HALF}:regress",
         b'{"signature_name": "regress_x_to_y", "examples": [{"x": NaN}, {"x": -Infinity}]}',
         answer={"results": [float("nan"), float("-inf")]}),
    Case("regress_by_signature_of_predict_method", f"{HALF}:regress",
         {"signature_name": "regress_as_predict", "examples": [{"x": 80.0}]},
         answer={"results": [42.0]}),
    Case("classify_by_predict_signature", f"{HALF}:classify", {"examples": [{"x": 1.0}]}, 400,
         error="No classification inputs found in SignatureDef"),
    Case("regress_by_classify_signature", f"{HALF}:regress",
         {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]}, 400,
         error="No regression outputs found in SignatureDef"),
    Case("regress_by_signature_of_two_outputs", f"{HALF}:regress",
         {"signature_name": "two_outputs", "examples": [{"x": 1.0}]}, 400,
         error="Expected one output Tensor."),
    Case("classify_by_signature_of_two_inputs", f"{HALF}:classify",
         {"signature_name": "with_default", "examples": [{"x": 1.0}]}, 400,
         error="Expected one input Tensor."),
    Case("regress_by_unknown_signature", f"{HALF}:regress",
         {"signature_name": "none", "examples": [{"x": 1.0}]}, 400,
         error="No signature was found with the name: none"),
    Case("examples_missing", f"{HALF}:classify", {"context": {}}, 400, error="'examples'"),
    Case("examples_an_object", f"{HALF}:classify", {"examples": {"x": [1.0]}}, 400,
         error="list/array"),
    Case("examples_empty", f"{HALF}:classify", {"examples": []}, 400, error="empty array"),
    Case("example_a_list", f"{HALF}:classify", {"examples": [[{"x": 1.0}]]}, 400,
         error="Example must be JSON object"),
    Case("context_a_list", f"{HALF}:regress", {"context": [{"x": 1.0}], "examples": [{}]}, 400,
         error="Example must be JSON object"),
    Case("feature_null", f"{HALF}:regress", {"examples": [{"names": [10, None]}]}, 400,
         error="names has element with unexpected JSON type: Null"),
    Case("feature_mixed", f"{HALF}:regress", b'{"examples": [{"names": [10, 10.0]}]}', 400,
         error="feature: names expecting type: int64"),
    Case("feature_object", f"{HALF}:regress", {"examples": [{"names": [10, {"test": 10}]}]}, 400,
         error="names has element with unexpected JSON type: Object"),
    Case("feature_nested", f"{HALF}:regress", {"examples": [{"names": [[10], 20]}]}, 400,
         error="names has element with unexpected JSON type: Array"),
    Case("feature_uint64", f"{HALF}:regress", {"examples": [{"names": [20, 18446744073709551603]}]},
         400, error="has uint64_t element. Only int64_t is supported."),
    Case("feature_beyond_float", f"{HALF}:regress",
         {"signature_name": "regress_x_to_y", "examples": [{"x": 1.7976931348623157e308}]},
         answer={"results": [float("inf")]}),
    Case("feature_of_wrong_type", f"{HALF}:regress",
         {"signature_name": "regress_x_to_y", "examples": [{"x": "text"}]}, 400),
]  # fmt: skip

RUN = [
    Case("error_while_running", f"{ECHO}:predict",
         {"signature_name": "nothing", "instances": [1]}, 400, error="zero"),
]  # fmt: skip

CASES = [*PATHS, *MODELS, *BODIES, *FORMATS, *TYPES, *STRINGS, *EXAMPLES, *RUN]
