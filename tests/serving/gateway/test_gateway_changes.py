"""The gateway while its model server changes, is gone, or it is told to end; over REST."""

import http.client
import shutil
import socket
import ssl
import threading
import urllib.parse
from concurrent import futures

import grpc
import processes
import pytest
from made_media import face_frame, write_video
from serving_support.gateway import GatewayProcess, add_version, until
from serving_support.models import face_detector
from serving_support.planned_servers import GrpcFake, Plan
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.model.predictor import Predictor
from serving.server.process import ServerProcess

pytestmark = pytest.mark.integration

TOKEN = "a long secret"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    frames = [face_frame([(60 + 4 * number, 40, 1.0)]) for number in range(12)]
    return write_video(tmp_path_factory.mktemp("clip") / "moving.mp4", frames)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return face_detector(tmp_path_factory.mktemp("model") / "detector")


@pytest.fixture
def running(tmp_path, model):
    """A server, a gateway that asks it over REST with a token, and their folder of versions."""
    base = tmp_path / "tiny"
    base.mkdir()
    add_version(base, 1, model, real_below=0.3, fake_above=0.4)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with ServerProcess(
        ["--model-base", base, "--poll", "0.2", "--token-file", token]
    ) as server, GatewayProcess(
        tmp_path / "run", "--server", server.rest, "--model", "tiny", "--model-base", base,
        "--server-token-file", token, "--token-file", token,
    ) as gateway:  # fmt: skip
        yield server, gateway, base


def ready(gateway):
    status, _, answer = gateway.request("GET", "/readyz")
    return answer.get("version") if status == 200 else status


def listens(gateway):
    address = urllib.parse.urlsplit(gateway.url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=30).close()
    except ConnectionError:
        return False
    return True


def test_crops_follow_the_version_that_is_served(running, clip, model):
    _, gateway, base = running
    body = clip.read_bytes()
    assert gateway.verdict(body)[0] == 401
    assert gateway.request("GET", "/metrics")[0] == 401
    assert gateway.request("GET", "/healthz")[0] == 200

    def check(number):
        status, answer = gateway.verdict(body, token=TOKEN)
        assert (status, answer["model"]["version"]) == (200, number)
        predictor = Predictor(base / str(number))
        expected = predictor.predict(clip)
        predictor.close()
        assert answer["score"] == pytest.approx(expected.score, abs=1e-5)
        assert answer["verdict"] == expected.verdict
        return answer

    first = check(1)
    # The same network with wider crops and other thresholds.
    add_version(base, 2, model, real_below=0.97, fake_above=0.98, margin=2.5)
    until(lambda: ready(gateway) == 2, "version 2 is served")
    second = check(2)
    assert abs(first["score"] - second["score"]) > 1e-3
    assert (first["verdict"], second["verdict"]) == ("fake", "real")

    # One that wants crops which nobody here can cut: no score is better than a wrong one.
    add_version(base, 3, model, real_below=0.3, fake_above=0.4, unheard_of=1)
    until(lambda: ready(gateway) == 503, "version 3 is served")
    status, headers, answer = gateway.request("POST", "/v1/verdict", body, token=TOKEN)
    assert status == 503
    assert "version 3" in answer["error"]
    assert headers["retry-after"]
    assert "unheard_of" in gateway.log()

    # Back to an older one.
    shutil.rmtree(base / "3")
    shutil.rmtree(base / "2")
    until(lambda: ready(gateway) == 1, "version 1 is served")
    assert check(1)["score"] == first["score"]


def test_server_that_is_gone_and_comes_back_and_the_end_of_the_gateway(running, clip):
    server, gateway, base = running
    body = clip.read_bytes()
    assert gateway.verdict(body, token=TOKEN)[0] == 200
    with futures.ThreadPoolExecutor(3) as threads:
        with gateway.workers_stopped():
            pending = [threads.submit(gateway.verdict, body, token=TOKEN) for _ in range(3)]
            until(lambda: len(gateway.uploads()) == 3, "all files are there")
            server.stop()
        assert [one.result()[0] for one in pending] == [503] * 3
    status, headers, answer = gateway.request("POST", "/v1/verdict", body, token=TOKEN)
    assert (status, answer["error"]) == (503, "the model server does not answer")
    assert int(headers["retry-after"]) > 0
    assert ready(gateway) == 503
    assert gateway.request("GET", "/healthz")[0] == 200
    port = server.rest.rpartition(":")[2]
    again = ["--model-base", base, "--rest-port", port, "--token-file", base.parent / "token"]
    with ServerProcess(again):
        until(lambda: ready(gateway) == 1, "the server is asked again")
        assert gateway.verdict(body, token=TOKEN)[0] == 200
    assert gateway.stop() == 0
    assert not list(gateway.folder.iterdir())


