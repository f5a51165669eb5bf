"""Retries, deadlines and addresses of the scorers, against servers that misbehave on purpose."""

import http.server
import json
import socket
import threading
import time
from concurrent import futures

import grpc
import pytest
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_service_pb2_grpc,
)

from preprocessing.support.errors import UsageError
from serving.clients import ClientSettings, ScoringError, connect

FAST = {"first_wait": 0.01, "longest_wait": 0.02}


class Plan:
    """What a server does with each request: a status to answer, or None to score."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.batches = []

    def next(self, crops):
        self.batches.append(crops)
        return self.steps.pop(0) if self.steps else None


class GrpcFake(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, plan):
        self.plan = plan

    def Predict(self, request, context):
        crops = list(request.inputs["image"].string_val)
        step = self.plan.next(crops)
        if step == "hang":
            time.sleep(5)
        elif step:
            context.abort(getattr(grpc.StatusCode, step), "planned")
        response = predict_pb2.PredictResponse()
        for name in ("score", "logit"):
            response.outputs[name].float_val.extend(len(crop) for crop in crops)
        return response


HTTP = {"UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429, "INVALID_ARGUMENT": 400}


def rest_handler(plan):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            crops = document["inputs"]["image"]
            step = plan.next(crops)
            if step == "hang":
                time.sleep(5)
            if step == "drop":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            values = [len(crop["b64"]) / 4 * 3 for crop in crops]
            answer = {"outputs": {"score": values, "logit": values}}
            if step in HTTP:
                answer = {"error": "planned"}
            data = json.dumps(answer).encode()
            self.send_response(HTTP.get(step, 200))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture(params=["grpc", "http"])
def serve(request):
    """Starts a server with a plan; gives its URL."""
    closers = []

    def start(plan):
        if request.param == "grpc":
            server = grpc.server(futures.ThreadPoolExecutor(4))
            prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
                GrpcFake(plan), server
            )
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            closers.append(lambda: server.stop(None))
            return f"grpc://127.0.0.1:{port}"
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), rest_handler(plan))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        closers.append(server.shutdown)
        closers.append(server.server_close)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for close in closers:
        close()


CROPS = [b"123", b"123456", b"123456789"]


def test_unavailable_is_tried_again_and_only_that(serve):
    plan = Plan("UNAVAILABLE", "UNAVAILABLE")
    with connect(serve(plan), "m", ClientSettings(**FAST)) as scorer:
        assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
    assert len(plan.batches) == 3


def test_attempts_end(serve):
    plan = Plan(*["UNAVAILABLE"] * 9)
    with (
        connect(serve(plan), "m", ClientSettings(attempts=3, **FAST)) as scorer,
        pytest.raises(ScoringError) as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == "UNAVAILABLE"
    assert len(plan.batches) == 3


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"])
def test_other_failures_are_not_tried_again(serve, code):
    plan = Plan(code)
    with (
        connect(serve(plan), "m", ClientSettings(**FAST)) as scorer,
        pytest.raises(ScoringError, match="planned") as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == code
    assert len(plan.batches) == 1


def test_deadline_holds_over_all_batches(serve):
    plan = Plan(None, "hang")
    start = time.monotonic()
    with (
        connect(serve(plan), "m", ClientSettings(batch_size=1, deadline=1.0)) as scorer,
        pytest.raises(ScoringError) as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - start < 5
    assert len(plan.batches) == 2


def test_batches_are_split(serve):
    plan = Plan()
    with connect(serve(plan), "m", ClientSettings(batch_size=2)) as scorer:
        assert scorer.score(CROPS).scores.tolist() == [3, 6, 9]
    assert [len(batch) for batch in plan.batches] == [2, 1]


def test_server_that_is_not_there():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for scheme in ("grpc", "http"):
        with (
            connect(
                f"{scheme}://127.0.0.1:{port}", "m", ClientSettings(attempts=2, **FAST)
            ) as scorer,
            pytest.raises(ScoringError) as raised,
        ):
            scorer.score(CROPS)
        assert raised.value.code == "UNAVAILABLE"


def test_lost_connections_are_opened_again():
    plan = Plan(None, "drop", None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), rest_handler(plan))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with connect(
            f"http://127.0.0.1:{server.server_port}", "m", ClientSettings(**FAST)
        ) as scorer:
            assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
            assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
    finally:
        server.shutdown()
        server.server_close()
    assert len(plan.batches) == 3


@pytest.fixture
def rest():
    """Starts a REST server with a plan; gives its URL."""
    servers = []

    def start(plan, handler=rest_handler):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(plan))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_rest_connections_are_kept(rest):
    clients = []

    def handler(plan):
        class Handler(rest_handler(plan)):
            def do_POST(self):
                clients.append(self.client_address)
                super().do_POST()

        return Handler

    with connect(
        rest(Plan(None, "INVALID_ARGUMENT"), handler), "m", ClientSettings(**FAST)
    ) as scorer:
        scorer.score(CROPS)
        with pytest.raises(ScoringError, match="planned"):
            scorer.score(CROPS)
        scorer.score(CROPS)
    assert len(clients) == 3
    assert len(set(clients)) == 1


def test_a_request_that_a_new_connection_lost_is_not_sent_again(rest):
    plan = Plan("drop")
    with (
        connect(rest(plan), "m", ClientSettings(attempts=1)) as scorer,
        pytest.raises(ScoringError, match="connection was lost") as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == "UNAVAILABLE"
    assert len(plan.batches) == 1


def test_rest_answers_above_the_limit_are_not_read(rest):
    with (
        connect(rest(Plan()), "m", ClientSettings(max_message_bytes=20)) as scorer,
        pytest.raises(ScoringError, match="larger than the limit") as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == "RESOURCE_EXHAUSTED"


def test_proxies_of_the_environment_are_not_asked(rest, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with connect(rest(Plan()), "m", ClientSettings(attempts=1)) as scorer:
        assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]


def test_a_closed_scorer_says_so(rest):
    scorer = connect(rest(Plan()), "m", ClientSettings(attempts=1))
    scorer.close()
    with pytest.raises(ScoringError, match="closed"):
        scorer.score(CROPS)


def test_a_scorer_that_is_closed_during_a_request_says_so(rest):
    """On a connection that was used before, whose loss alone would be a reason to ask again."""

    class Closing(Plan):
        def next(self, crops):
            step = super().next(crops)
            if step == "drop":
                scorer.close()
            return step

    plan = Closing(None, "drop")
    scorer = connect(rest(plan), "m", ClientSettings(attempts=1, deadline=20))
    scorer.score(CROPS)
    with pytest.raises(ScoringError, match=r"connection was lost|in time"):
        scorer.score(CROPS)
    assert len(plan.batches) == 2


@pytest.mark.parametrize("part", ["head", "body"])
def test_rest_deadline_holds_against_a_server_that_trickles(part):
    """Each byte comes well within the deadline; the whole answer never does."""
    closed = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listening.accept()
        with connection:
            connection.recv(1 << 16)
            try:
                if part == "body":
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                else:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                for _ in range(1200):
                    connection.sendall(b"x")
                    time.sleep(0.05)
            except OSError:
                closed.set()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with connect(url, "m", ClientSettings(attempts=1)) as scorer:
            with pytest.raises(ScoringError) as raised:
                scorer.score(CROPS, deadline=0.5)
            assert raised.value.code == "DEADLINE_EXCEEDED"
            assert closed.wait(30), "the client waited for the whole answer"
    finally:
        listening.close()
        thread.join(60)


def test_answers_after_which_the_server_closes_are_read_to_their_end():
    class Handler(http.server.BaseHTTPRequestHandler):  # HTTP/1.0: closes after each answer.
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"outputs": {"score": [3, 6, 9], ')
            self.wfile.flush()
            time.sleep(0.2)
            self.wfile.write(b'"logit": [3, 6, 9]}}')

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with connect(
            f"http://127.0.0.1:{server.server_port}", "m", ClientSettings(**FAST)
        ) as scorer:
            for _ in range(2):
                assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
    finally:
        server.shutdown()
        server.server_close()


def test_a_scorer_finds_a_server_that_was_started_again():
    """One channel for the life of a gateway: it must not wait for minutes before it tries again."""

    def start(port):
        server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            GrpcFake(Plan()), server
        )
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        return server, port

    server, port = start(0)
    try:
        with connect(f"grpc://127.0.0.1:{port}", "m", ClientSettings(attempts=1)) as scorer:
            assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
            server.stop(None).wait()
            for _ in range(60):  # Enough failures for gRPC's waits to grow.
                with pytest.raises(ScoringError):
                    scorer.score(CROPS)
                time.sleep(0.1)
            server, _ = start(port)
            patient = ClientSettings(attempts=8, first_wait=0.5, longest_wait=0.5, deadline=60)
            scorer.settings = patient
            assert scorer.score(CROPS).logits.tolist() == [3, 6, 9]
    finally:
        server.stop(None)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8500", "ftp://a:1", "grpc://a", "http://", "grpc://a:port", ""]
)
def test_addresses_that_are_none(url):
    with pytest.raises(UsageError, match="no address of a server"):
        connect(url, "m")


def test_rest_scorer_needs_no_tensorflow():
    import subprocess
    import sys

    code = (
        "import sys; from serving.clients import connect; connect('http://a:1', 'm'); "
        "assert not {'tensorflow', 'grpc', 'tfx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
