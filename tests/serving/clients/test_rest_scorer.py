"""Connections, limits and deadlines of the REST scorer, with servers that misbehave on purpose."""

import contextlib
import http.server
import json
import socket
import threading
import time
import urllib.parse

import pytest
from serving_support.planned_servers import CROPS, FAST, Plan, rest_handler

from serving.clients import ClientSettings, ScoringError, connect


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


def test_rest_scorer_needs_no_tensorflow():
    import subprocess
    import sys

    code = (
        "import sys; from serving.clients import connect; connect('http://a:1', 'm'); "
        "assert not {'tensorflow', 'grpc', 'tfx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def answering(body):
    """A handler that answers this to all requests, with status 200."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_):
            pass

    return Handler


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"probabilities": [[0.1, 0.9]]}, "gave no output 'score'"),
        ({"score": [0.1], "classes": ["real"]}, "gave no output 'logit'"),
        ({"score": ["real"], "logit": [0.1]}, "output 'score' holds no numbers"),
    ],
)
def test_a_model_of_another_kind_is_not_taken_for_a_wrong_address(rest, outputs, message):
    def handler(_):
        return answering(json.dumps({"outputs": outputs}).encode())

    with (
        connect(rest(None, handler), "m", ClientSettings(**FAST)) as scorer,
        pytest.raises(ScoringError, match=f"{message}.*; is it a model of this project") as raised,
    ):
        scorer.score(CROPS)
    assert raised.value.code == "INTERNAL"
    assert "address" not in str(raised.value)


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b'{"a": 1}', b'["a"]', b"7"])
def test_an_answer_of_something_else_is_said_to_be_one(rest, body):
    """A proxy's page has status 200, too."""

    def handler(_):
        return answering(body)

    with connect(rest(None, handler), "m", ClientSettings(**FAST)) as scorer:
        for ask in (scorer.versions, lambda: scorer.score(CROPS), lambda: scorer.cells(CROPS)):
            with pytest.raises(ScoringError, match="not that of a model server") as raised:
                ask()
            assert raised.value.code == "INTERNAL"


def test_an_address_that_does_not_answer_leaves_time_for_the_next(rest, monkeypatch):
    """The first address is one whose queue of connections is full, so that it never answers."""
    url = urllib.parse.urlsplit(rest(Plan()))
    real = socket.getaddrinfo
    with socket.socket() as deaf, contextlib.ExitStack() as stack:
        deaf.bind(("127.0.0.2", url.port))
        deaf.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(deaf.getsockname())

        def both(host, *arguments, **named):
            if host != "two.example":
                return real(host, *arguments, **named)
            return [
                *real("127.0.0.2", *arguments, **named),
                *real("127.0.0.1", *arguments, **named),
            ]

        monkeypatch.setattr("socket.getaddrinfo", both)
        with connect(f"http://two.example:{url.port}", "m", ClientSettings(attempts=1)) as scorer:
            assert scorer.score(CROPS, deadline=4).logits.tolist() == [3, 6, 9]
