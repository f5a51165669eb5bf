"""The server as a process: limits, health, metrics, security, its end."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from serving_support.gateway import until
from serving_support.models import echo, half_plus_two
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

import serving
from serving.clients import ClientSettings, ScoringError, connect
from serving.server.main import main
from serving.server.process import ServerProcess

pytestmark = pytest.mark.integration

PREDICT = "tensorflow.serving.PredictionService"


def post(url, body, context=None, token="", timeout=60):
    """Status and JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def work(steps):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "echo"
    request.model_spec.signature_name = "work"
    request.inputs["steps"].CopyFrom(tf.make_tensor_proto([steps]))
    return request


def test_health_of_server_and_services(server):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", PREDICT, "tensorflow.serving.ModelService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_libraries_say_nothing_while_the_server_starts(server):
    start = server.log().partition(" is served ")[0]
    assert start, "the log tells of the first version"
    for line in start.splitlines():
        assert re.match(r"[\d-]+ [\d:,]+ (?:INFO|WARNING|ERROR) serving\.", line), line


@pytest.mark.difference
def test_reflection_lists_the_services(server):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([ask]), timeout=30)
    names = {service.name for service in answer.list_services_response.service}
    assert {PREDICT, "tensorflow.serving.ModelService", "grpc.health.v1.Health"} <= names


