"""gRPC requests, their answers and status codes.

The facts come from model_servers/tensorflow_model_server_test.py, servables/tensorflow/
predict_util.cc, classifier.cc, regressor.cc, multi_inference.cc and model_servers/
get_model_status_impl.cc of tensorflow/serving.
"""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

pytestmark = pytest.mark.integration

SPEC = 'model_spec { name: "half_plus_two" } '
X = (
    'inputs { key: "x" value { dtype: DT_FLOAT tensor_shape { dim { size: 2 } } '
    "float_val: 2 float_val: 3 } } "
)
EXAMPLE = (
    'input { example_list { examples { features { feature { key: "x" '
    "value { float_list { value: 80 } } } } } } } "
)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def parsed(kind, text):
    return text_format.Parse(text, kind())


def spec(signature="", extra=""):
    return f'model_spec {{ name: "half_plus_two" signature_name: "{signature}" {extra} }} '


def predict(prediction, text):
    return prediction.Predict(parsed(predict_pb2.PredictRequest, text), timeout=30)


@pytest.mark.parametrize(
    ("chosen", "signature"),
    [
        (SPEC, "serving_default"),
        (spec("serving_default"), "serving_default"),
        (spec("", "version { value: 123 }"), "serving_default"),
        (spec("", 'version_label: "stable"'), "serving_default"),
    ],
)
def test_predict(prediction, chosen, signature):
    response = predict(prediction, chosen + X)
    assert list(response.outputs) == ["y"]
    assert response.outputs["y"].dtype == tf.float32.as_datatype_enum
    assert list(response.outputs["y"].float_val) == [3.0, 3.5]
    assert response.model_spec.name == "half_plus_two"
    assert response.model_spec.version.value == 123
    assert response.model_spec.signature_name == signature


def test_predict_with_output_filter(prediction):
    response = predict(prediction, spec("two_outputs") + X + 'output_filter: "z"')
    assert list(response.outputs) == ["z"]
    assert list(response.outputs["z"].float_val) == [4.0, 4.5]


def test_predict_with_tensor_content(prediction):
    request = parsed(predict_pb2.PredictRequest, SPEC)
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([2.0, 3.0]))
    assert request.inputs["x"].tensor_content
    assert list(prediction.Predict(request, timeout=30).outputs["y"].float_val) == [3.0, 3.5]


@pytest.mark.parametrize(
    ("shape", "values", "answer"),
    [
        ([1], [2.0], [3.0]),
        ([3], [2.0], [3.0, 3.0, 3.0]),
        ([2, 2], [2.0, 4.0], [[3.0, 4.0], [4.0, 4.0]]),
        ([2], [], [2.0, 2.0]),
        ([1], [2.0, 4.0], [3.0]),
        ([], [2.0], 3.0),
        ([0], [], []),
        ([100_000], [2.0], [3.0] * 100_000),
    ],
)
def test_values_fill_the_shape(prediction, shape, values, answer):
    """`Tensor::FromProto` repeats the last value, and ignores those that are too many."""
    request = parsed(predict_pb2.PredictRequest, SPEC)
    tensor = request.inputs["x"]
    tensor.dtype = tf.float32.as_datatype_enum
    tensor.tensor_shape.SetInParent()
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.float_val.extend(values)
    outputs = prediction.Predict(request, timeout=30).outputs
    assert tf.make_ndarray(outputs["y"]).tolist() == answer
    assert len(outputs["y"].float_val) == np.size(answer)


@pytest.mark.parametrize(("values", "answer"), [([b"a"], [b"a"] * 3), ([], [b""] * 3)])
def test_strings_fill_the_shape(prediction, values, answer):
    request = parsed(
        predict_pb2.PredictRequest, 'model_spec { name: "echo" signature_name: "text" }'
    )
    tensor = request.inputs["value"]
    tensor.dtype = tf.string.as_datatype_enum
    tensor.tensor_shape.dim.add(size=3)
    tensor.string_val.extend(values)
    assert list(prediction.Predict(request, timeout=30).outputs["value"].string_val) == answer


def test_inputs_that_are_not_sent_have_the_signatures_defaults(prediction):
    chosen = spec("with_default") + X
    assert list(predict(prediction, chosen).outputs["y"].float_val) == [3.5, 4.0]
    sent = 'inputs { key: "offset" value { dtype: DT_FLOAT tensor_shape { } float_val: 2 } } '
    assert list(predict(prediction, chosen + sent).outputs["y"].float_val) == [5.0, 5.5]
    with pytest.raises(grpc.RpcError) as raised:
        predict(prediction, spec("with_default") + sent)
    assert raised.value.code() == INVALID


