"""Converts messages of PredictionService and ModelService to arrays, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.server.inference import Classifications, Inference, as_strings
from serving.server.manager import ModelManager
from serving.server.predict_answer import VALUE_FIELDS, predict_response
from serving.server.servable import DEFAULT_SIGNATURE, Servable
from serving.server.served_model import Target
from serving.server.status_codes import Code, ServingError, from_tensorflow, invalid

SIGNATURE_DEF = "signature_def"
# A few values may stand for as many elements as this; TensorFlow Serving has no such limit.
MOST_FILLED_BYTES = 64 << 20
_VALUES_AT_ONCE = 1 << 14


def target_of(request: Any) -> Target:
    """What a request with a `model_spec` names.

    Raises:
      ServingError: INVALID_ARGUMENT: no `model_spec`, or one without a name.
    """
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return target_of_spec(request.model_spec)


def target_of_spec(spec: model_pb2.ModelSpec) -> Target:
    """See `target_of`."""
    if not spec.name:
        raise invalid("ModelSpec has no name specified.")
    version = spec.version.value if spec.HasField("version") else None
    return Target(spec.name, version, spec.version_label)


def predict(
    inference: Inference,
    servable: Servable,
    request: predict_pb2.PredictRequest,
    deadline: float,
) -> bytes:
    """PredictionService.Predict on a version; a serialized PredictResponse."""
    inputs = {alias: _array(alias, tensor) for alias, tensor in request.inputs.items()}
    signature_name = request.model_spec.signature_name
    outputs = inference.predict(
        servable, signature_name, inputs, deadline, list(request.output_filter)
    )
    spec = model_pb2.ModelSpec()
    _set_spec(spec, servable, signature_name or DEFAULT_SIGNATURE)
    return predict_response(spec, outputs)


def classify(
    inference: Inference,
    servable: Servable,
    request: classification_pb2.ClassificationRequest,
    deadline: float,
) -> classification_pb2.ClassificationResponse:
    """PredictionService.Classify on a version."""
    name = request.model_spec.signature_name
    result = inference.classify(servable, name, examples_of(request.input), deadline)
    response = classification_pb2.ClassificationResponse()
    _set_spec(response.model_spec, servable, name or DEFAULT_SIGNATURE)
    _fill_classification(response.result, result)
    return response


def regress(
    inference: Inference,
    servable: Servable,
    request: regression_pb2.RegressionRequest,
    deadline: float,
) -> regression_pb2.RegressionResponse:
    """PredictionService.Regress on a version."""
    name = request.model_spec.signature_name
    result = inference.regress(servable, name, examples_of(request.input), deadline)
    response = regression_pb2.RegressionResponse()
    _set_spec(response.model_spec, servable, name or DEFAULT_SIGNATURE)
    _fill_regression(response.result, result)
    return response


def multi_inference(
    inference: Inference,
    servable: Servable,
    request: inference_pb2.MultiInferenceRequest,
    deadline: float,
) -> inference_pb2.MultiInferenceResponse:
    """PredictionService.MultiInference on a version."""
    tasks = [(task.model_spec.signature_name, task.method_name) for task in request.tasks]
    results = inference.multi_inference(servable, tasks, examples_of(request.input), deadline)
    response = inference_pb2.MultiInferenceResponse()
    for (signature_name, _), result in zip(tasks, results, strict=True):
        entry = response.results.add()
        _set_spec(entry.model_spec, servable, signature_name or DEFAULT_SIGNATURE)
        if isinstance(result, Classifications):
            _fill_classification(entry.classification_result, result)
        else:
            _fill_regression(entry.regression_result, result)
    return response


def multi_inference_target(request: inference_pb2.MultiInferenceRequest) -> Target:
    """The one model that all tasks must name."""
    targets = []
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        targets.append(target_of_spec(task.model_spec))
    if not targets:
        raise invalid("Inference request must have at least one task.")
    if len({target.name for target in targets}) > 1:
        raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    return targets[0]


def metadata(
    manager: ModelManager, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """PredictionService.GetModelMetadata."""
    target = target_of(request)
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with manager.acquire(target) as servable:
        _set_spec(response.model_spec, servable, "")
        signatures = signature_map(servable)
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def signature_map(servable: Servable) -> get_model_metadata_pb2.SignatureDefMap:
    """All signatures of a version."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures


def status(manager: ModelManager, target: Target) -> get_model_status_pb2.GetModelStatusResponse:
    """ModelService.GetModelStatus."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in manager.status(target):
        entry = response.model_version_status.add(version=version.number, state=int(version.state))
        entry.status.error_code = int(version.code)
        entry.status.error_message = version.message
    return response


def examples_of(message: input_pb2.Input) -> list[bytes]:
    """Serialized tf.Examples of an Input; its context is merged into each."""
    kind = message.WhichOneof("kind")
    if kind == "example_list":
        return [example.SerializeToString() for example in message.example_list.examples]
    if kind == "example_list_with_context":
        # Concatenated messages merge: the parser of tf.Example reads both.
        context = message.example_list_with_context.context.SerializeToString()
        return [
            context + example.SerializeToString()
            for example in message.example_list_with_context.examples
        ]
    return []


def _array(alias: str, tensor: Any) -> np.ndarray:
    """An input as an array, by the rules of TensorFlow's `Tensor::FromProto`.

    Of fewer values than the shape holds the last is repeated; of more the rest is ignored.
    """
    try:
        dtype = tf.as_dtype(tensor.dtype)
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
            raise ValueError("its shape is not known")
        elements = math.prod(shape)
        if elements * max(dtype.size or 1, 1) > max(MOST_FILLED_BYTES, tensor.ByteSize()):
            raise ValueError(
                f"its shape holds {elements} elements, more than {MOST_FILLED_BYTES} bytes and "
                "more than the message"
            )
        if dtype == tf.string:
            return _strings(tensor, elements).reshape(shape)
        values = getattr(tensor, VALUE_FIELDS.get(dtype, "half_val"))
        few = elements <= _VALUES_AT_ONCE
        if tensor.tensor_content or (few and len(values) == elements):
            return tf.make_ndarray(tensor)
        # TensorFlow's own conversion repeats the last value, and leaves the GIL to others.
        return tf.io.parse_tensor(tensor.SerializeToString(), dtype).numpy()
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise invalid(f"input {alias}: tensor parsing error: {error}") from None
    except tf.errors.OpError as error:
        raise from_tensorflow(error) from None


def _strings(tensor: Any, elements: int) -> np.ndarray:
    values = list(tensor.string_val[:elements])
    last = values[-1:] or [b""]
    return as_strings(values + last * (elements - len(values)))


def _set_spec(spec: model_pb2.ModelSpec, servable: Servable, signature_name: str) -> None:
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = signature_name


def _fill_classification(result: Any, classifications: Classifications) -> None:
    for row in classifications.rows():
        entry = result.classifications.add()
        for label, score in row:
            try:
                entry.classes.add(label=label.decode(), score=float(score))
            except UnicodeDecodeError:
                raise ServingError(Code.INTERNAL, "a class label is not UTF-8") from None


def _fill_regression(result: Any, values: np.ndarray) -> None:
    for value in values:
        result.regressions.add(value=float(value))