@pytest.mark.difference
def test_bodies_beyond_the_limit(server):
    status, answer = post(f"{server.rest}/v1/models/echo:predict", b" " * ((64 << 20) + 1))
    assert status == 413
    assert "larger than" in answer["error"]
    request = predict_pb2.PredictRequest()
    request.inputs["x"].string_val.append(b" " * (64 << 20))
    with grpc.insecure_channel(server.grpc, [("grpc.max_send_message_length", -1)]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Predict(request, timeout=60)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_small_message_cannot_claim_a_large_tensor(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "echo"
    request.model_spec.signature_name = "float"
    tensor = request.inputs["value"]
    tensor.dtype = tf.float32.as_datatype_enum
    tensor.tensor_shape.dim.add(size=1 << 40)
    tensor.float_val.append(1.0)
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Predict(request, timeout=60)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_no_http_keeps_the_server(server):
    host, port = server.rest.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert post(f"{server.rest}/v1/models/half_plus_two:predict", {"instances": [1]})[0] == 200


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_scorers_split_batches_and_keep_the_order(server, protocol):
    url = f"grpc://{server.grpc}" if protocol == "grpc" else server.rest
    settings = ClientSettings(batch_size=3, signature="lengths")
    crops = [b"\0" * n for n in (5, 1, 9, 4, 2, 8, 3)]
    with connect(url, "echo", settings) as scorer:
        found = scorer.score(crops)
        assert scorer.versions() == [1]
        assert scorer.score([]).scores.shape == (0,)
    expected = np.array([5, 1, 9, 4, 2, 8, 3], np.float32) / np.float32(8)
    assert found.logits.tobytes() == expected.tobytes()
    assert found.scores == pytest.approx(1 / (1 + np.exp(-expected)))


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(
    ("model", "settings", "version", "code"),
    [
        ("none", {}, None, "NOT_FOUND"),
        ("echo", {}, 7, "NOT_FOUND"),
        ("echo", {"signature": "pair"}, None, "INVALID_ARGUMENT"),
    ],
)
def test_scorers_report_what_the_server_says(server, protocol, model, settings, version, code):
    url = f"grpc://{server.grpc}" if protocol == "grpc" else server.rest
    settings = ClientSettings(**{"signature": "lengths", **settings})
    with (
        connect(url, model, settings, version) as scorer,
        pytest.raises(ScoringError) as raised,
    ):
        scorer.score([b"x"])
    assert raised.value.code == code


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, certificate):
    """A server with TLS and a token that takes two requests at a time."""
    folder = tmp_path_factory.mktemp("narrow")
    echo(folder / "echo" / "1")
    (folder / "token").write_text("secret-of-the-test\n")
    cert, key = certificate
    arguments = ["--model-base", folder / "echo", "--max-in-flight", "2"]
    arguments += ["--slots", "2", "--drain", "1", "--rest-timeout", "10"]
    arguments += ["--tls-cert", cert, "--tls-key", key, "--token-file", folder / "token"]
    with ServerProcess(arguments) as process:
        yield process


@pytest.mark.difference
def test_tls_and_token(narrow, certificate):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    url = f"{narrow.rest}/v1/models/echo:predict"
    body = {"signature_name": "int32", "instances": [1]}
    assert narrow.rest.startswith("https://")
    assert post(url, body, trusting, "secret-of-the-test") == (200, {"predictions": [1]})
    assert post(url, body, trusting)[0] == 401
    assert post(url, body, trusting, "wrong")[0] == 401
    with pytest.raises(urllib.error.URLError):
        post(url, body, ssl.create_default_context(), "secret-of-the-test")

    for token, error in (("secret-of-the-test", None), ("", "UNAUTHENTICATED")):
        settings = ClientSettings(signature="lengths", token=token, tls_ca=str(certificate[0]))
        for address in (f"grpcs://{narrow.grpc}", narrow.rest):
            with connect(address, "echo", settings) as scorer:
                if error is None:
                    assert scorer.score([b"12345678"]).logits.tolist() == [1.0]
                else:
                    with pytest.raises(ScoringError) as raised:
                        scorer.score([b"12345678"])
                    assert raised.value.code == error


def _secure(narrow, certificate):
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    return grpc.secure_channel(narrow.grpc, credentials)


@pytest.mark.difference
def test_rest_timeout_ends_the_work(narrow, certificate):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    url = f"{narrow.rest}/v1/models/echo:predict"
    body = {"signature_name": "work", "instances": [10_000_000]}
    status, answer = post(url, body, trusting, "secret-of-the-test")
    assert status == 504
    assert answer == {"error": "the model ran too long"}
    # Both slots are free again: the step was stopped, and not only its answer.
    for _ in range(3):
        body = {"signature_name": "int32", "instances": [1]}
        assert post(url, body, trusting, "secret-of-the-test")[0] == 200


TOKEN = (("authorization", "Bearer secret-of-the-test"),)
REFUSED = grpc.StatusCode.RESOURCE_EXHAUSTED


def in_flight(process, trusting=None):
    """Requests that the server says it is answering; it says nothing before the first one."""
    request = urllib.request.Request(f"{process.rest}/monitoring/prometheus/metrics")
    request.add_header("Authorization", "Bearer secret-of-the-test")
    with urllib.request.urlopen(request, timeout=60, context=trusting) as answer:
        page = answer.read().decode()
    gauge = re.search(r"^:deepfake:serving:in_flight\S* (\d+)$", page, re.M)
    return int(gauge[1]) if gauge else 0


@pytest.mark.difference
def test_full_server_refuses_and_stays_healthy(narrow, certificate):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    # A request of another test may still run after its deadline.
    until(lambda: in_flight(narrow, trusting) == 0, "nothing is being answered")
    with _secure(narrow, certificate) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        running = [
            stub.Predict.future(work(10_000_000), timeout=300, metadata=TOKEN) for _ in range(2)
        ]
        until(lambda: in_flight(narrow, trusting) == 2, "both are being answered")
        with pytest.raises(grpc.RpcError) as raised:
            stub.Predict(work(1), timeout=60, metadata=TOKEN)
        assert raised.value.code() == REFUSED
        body = {"signature_name": "int32", "instances": [1]}
        url = f"{narrow.rest}/v1/models/echo:predict"
        assert post(url, body, trusting, "secret-of-the-test")[0] == 429
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert not any(call.done() for call in running)
        for call in running:
            call.cancel()


@pytest.mark.slow
def test_sigterm_lets_running_requests_finish(tmp_path):
    echo(tmp_path / "echo" / "1")
    arguments = ["--model-base", tmp_path / "echo", "--drain", "120", "--rest-timeout", "120"]
    unknown = predict_pb2.PredictRequest()
    unknown.model_spec.name = "none"  # Answered without a slot.
    with ServerProcess(arguments) as process:
        with grpc.insecure_channel(process.grpc) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

            def refused():
                with pytest.raises(grpc.RpcError) as raised:
                    stub.Predict(unknown, timeout=30)
                code, status = raised.value.code(), grpc.StatusCode
                # gRPC's core cancels what came just before it refuses (grpc/grpc issue 41785).
                assert code in (status.NOT_FOUND, status.CANCELLED, status.UNAVAILABLE)
                return code == status.UNAVAILABLE

            def seconds():
                start = time.monotonic()
                stub.Predict(work(100), timeout=60)
                return time.monotonic() - start

            # Some five seconds of work, whatever the machine's speed.
            steps = int(100 * 5 / min(seconds() for _ in range(3)))
            answer = stub.Predict.future(work(steps), timeout=600)
            url = f"{process.rest}/v1/models/echo:predict"
            body = {"signature_name": "work", "instances": [steps]}
            with futures.ThreadPoolExecutor(1) as threads:
                rest = threads.submit(post, url, body, timeout=600)
                until(lambda: in_flight(process) == 2, "both are being answered")
                process.process.send_signal(signal.SIGTERM)
                until(refused, "new requests are refused")
                assert not answer.done()
                assert not rest.done()
                assert answer.result().outputs["done"].int_val[0] == steps
                assert rest.result() == (200, {"predictions": [steps]})
        assert process.process.wait(60) == 0


@pytest.mark.slow
def test_kill_and_restart_serve_the_last_good_version(tmp_path):
    """Also: no tfx, a log on a full disk, and the end of the parent."""
    models = tmp_path / "m"
    half_plus_two(models / "1")
    (models / "2").mkdir()
    (models / "2" / "saved_model.pb").write_bytes(b"\xff\xff")
    hidden = tmp_path / "hidden" / "tfx"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('the server must not need tfx')")
    root = str(Path(serving.__file__).resolve().parents[1])
    environment = {"PYTHONPATH": os.pathsep.join([str(hidden.parent), root])}
    log = tmp_path / "log"
    with ServerProcess(["--model-base", models], log, environment=environment) as process:
        url = f"{process.rest}/v1/models/m:predict"
        assert post(url, {"instances": [2]}) == (200, {"predictions": [3.0]})
        assert "version 2 is not served" in process.log()
        process.process.kill()
        process.process.wait()
    with ServerProcess(["--model-base", models], "/dev/full", environment=environment) as process:
        assert process.models == {"m": [1]}
        url = f"{process.rest}/v1/models/m"
        assert post(f"{url}:predict", {"instances": [2]}) == (200, {"predictions": [3.0]})
        half_plus_two(models / "3", offset=10.0)
        end = time.monotonic() + 60
        while post(f"{url}:predict", {"instances": [2]})[1] != {"predictions": [11.0]}:
            assert time.monotonic() < end
            time.sleep(0.1)

        def states():
            with urllib.request.urlopen(url) as answer:
                entries = json.loads(answer.read())["model_version_status"]
            return {entry["version"]: entry["state"] for entry in entries}

        ended = {"3": "AVAILABLE", "2": "END", "1": "END"}
        until(lambda: states() == ended, "the version before is unloaded")
        assert _reload(process, str(models), "renamed") == grpc.StatusCode.OK
        renamed = f"{process.rest}/v1/models/renamed:predict"
        assert post(renamed, {"instances": [2]}) == (200, {"predictions": [11.0]})
        assert post(f"{url}:predict", {"instances": [2]})[0] == 404
        missing = _reload(process, str(tmp_path / "nowhere"), "other")
        assert missing == grpc.StatusCode.UNKNOWN
        process.process.stdin.close()  # As it is when the parent ends in any way.
        assert process.process.wait(60) == 0


def _reload(process, base_path, name):
    """The status of HandleReloadConfigRequest with one model."""
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(
        name=name, base_path=base_path, model_platform="tensorflow"
    )
    with grpc.insecure_channel(process.grpc) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        try:
            assert stub.HandleReloadConfigRequest(request, timeout=60).status.error_code == 0
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-base", "nowhere"], "nowhere is not a folder"),
        (["--model-base", ".", "--models-config", "x"], "not both"),
        (["--models-config", "nowhere"], "nowhere"),
        (["--model-base", ".", "--tls-cert", "x"], "go together"),
        (["--model-base", ".", "--token-file", "nowhere"], "nowhere"),
        (["--model-base", ".", "--batching", "nowhere"], "nowhere"),
        (["--model-base", ".", "--port", "70000"], "0 to 65535"),
        (["--model-base", ".", "--max-in-flight", "0"], "more than 0"),
    ],
)
def test_wrong_usage(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["serve", *arguments])
    assert main() == 2
    assert message in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from serving.server.main import main; sys.argv = ['serve', '--help']; "
        "assert main() == 0; "
        "assert not {'tensorflow', 'grpc', 'tfx', 'uvicorn', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_taken_port(server, tmp_path, monkeypatch, capsys):
    for flag, address in (("--port", server.grpc), ("--rest-port", server.rest)):
        ports = ["--port", "0", "--rest-port", "0", flag, port := address.split(":")[-1]]
        monkeypatch.setattr("sys.argv", ["serve", "--model-base", str(tmp_path), *ports])
        assert main() == 2
        assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("digits", "status"),
    [(str(1 << 63), 400), ("9" * 5000, 400), ("0" * 5000 + "987654321", 404)],
    ids=["64 bits", "5000 digits", "5000 zeros"],
)
def test_versions_of_any_length_are_read(server, digits, status):
    """Python itself refuses to convert more than 4300 digits."""
    url = f"{server.rest}/v1/models/half_plus_two/versions/{digits}:predict"
    assert post(url, {"instances": [1]})[0] == status