def test_predict_by_a_signature_of_another_method(prediction):
    assert list(predict(prediction, spec("other_method") + X).outputs["y"].float_val) == [3.0, 3.5]


def test_predict_by_classify_signature(prediction):
    request = parsed(predict_pb2.PredictRequest, spec("classify_x_to_y"))
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(10.0)
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([example.SerializeToString()]))
    response = prediction.Predict(request, timeout=30)
    assert tf.make_ndarray(response.outputs["scores"]).tolist() == [[7.0]]


DOUBLE = (
    'inputs { key: "x" value { dtype: DT_DOUBLE tensor_shape { dim { size: 1 } } double_val: 2 } } '
)
OTHER = X.replace('"x"', '"other"')


@pytest.mark.parametrize(
    ("text", "code", "details"),
    [
        ("", INVALID, ""),
        ("model_spec { }" + X, INVALID, ""),
        ('model_spec { name: "foo" }' + X, NOT_FOUND,
         "Servable not found for request: Latest(foo)"),
        (spec("", "version { value: 9 }") + X, NOT_FOUND, "Specific(half_plus_two, 9)"),
        (spec("", 'version_label: "no"') + X, INVALID, "Unrecognized servable version label: no"),
        (spec("no") + X, grpc.StatusCode.FAILED_PRECONDITION, 'key "no" not found'),
        (SPEC, INVALID, "Missing but required: {x}"),
        (SPEC + X + OTHER, INVALID, "Sent extra: {other}"),
        (SPEC + OTHER, INVALID, "other"),
        (SPEC + DOUBLE, INVALID, "float"),
        (SPEC + X + 'output_filter: "no"', INVALID, "output tensor alias not found in signature"),
        (SPEC + X + 'output_filter: "y" output_filter: "y"', INVALID, "duplicate output tensor"),
        (SPEC + 'inputs { key: "x" value { dtype: DT_FLOAT tensor_shape { dim { size: -5 } } } }',
         INVALID, ""),
        (SPEC + 'inputs { key: "x" value { } }', INVALID, ""),
    ],
)  # fmt: skip
def test_predict_errors(prediction, text, code, details):
    with pytest.raises(grpc.RpcError) as raised:
        predict(prediction, text)
    assert raised.value.code() == code
    assert details in raised.value.details()


def test_classify(prediction):
    request = parsed(classification_pb2.ClassificationRequest, spec("classify_labelled") + EXAMPLE)
    response = prediction.Classify(request, timeout=30)
    (found,) = response.result.classifications
    assert [(entry.label, entry.score) for entry in found.classes] == [("hello", 42.0)]
    assert response.model_spec.signature_name == "classify_labelled"
    assert response.model_spec.version.value == 123


def test_regress(prediction):
    request = parsed(regression_pb2.RegressionRequest, spec("regress_x_to_y") + EXAMPLE)
    response = prediction.Regress(request, timeout=30)
    assert [entry.value for entry in response.result.regressions] == [42.0]
    assert response.model_spec.signature_name == "regress_x_to_y"


@pytest.mark.parametrize(
    ("text", "details"),
    [
        (spec("regress_x_to_y"), "Input is empty"),
        (spec("regress_x_to_y") + "input { example_list { } }", "Input is empty"),
        (SPEC + EXAMPLE, "No regression inputs found in SignatureDef"),
        (spec("two_outputs") + EXAMPLE, "Expected one output Tensor."),
        (spec("with_default") + EXAMPLE, "Expected one input Tensor."),
        (spec("no") + EXAMPLE, "No signature was found with the name: no"),
    ],
)
def test_regress_errors(prediction, text, details):
    with pytest.raises(grpc.RpcError) as raised:
        prediction.Regress(parsed(regression_pb2.RegressionRequest, text), timeout=30)
    assert raised.value.code() == INVALID
    assert details in raised.value.details()


def task(signature, method, name="half_plus_two"):
    return (
        f'tasks {{ model_spec {{ name: "{name}" signature_name: "{signature}" }} '
        f'method_name: "tensorflow/serving/{method}" }} '
    )


