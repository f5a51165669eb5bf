"""Random and mutated requests: no crash, no undocumented 5xx, nothing about the machine leaks."""

import http.client
import json
import string
import urllib.parse

import grpc
import pytest
from conformance.rest_cases import CASES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RELAXED = settings(
    deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
# 501: a type that JSON cannot give. 500: a signature whose method nobody knows.
DOCUMENTED = {200, 400, 404, 413, 501}
LEAKS = (b"Traceback", b'File "', b"site-packages", b"/tmp/", b"/home/", b".py")

NUMBERS = st.integers() | st.floats() | st.booleans() | st.none()
TEXTS = st.text(max_size=20) | st.sampled_from(["", "NaN", "aGVsbG8=", "serving_default", "\0"])
VALUES = st.recursive(
    NUMBERS | TEXTS | st.builds(lambda text: {"b64": text}, TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
KEYS = st.sampled_from(["instances", "inputs", "signature_name", "examples", "context", "x"])
SIGNATURES = st.sampled_from(
    ["serving_default", "two_outputs", "regress_x_to_y", "classify_x_to_y", "float", "int32",
     "text", "pair", "matrix", "uint8", "bool", "scalar", "nothing", "lengths"]
)  # fmt: skip
DOCUMENTS = st.fixed_dictionaries({}, optional={"signature_name": SIGNATURES | VALUES}).flatmap(
    lambda named: st.dictionaries(KEYS, VALUES, max_size=3).map(lambda rest: {**rest, **named})
)
SEEDS = [case.data() for case in CASES if case.body]


@st.composite
def mutated(draw):
    """A valid body with bytes changed, cut out or doubled."""
    body = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 8)))
        body[start:end] = draw(st.binary(max_size=4) | st.just(bytes(body[start:end]) * 2))
    return bytes(body)


BODIES = st.binary(max_size=60) | mutated() | DOCUMENTS.map(lambda d: json.dumps(d).encode())
SEGMENTS = st.sampled_from(
    ["v1", "V1", "models", "half_plus_two", "echo", "versions", "123", "1", "labels", "stable",
     "metadata", ":predict", ":classify", ":regress", "..", "%2e%2e", "%00", "-1", "9" * 30, ""]
) | st.text(string.ascii_letters + string.digits + "%:._-~!$&'()*+,;=@", max_size=12)  # fmt: skip
PATHS = st.lists(SEGMENTS, max_size=7).map(
    lambda parts: "/" + "/".join(parts).replace("/:", ":")
) | st.sampled_from([case.path for case in CASES])


class Wire:
    """One connection that is opened again when the server closed it."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self._place = parts.hostname, parts.port
        self._connection = None

    def ask(self, method, path, body):
        for attempt in (1, 2):
            if self._connection is None:
                self._connection = http.client.HTTPConnection(*self._place, timeout=60)
            try:
                self._connection.request(method, path, body=body)
                response = self._connection.getresponse()
                return response.status, response.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._connection.close()
                self._connection = None
                assert attempt == 1
        raise AssertionError("unreachable")


@pytest.fixture(scope="module")
def wire(server):
    return Wire(server.rest)


def judge(status, body, server):
    assert status in DOCUMENTED or (status == 500 and b"Expected prediction signature" in body), (
        status,
        body[:300],
    )
    assert not any(leak in body for leak in LEAKS), body[:300]
    assert server.process.poll() is None


@settings(RELAXED, max_examples=1500)
@given(
    body=BODIES,
    path=st.sampled_from(
        [f"/v1/models/{model}:{method}" for model in ("half_plus_two", "echo")
         for method in ("predict", "predict", "classify", "regress")]
    ),
)  # fmt: skip
def test_bodies(server, wire, body, path):
    status, answer = wire.ask("POST", path, body)
    judge(status, answer, server)
    # Documents are written with NaN where numbers are not finite, as TensorFlow Serving does.
    assert list(json.loads(answer)) in (["predictions"], ["outputs"], ["results"], ["error"])


@settings(RELAXED, max_examples=700)
@given(
    path=PATHS,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]),
    body=st.sampled_from(SEEDS) | st.none(),
)
def test_paths(server, wire, path, method, body):
    status, answer = wire.ask(method, path, body)
    judge(status, answer, server)


METHODS = [
    f"/tensorflow.serving.{service}"
    for service in (
        "PredictionService/Predict", "PredictionService/Classify", "PredictionService/Regress",
        "PredictionService/MultiInference", "PredictionService/GetModelMetadata",
        "ModelService/GetModelStatus",
    )
]  # fmt: skip


def _valid_messages():
    import tensorflow as tf
    from tensorflow_serving.apis import inference_pb2, predict_pb2, regression_pb2

    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = "half_plus_two"
    predict.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    regress = regression_pb2.RegressionRequest()
    regress.model_spec.name = "half_plus_two"
    regress.model_spec.signature_name = "regress_x_to_y"
    example = regress.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(1.0)
    multi = inference_pb2.MultiInferenceRequest(input=regress.input)
    multi.tasks.add(model_spec=regress.model_spec, method_name="tensorflow/serving/regress")
    return [message.SerializeToString() for message in (predict, regress, multi)]


@settings(RELAXED, max_examples=700)
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_grpc_messages(server, channel_to_server, data, method):
    message = bytearray(data.draw(st.sampled_from(_valid_messages())))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(message) - 1))
        message[place] = data.draw(st.integers(0, 255))
    call = channel_to_server.unary_unary(method).future(bytes(message), timeout=60)
    error = call.exception()
    if error is not None:
        # INTERNAL with these words: gRPC could not parse the message.
        unparsed = "Exception deserializing request" in error.details()
        known = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED")
        assert unparsed or error.code().name in known, error
        assert not any(leak in error.details().encode() for leak in LEAKS)
    assert server.process.poll() is None


@pytest.fixture(scope="module")
def channel_to_server(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


def test_nothing_failed_unexpectedly(server, wire):
    """Runs last: the log of all requests above, and the server answers as before."""
    status, answer = wire.ask(
        "POST", "/v1/models/half_plus_two:predict", b'{"instances": [2, 3, 4]}'
    )
    assert (status, json.loads(answer)) == (200, {"predictions": [3.0, 3.5, 4.0]})
    assert "request failed" not in server.log()