def test_requests_that_came_before_sigterm_are_answered(running, clip):
    _, gateway, _ = running
    body = clip.read_bytes()
    with futures.ThreadPoolExecutor(4) as threads:
        with gateway.workers_stopped():
            pending = [threads.submit(gateway.verdict, body, token=TOKEN) for _ in range(3)]
            until(lambda: len(gateway.uploads()) == 3, "all files are there")
            end = threads.submit(gateway.stop)
            until(lambda: not listens(gateway), "SIGTERM is heeded")
        assert [one.result()[0] for one in pending] == [200] * 3
        assert end.result() == 0
    with pytest.raises(OSError):  # noqa: PT011  How a connection ends is the system's choice.
        gateway.verdict(body, token=TOKEN)
    assert "Traceback" not in gateway.log()
    assert not list(gateway.folder.iterdir())


def test_a_killed_gateway_leaves_no_job_no_worker_and_in_the_end_no_file(running, clip):
    _, gateway, _ = running
    workers = processes.descendants(gateway.process.pid)
    assert workers
    path = "/v1/jobs?overlay=1"
    jobs = [gateway.request("POST", path, clip.read_bytes(), token=TOKEN)[2] for _ in range(3)]
    assert gateway.uploads()
    gateway.process.kill()
    gateway.process.wait()
    until(lambda: not workers & processes.running(), "the workers have ended")
    assert gateway.uploads(), "nobody could delete them"
    with gateway:
        assert not gateway.uploads()
        assert "removed" in gateway.log()
        for job in jobs:
            assert gateway.request("GET", f"/v1/jobs/{job['id']}", token=TOKEN)[0] == 404
        assert gateway.verdict(clip.read_bytes(), token=TOKEN)[0] == 200
    assert not list(gateway.folder.iterdir())


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_tls_from_the_client_to_the_model_server(tmp_path, model, clip, certificate, protocol):
    base = tmp_path / "tiny"
    base.mkdir()
    add_version(base, 1, model, real_below=0.3, fake_above=0.4)
    cert, key = certificate
    tls = ["--tls-cert", cert, "--tls-key", key]
    with ServerProcess(["--model-base", base, *tls]) as server, GatewayProcess(
        tmp_path / "run", *tls, "--server-ca", cert, "--model", "tiny", "--model-base", base,
        "--server", {"grpc": f"grpcs://{server.grpc}", "rest": server.rest}[protocol],
        trusting=ssl.create_default_context(cafile=str(cert)),
    ) as gateway:  # fmt: skip
        assert gateway.url.startswith("https://")
        assert server.rest.startswith("https://")
        until(lambda: ready(gateway) == 1, "version 1 is served")
        status, answer = gateway.verdict(clip.read_bytes())
        assert (status, answer["verdict"]) == (200, "fake")
        address = urllib.parse.urlsplit(gateway.url)
        with pytest.raises(ssl.SSLCertVerificationError):
            http.client.HTTPSConnection(address.hostname, address.port).request("GET", "/healthz")
        plain = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        plain.request("GET", "/healthz")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()


class Stuck(Plan):
    """Scores nothing until it is let go."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    def next(self, crops):
        super().next(crops)
        self.go.wait(120)


class Status(model_service_pb2_grpc.ModelServiceServicer):
    def GetModelStatus(self, request, context):
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        status = get_model_status_pb2.ModelVersionStatus(version=1, state=available)
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=[status])


def test_a_job_that_the_model_server_holds_is_no_request_that_was_cut_off(tmp_path, model, clip):
    base = tmp_path / "tiny"
    base.mkdir()
    add_version(base, 1, model, real_below=0.3, fake_above=0.4)
    plan, server = Stuck(), grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(GrpcFake(plan), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Status(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with GatewayProcess(
            tmp_path / "run", "--server", f"grpc://127.0.0.1:{port}", "--model", "tiny",
            "--model-base", base,
        ) as gateway:  # fmt: skip
            assert gateway.request("POST", "/v1/jobs", clip.read_bytes())[0] == 202
            until(lambda: plan.batches, "its faces are to be scored")
            assert gateway.stop() == 0
            assert "cut off" not in gateway.log()
    finally:
        plan.go.set()
        server.stop(None)