def test_multi_inference(prediction):
    text = task("regress_x_to_y", "regress") + task("classify_x_to_y", "classify") + EXAMPLE
    request = parsed(inference_pb2.MultiInferenceRequest, text)
    first, second = prediction.MultiInference(request, timeout=30).results
    assert first.regression_result.regressions[0].value == 42.0
    assert first.model_spec.signature_name == "regress_x_to_y"
    assert second.classification_result.classifications[0].classes[0].score == 42.0
    assert second.model_spec.version.value == 123


def test_multi_inference_on_signatures_of_unequal_inputs(prediction):
    text = task("regress_x_to_y", "regress") + task("regress_other_examples", "regress") + EXAMPLE
    request = parsed(inference_pb2.MultiInferenceRequest, text)
    results = prediction.MultiInference(request, timeout=30).results
    assert [result.regression_result.regressions[0].value for result in results] == [42.0, 800.0]


def test_regress_by_a_signature_of_predict_method(prediction):
    request = parsed(regression_pb2.RegressionRequest, spec("regress_as_predict") + EXAMPLE)
    assert prediction.Regress(request, timeout=30).result.regressions[0].value == 42.0


@pytest.mark.parametrize(
    ("text", "code", "details"),
    [
        (task("regress_x_to_y", "regress") * 2, INVALID, "Duplicate evaluation of signature"),
        (task("no", "regress"), INVALID, "Requested signature not found in model graph: no"),
        (task("regress_x_to_y", "regress") + task("regress_x_to_y3", "regress", "echo"), INVALID,
         "must access the same model name"),
        (task("regress_x_to_y", "regress", ""), INVALID, "empty model name"),
        (task("regress_x_to_y", "classify"), INVALID,
         "Expected classification signature outputs to contain at least one of"),
        (task("serving_default", "predict"), grpc.StatusCode.UNIMPLEMENTED,
         "Unsupported signature method_name"),
        (task("regress_x_to_y", "regress", "foo"), NOT_FOUND, "Servable not found"),
    ],
)  # fmt: skip
def test_multi_inference_errors(prediction, text, code, details):
    request = parsed(inference_pb2.MultiInferenceRequest, text + EXAMPLE)
    with pytest.raises(grpc.RpcError) as raised:
        prediction.MultiInference(request, timeout=30)
    assert raised.value.code() == code
    assert details in raised.value.details()


def test_metadata(prediction):
    request = parsed(
        get_model_metadata_pb2.GetModelMetadataRequest, SPEC + 'metadata_field: "signature_def"'
    )
    response = prediction.GetModelMetadata(request, timeout=30)
    assert response.model_spec.name == "half_plus_two"
    assert response.model_spec.version.value == 123
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert found.signature_def["serving_default"].inputs["x"].name == "x:0"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('metadata_field: "signature_def"', INVALID),
        (SPEC, INVALID),
        (SPEC + 'metadata_field: "other"', INVALID),
        ('model_spec { name: "foo" } metadata_field: "signature_def"', NOT_FOUND),
    ],
)
def test_metadata_errors(prediction, text, code):
    request = parsed(get_model_metadata_pb2.GetModelMetadataRequest, text)
    with pytest.raises(grpc.RpcError) as raised:
        prediction.GetModelMetadata(request, timeout=30)
    assert raised.value.code() == code


def test_status(models):
    request = parsed(get_model_status_pb2.GetModelStatusRequest, SPEC)
    (entry,) = models.GetModelStatus(request, timeout=30).model_version_status
    assert entry.version == 123
    assert entry.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert entry.status.error_code == 0


@pytest.mark.parametrize(
    ("text", "code", "details"),
    [
        ("", INVALID, "Missing ModelSpec"),
        ('model_spec { name: "foo" }', NOT_FOUND, "Could not find any versions of model foo"),
        (spec("", "version { value: 7 }"), NOT_FOUND, "Could not find version 7 of model"),
    ],
)
def test_status_errors(models, text, code, details):
    with pytest.raises(grpc.RpcError) as raised:
        models.GetModelStatus(parsed(get_model_status_pb2.GetModelStatusRequest, text), timeout=30)
    assert raised.value.code() == code
    assert details in raised.value.details()


def test_reload_without_a_list(models):
    with pytest.raises(grpc.RpcError) as raised:
        models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=30)
    assert raised.value.code() == INVALID
    assert "Only ModelConfigList is currently supported" in raised.value.details()


def test_unknown_method(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Explain")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"", timeout=30)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_deadline(channel):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "echo"
    request.model_spec.signature_name = "work"
    request.inputs["steps"].CopyFrom(tf.make_tensor_proto([2_000_000]))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request, timeout=0.3)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
