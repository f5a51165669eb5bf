"""A server with the options that TensorFlow Serving has flags for."""

import time
import urllib.error
import urllib.request

import grpc
import pytest
from google.protobuf import text_format
from serving_support.models import half_plus_two
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server import profiler
from serving.server.config import ServedModelConfig, ServerOptions, read_models_config
from serving.server.config_poller import ConfigPoller
from serving.server.server import Server

pytestmark = pytest.mark.integration

X = 'inputs { key: "x" value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: 2 } } '
EXAMPLE = "input { example_list { examples { } } }"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models, whose versions are padded with zeros."""
    made = tmp_path_factory.mktemp("served")
    half_plus_two(made / "two" / "00000123")
    half_plus_two(made / "three" / "00000123", offset=3.0)
    return made


@pytest.fixture(scope="module")
def running(folder):
    options = ServerOptions(
        port=0,
        rest_port=0,
        socket_path=str(folder / "socket"),
        grpc_arguments=(("grpc.max_connection_age_ms", 60_000), ("grpc.lb_policy_name", "grpclb")),
        check_methods=True,
        metrics_path="/numbers",
        profiler=True,
        drain_seconds=1,
    )
    server = Server([ServedModelConfig("two", str(folder / "two"))], options)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def channel(running):
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        yield channel


def asked(kind, text, signature="", model="two"):
    return text_format.Parse(
        f'model_spec {{ name: "{model}" signature_name: "{signature}" }} {text}', kind()
    )


def predict(channel, **chosen):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return stub.Predict(asked(predict_pb2.PredictRequest, X, **chosen), timeout=60)


def test_unix_socket(folder, running):
    with grpc.insecure_channel(f"unix:{folder / 'socket'}") as channel:
        answer = predict(channel)
    assert list(answer.outputs["y"].float_val) == [3.0]
    assert answer.model_spec.version.value == 123


def test_method_names_are_checked_where_that_is_asked(channel):
    with pytest.raises(grpc.RpcError) as raised:
        predict(channel, signature="other_method")
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert "Expected prediction signature method_name" in raised.value.details()
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = asked(regression_pb2.RegressionRequest, EXAMPLE, "regress_as_predict")
    with pytest.raises(grpc.RpcError) as raised:
        stub.Regress(request, timeout=60)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Expected regression signature method_name" in raised.value.details()


def test_metrics_page_is_where_the_file_says(running):
    base = f"http://127.0.0.1:{running.rest_port}"
    with urllib.request.urlopen(f"{base}/numbers", timeout=60) as response:
        assert b"# TYPE" in response.read()
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{base}/monitoring/prometheus/metrics", timeout=60)
    assert raised.value.code == 404


@pytest.mark.difference
def test_profiler(channel, tmp_path):
    """Only Profile is answered; where there is an option, see test_differences."""
    call = channel.unary_unary(
        "/tensorflow.ProfilerService/Profile",
        request_serializer=profiler._class("ProfileRequest").SerializeToString,
        response_deserializer=profiler._class("ProfileResponse").FromString,
    )
    request = profiler._class("ProfileRequest")(
        duration_ms=200, repository_root=str(tmp_path), session_id="now", host_name="localhost:1"
    )
    assert not call(request, timeout=60).empty_trace
    assert (tmp_path / "now" / "localhost_1.xplane.pb").stat().st_size > 0
    request.duration_ms = 0
    with pytest.raises(grpc.RpcError) as raised:
        call(request, timeout=60)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/tensorflow.ProfilerService/Monitor")(b"", timeout=60)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_models_config_is_polled(folder, tmp_path, caplog):
    path = tmp_path / "models.config"

    def write(name):
        path.write_text(
            f'model_config_list {{ config {{ name: "{name}" base_path: "{folder / name}" '
            'model_platform: "tensorflow" } }'
        )

    write("two")
    models = read_models_config(str(path))
    server = Server(models, ServerOptions(port=0, rest_port=None, drain_seconds=1))
    assert server.rest_port is None
    server.start()
    poller = ConfigPoller(lambda: read_models_config(str(path)), server.manager, 0.05)
    try:
        write("three")
        until(lambda: server.manager.summary() == {"three": [123]})
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            assert list(predict(channel, model="three").outputs["y"].float_val) == [4.0]
        path.write_text("improperly formatted")
        until(lambda: "Error parsing text-format" in caplog.text)
        time.sleep(0.2)
        assert caplog.text.count("Error parsing text-format") == 1
        assert server.manager.summary() == {"three": [123]}
        write("two")
        until(lambda: server.manager.summary() == {"two": [123]})
    finally:
        poller.stop()
        server.stop()


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
