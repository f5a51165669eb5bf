"""What the server refuses before it reads, who may reload its configuration, how it ends."""

import gzip
import http.client
import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from concurrent import futures
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from serving_support.gateway import until
from serving_support.models import face_detector, half_plus_two
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

import serving
from serving.clients import ScoringError, connect
from serving.server.config import ServedModelConfig, ServerOptions
from serving.server.process import ServerProcess
from serving.server.server import Server
from serving.server.text_config import BatchingConfig

pytestmark = pytest.mark.integration

ROOT = Path(serving.__file__).resolve().parents[1]
MB = 1 << 20


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "m"
    half_plus_two(base / "1")
    return base


@pytest.fixture(scope="module")
def small(base):
    """A server with room for bodies of 8 MB together, each of at most 4."""
    arguments = ["--max-message-mb", 4, "--max-body-mb", 8, "--rest-timeout", 20]
    with ServerProcess(["--model-base", base, *arguments]) as process:
        yield process


class Request:
    """A request whose body comes when the test says so."""

    def __init__(self, server, length=None, headers=()):
        address = urllib.parse.urlsplit(server.rest)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        self._connection.putrequest("POST", "/v1/models/m:predict")
        for name, value in headers:
            self._connection.putheader(name, value)
        if length is not None:
            self._connection.putheader("Content-Length", str(length))
        self._connection.endheaders()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def send(self, data):
        self._connection.send(data)

    def answer(self):
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def admitted(server, count):
    """Waits until the server has admitted so many requests."""

    def in_flight():
        with urllib.request.urlopen(f"{server.rest}/monitoring/prometheus/metrics") as answer:
            page = answer.read().decode()
        (line,) = [row for row in page.splitlines() if row.startswith(":deepfake:serving:in_fl")]
        return int(line.split()[-1])

    until(lambda: in_flight() == count, f"{count} requests are admitted")


def padded(size):
    return json.dumps({"instances": [2.0]}).encode().ljust(size)


def test_bodies_are_refused_before_they_come_when_there_is_no_room(small):
    with Request(small, 4 * MB) as first, Request(small, 4 * MB) as second:
        first.send(b" ")
        second.send(b" ")
        admitted(small, 2)
        with Request(small, 100) as third:
            status, answer = third.answer()  # Nothing of its body was sent.
        assert (status, "may hold 8388608 bytes" in answer["error"]) == (429, True)
        for request in (first, second):
            request.send(padded(4 * MB - 1))
            assert request.answer() == (200, {"predictions": [3.0]})
    admitted(small, 0)
    with Request(small, 40) as last:
        last.send(padded(40))
        assert last.answer() == (200, {"predictions": [3.0]})


@pytest.mark.difference
def test_too_large_bodies_are_refused_before_they_come(small):
    with Request(small, 4 * MB + 1) as request:
        status, answer = request.answer()
    assert (status, "larger than 4194304 bytes" in answer["error"]) == (413, True)


