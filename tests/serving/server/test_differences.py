"""The differences from TensorFlow Serving that serving/deploy/README.md lists.

What other modules of this folder hold carries the mark there.
"""

import json
import urllib.error
import urllib.request

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from preprocessing.support.errors import UsageError
from serving.server import tensorflow_model_server
from serving.server.config import read_models_config
from serving.server.model_versions import list_versions
from serving.server.protos import MOST_FILLED_BYTES
from serving.server.text_config import read_batching_config

pytestmark = pytest.mark.difference

ECHO = "/v1/models/echo:predict"


def ask(server, path, body=None, method=None):
    """Status and parsed body."""
    request = urllib.request.Request(server.rest + path, data=body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read() or "null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or "null")


def echo(server, signature, values):
    return ask(
        server, ECHO, b'{"signature_name": "%s", %s}' % (signature.encode(), values.encode())
    )


@pytest.mark.integration
@pytest.mark.parametrize(
    ("signature", "values", "status", "text"),
    [
        ("uint8", '"instances": [300]', 400, "not of expected type: uint8"),
        ("int32", '"instances": [1], "instances": [2]', 200, {"predictions": [2]}),
        ("float", '"instances": [Inf]', 400, "JSON Parse error"),
        ("float", f'"instances": {"[" * 40}1{"]" * 40}', 400, "nested deeper than 32"),
        ("float", f'"x": {"[" * 9999}1{"]" * 9999}, "instances": [NaN]', 400, "nested too deeply"),
    ],
    ids=["narrow integers", "equal keys", "Inf", "deep lists", "deep values"],
)
def test_json(server, signature, values, status, text):
    given, answer = echo(server, signature, values)
    assert given == status
    assert answer == text if status == 200 else text in answer["error"]


@pytest.mark.integration
def test_head_is_answered(server):
    assert ask(server, "/v1/models/echo", method="HEAD")[0] == 200


@pytest.mark.integration
def test_a_few_values_fill_a_bounded_tensor_only(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "echo"
    request.model_spec.signature_name = "float"
    request.inputs["value"].CopyFrom(tf.make_tensor_proto([1.0]))
    del request.inputs["value"].tensor_shape.dim[:]
    request.inputs["value"].tensor_shape.dim.add(size=MOST_FILLED_BYTES // 4 + 1)
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Predict(request, timeout=60)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"more than {MOST_FILLED_BYTES} bytes" in raised.value.details()


@pytest.mark.integration
def test_services(server):
    """Health without a flag; SessionService not at all, ProfilerService not without one."""
    with grpc.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=60
        )
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        for method in (
            "/tensorflow.ProfilerService/Profile",
            "/tensorflow.serving.SessionService/SessionRun",
        ):
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary(method)(b"", timeout=60)
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.integration
def test_the_metrics_page_is_there_without_a_file(server):
    with urllib.request.urlopen(f"{server.rest}/monitoring/prometheus/metrics") as response:
        assert b"# TYPE" in response.read()


def test_version_folders_are_digits(tmp_path):
    for name in ("7", "+8", " 9", "-1"):
        (tmp_path / name).mkdir()
    assert list(list_versions(str(tmp_path))[0]) == [7]


def test_models_config(tmp_path):
    """Relative base paths are read, logging is not, and the platform is TensorFlow's."""
    path = tmp_path / "models.config"
    entry = 'name: "m" base_path: "m" logging_config { sampling_config { sampling_rate: 1 } }'
    path.write_text(f"model_config_list {{ config {{ {entry} }} }}")
    (model,) = read_models_config(str(path))
    assert model.base_path == str(tmp_path / "m")
    path.write_text(f'model_config_list {{ config {{ {entry} model_platform: "tflite" }} }}')
    with pytest.raises(UsageError, match="platform 'tflite' is not known"):
        read_models_config(str(path))


def test_padding_of_unequal_shapes_is_refused(tmp_path):
    path = tmp_path / "batching.config"
    path.write_text("pad_variable_length_inputs: true")
    with pytest.raises(UsageError, match="not supported"):
        read_batching_config(str(path))


@pytest.mark.parametrize(
    "argument",
    [
        "--enable_per_model_batching_parameters",
        "--tensorflow_session_config_file=x",
        "--use_alts_credentials",
        "--platform_config_file=x",
        "--per_process_gpu_memory_fraction=0.5",
        "--prefer_tflite_model",
        "--xla_cpu_compilation_enabled=true",
        "--xla_gpu_compilation_enabled",
        "--thread_pool_factory_config_file=x",
        "--mixed_precision=bfloat16",
        "--enable_serialization_as_tensor_content",
    ],
)
def test_flags_that_are_refused(argument):
    with pytest.raises(UsageError, match=argument.partition("=")[0]):
        tensorflow_model_server.parse([argument])


@pytest.mark.parametrize(
    "argument",
    [
        "--rest_api_num_threads=2",
        "--grpc_max_threads=2",
        "--num_load_threads=2",
        "--num_unload_threads=2",
        "--flush_filesystem_caches=false",
        "--remove_unused_fields_from_bundle_metagraph=false",
        "--num_tflite_pools=2",
        "--num_tflite_interpreters_per_pool=2",
        "--skip_initialize_tpu",
        "--enable_grpc_healthcheck_service",
    ],
)
def test_flags_that_change_nothing(argument):
    given = ["--model_base_path=m"]
    both = [tensorflow_model_server.parse(flags) for flags in (given, [*given, argument])]
    assert both[0] != both[1]
    plain, changed = map(tensorflow_model_server.translate, both)
    assert plain == changed


def test_the_port_of_grpc_is_needed():
    with pytest.raises(UsageError, match="--port=0"):
        tensorflow_model_server.translate(
            tensorflow_model_server.parse(["--port=0", "--model_base_path=m"])
        )