def test_bodies_of_unknown_length_take_room_as_they_come(small):
    chunked = [("Transfer-Encoding", "chunked")]
    with Request(small, 4 * MB) as first, Request(small, headers=chunked) as second:
        first.send(b" ")
        admitted(small, 2)
        # 4 MB are taken; the next 4 MB fit, and what they announce does not count.
        for _ in range(3):
            second.send(b"100000\r\n" + b" " * MB + b"\r\n")
        body = padded(100)
        second.send(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        assert second.answer() == (200, {"predictions": [3.0]})
    admitted(small, 0)
    with Request(small, 4 * MB), Request(small, 3 * MB + 1):
        admitted(small, 2)
        with Request(small, headers=chunked) as third:
            status, _ = third.answer()
            assert status == 429


def test_unpacked_bodies_take_room_too(small):
    packed = gzip.compress(padded(4 * MB - 10))
    with Request(small, 4 * MB), Request(small, 2 * MB):
        headers = [("Content-Encoding", "gzip")]
        admitted(small, 2)
        with Request(small, len(packed), headers) as request:
            request.send(packed)
            assert request.answer()[0] == 429
    admitted(small, 0)
    with Request(small, len(packed), headers) as request:
        request.send(packed)
        assert request.answer() == (200, {"predictions": [3.0]})


@pytest.mark.difference
@pytest.mark.parametrize("path", ["/v1/models/m", "/monitoring/prometheus/metrics"])
def test_head_is_answered_as_get_without_the_body(small, path):
    address = urllib.parse.urlsplit(small.rest)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("HEAD", path)
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    assert int(response.headers["content-length"]) > 0
    connection.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The address of a server that waits for batches of 8 pictures, and 7 of them."""
    base = tmp_path_factory.mktemp("pictures") / "m"
    face_detector(base / "1")
    batching = BatchingConfig(max_batch_size=8, batch_timeout_micros=500_000)
    running = Server(
        [ServedModelConfig("m", str(base))],
        ServerOptions(port=0, rest_port=0, drain_seconds=1, batching=batching),
    )
    running.start()
    good = [
        cv2.imencode(".jpg", np.full((32, 32, 3), 20 * n, np.uint8))[1].tobytes() for n in range(7)
    ]
    yield f"grpc://127.0.0.1:{running.grpc_port}", good
    running.stop()


@pytest.mark.difference
def test_a_picture_that_cannot_be_decoded_fails_its_own_request_only(pictures):
    url, good = pictures
    with connect(url, "m") as scorer:
        expected = [scorer.score([jpeg]).logits[0] for jpeg in good]

        def ask(jpeg):
            try:
                return scorer.score([jpeg]).logits[0]
            except ScoringError as error:
                return error

        with futures.ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, [*good, b"no picture"]))
    assert answers[:7] == pytest.approx(expected, abs=1e-5)
    assert answers[7].code == "INVALID_ARGUMENT"


@pytest.mark.difference
@pytest.mark.parametrize("bad", [(0,), (3,), (6,), (2, 5)])
def test_the_first_row_that_fails_is_named(pictures, bad):
    url, good = pictures
    crops = [b"no picture" if number in bad else jpeg for number, jpeg in enumerate(good)]
    with (
        connect(url, "m") as scorer,
        pytest.raises(ScoringError, match=f"row {bad[0]} of 7, counted from 0: ") as raised,
    ):
        scorer.score(crops)
    assert raised.value.code == "INVALID_ARGUMENT"


OK, DENIED, UNKNOWN_TOKEN = (
    grpc.StatusCode.OK,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
)


@pytest.mark.difference
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"": (OK, OK)}),
        ({"reload_config": False}, {"": (DENIED, OK)}),
        ({"token": "p"}, {"": (UNKNOWN_TOKEN, UNKNOWN_TOKEN), "p": (DENIED, OK)}),
        (
            {"token": "p", "reload_token": "r"},
            {"p": (UNKNOWN_TOKEN, OK), "r": (OK, UNKNOWN_TOKEN)},
        ),
        ({"reload_token": "r"}, {"": (UNKNOWN_TOKEN, OK), "r": (OK, OK)}),
    ],
    ids=["as TensorFlow Serving", "off", "predict token", "both tokens", "reload token"],
)
def test_who_may_reload_the_configuration(base, options, expected):
    """`expected`: the statuses of a reload and of a question for the status, by token."""
    running = Server(
        [ServedModelConfig("m", str(base))],
        ServerOptions(port=0, rest_port=0, drain_seconds=1, **options),
    )
    running.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            reload = model_management_pb2.ReloadConfigRequest()
            reload.config.model_config_list.config.add(
                name="m", base_path=str(base), model_platform="tensorflow"
            )
            status = get_model_status_pb2.GetModelStatusRequest()
            status.model_spec.name = "m"
            for token, codes in expected.items():
                metadata = [("authorization", f"Bearer {token}")] if token else None
                given = (
                    code_of(stub.HandleReloadConfigRequest, reload, metadata),
                    code_of(stub.GetModelStatus, status, metadata),
                )
                assert given == codes, token
    finally:
        running.stop()


def code_of(method, request, metadata):
    try:
        method(request, timeout=60, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return OK


@pytest.mark.parametrize(
    ("broken", "ready"),
    [
        ("uvicorn.Server.startup", False),
        ("uvicorn.Server.main_loop", True),
        pytest.param("serving.server.manager.ModelManager._poll", True, marks=pytest.mark.slow),
    ],
)
def test_a_thread_that_dies_ends_the_process(tmp_path, broken, ready):
    (tmp_path / "m").mkdir()
    owner, _, name = broken.rpartition(".")
    module, _, cls = owner.rpartition(".")
    code = f"""
import importlib, sys, time
owner = getattr(importlib.import_module({module!r}), {cls!r})
is_async = {name!r} != "_poll"
def fail(*_):
    raise RuntimeError("planned")
async def fail_async(*_, **__):
    raise RuntimeError("planned")
setattr(owner, {name!r}, fail_async if is_async else fail)
from serving.server.main import main
sys.argv = ["serve", "--model-base", {str(tmp_path / "m")!r}, "--port", "0", "--rest-port", "0"]
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1, done.stderr
    assert "planned" in done.stderr
    if not ready:
        assert "serving" not in done.stdout
