"""Slow clients, dead threads and cross-origin requests, over real sockets."""

import contextlib
import http.client
import socket
import threading
import time

import pytest

from preprocessing.support.errors import UsageError
from serving.http.arguments import check_cors
from serving.http.cors import Cors
from serving.http.http_server import HttpServer
from serving.http.options import HttpOptions

pytestmark = pytest.mark.integration

LARGE = 64 << 20


async def app(scope, receive, send):
    """`/echo` answers the body, `/large` much, everything else 404 without reading the body.

    `/endless` answers with no length.
    """
    body = b"no"
    status = 404
    if scope["path"] == "/echo":
        status, body, more = 200, b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
    elif scope["path"] == "/large":
        status, body = 200, bytes(LARGE)
    headers = [(b"content-length", b"%d" % len(body))] if scope["path"] != "/endless" else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def listening(**options):
    """The port of a server."""
    server = HttpServer(HttpOptions(port=0, drain_seconds=1.0, **options), app)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


@pytest.fixture(scope="module")
def port():
    with listening() as port:
        yield port


@pytest.fixture(scope="module")
def hasty_port():
    """Of a server that waits for nobody."""
    with listening(timeout=1.0, head_timeout=0.5) as port:
        yield port


@contextlib.contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        yield connection


def trickle(connection, data, seconds=60):
    """Sends a byte now and then; True when the other side ended the connection meanwhile."""
    connection.settimeout(0.1)
    end = time.monotonic() + seconds
    for byte in data * 1000:
        if time.monotonic() > end:
            return False
        try:
            connection.sendall(bytes([byte]))
            if not connection.recv(1 << 16):
                time.sleep(0.1)  # The end of what it sends; what it receives may go on.
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(hasty_port):
    with connected(hasty_port) as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n")
        assert trickle(connection, b"X-Header: slow\r\n")


def test_a_connection_that_sends_nothing_is_closed(hasty_port):
    with connected(hasty_port) as connection:
        assert connection.recv(1) == b""


def test_connections_of_http_1_0_are_kept_for_who_asks(port):
    with connected(port) as connection, connection.makefile("rb") as answers:

        def answer_to(head, body=b""):
            connection.sendall(head + b"\r\n\r\n" + body)
            return read_answer(answers)

        kept = b"\r\nConnection: keep-alive"
        for asked in (kept, b"\r\nConnection: x, Keep-Alive"):
            status, headers, body = answer_to(b"GET /nothing HTTP/1.0" + asked)
            assert (status, headers["connection"], body) == (404, "keep-alive", b"no")
        with_length = b"POST /echo HTTP/1.0\r\nContent-Length: 2" + kept
        status, headers, body = answer_to(with_length, b"hi")
        assert (status, headers["connection"], body) == (200, "keep-alive", b"hi")
        # Who does not ask is told the end by the end of the connection.
        status, headers, body = answer_to(b"GET /nothing HTTP/1.0")
        assert (status, headers["connection"], body) == (404, "close", b"no")
        assert answers.read() == b""


@pytest.mark.parametrize("connection_header", ["keep-alive", "keep-alive, close"])
def test_answers_to_http_1_0_without_a_length_end_with_the_connection(port, connection_header):
    path = "/endless" if connection_header == "keep-alive" else "/nothing"
    with connected(port) as connection, connection.makefile("rb") as answers:
        head = f"GET {path} HTTP/1.0\r\nConnection: {connection_header}\r\n\r\n"
        connection.sendall(head.encode())
        head, _, body = answers.read().partition(b"\r\n\r\n")
    assert body == b"no"
    assert b"connection: close" in head.lower()
    assert b"transfer-encoding" not in head.lower()


def read_answer(file):
    """Status, headers and body of an answer that has a length."""
    status = int(file.readline().split()[1])
    headers = http.client.parse_headers(file)
    return status, headers, file.read(int(headers["content-length"]))


def test_the_second_head_of_a_connection_has_the_same_limit(hasty_port):
    with connected(hasty_port) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        answer = b""
        while not answer.endswith(b"hi"):
            answer += connection.recv(1000)
        connection.sendall(b"GET /echo HTTP/1.1\r\n")
        assert trickle(connection, b"X-Header: slow\r\n")


@pytest.mark.parametrize(
    ("path", "extra"),
    [(b"/echo", b""), (b"/refused", b""), (b"/refused", b"Connection: close\r\n")],
    ids=["awaited", "answered already", "to be closed"],
)
def test_a_body_that_comes_byte_by_byte_is_not_waited_for(hasty_port, path, extra):
    with connected(hasty_port) as connection:
        head = b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
        connection.sendall(b"POST " + path + head + extra + b"\r\n")
        assert trickle(connection, b"x")


def test_an_answer_that_nobody_reads_is_not_kept(hasty_port):
    with connected(hasty_port) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(8)  # Far longer than the server's 1 s and its 2 s of grace; the rest is lost.
        read = 0
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1 << 20):
                read += len(part)
    assert read < LARGE


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}], ids=["kept", "closed"])
def test_refusals_reach_clients_that_are_still_sending(port, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(2):  # One that stays open stays usable.
        connection.request("POST", "/refused", body=bytes(32 << 20), headers=headers)
        response = connection.getresponse()
        assert (response.status, response.read()) == (404, b"no")
    connection.close()


def test_connections_beyond_the_limit_get_503():
    server = HttpServer(HttpOptions(port=0, max_connections=3, drain_seconds=1.0), app)
    server.start()
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(connected(server.port))
            extra = stack.enter_context(connected(server.port))
            extra.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert extra.recv(1000).startswith(b"HTTP/1.1 503")
    finally:
        server.stop()


def test_as_many_connections_are_answered_as_the_limit_says():
    server = HttpServer(HttpOptions(port=0, max_connections=1, drain_seconds=1.0), app)
    server.start()
    ask = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
    try:
        with connected(server.port) as first:
            first.sendall(ask)
            assert first.recv(1000).startswith(b"HTTP/1.1 200")
            with connected(server.port) as second:
                second.sendall(ask)
                assert second.recv(1000).startswith(b"HTTP/1.1 503")
    finally:
        server.stop()


def test_a_thread_that_dies_at_the_start_is_an_error():
    server = HttpServer(HttpOptions(port=0), app)
    server._socket.close()  # What listening on it then raises is the operating system's.
    with pytest.raises(RuntimeError, match="Bad file descriptor"):
        server.start()


def test_a_thread_that_dies_later_is_told():
    died = threading.Event()
    server = HttpServer(HttpOptions(port=0), app, on_failure=died.set)
    server.start()
    server._server.on_tick = None  # The next tick of its loop fails.
    assert died.wait(60)
    assert isinstance(server.failure, TypeError)


def ask(port, method, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, "/echo", headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status, response.headers
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (("https://a.example",), "https://a.example", "https://a.example"),
        (("https://a.example",), "https://b.example", None),
        (("https://a.example", "https://b.example"), "https://b.example", "https://b.example"),
        (("*",), "https://b.example", "*"),
    ],
)
def test_pages_of_the_given_origins_may_ask(origins, origin, allowed):
    server = HttpServer(HttpOptions(port=0, drain_seconds=1.0), Cors(app, origins))
    server.start()
    try:
        status, headers = ask(server.port, "GET", {"Origin": origin})
        assert (status, headers["access-control-allow-origin"]) == (200, allowed)
        preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        status, headers = ask(server.port, "OPTIONS", preflight)
        assert (status, headers["access-control-allow-origin"]) == (204, allowed)
        assert ("POST" in (headers["access-control-allow-methods"] or "")) == bool(allowed)
        assert ("Authorization" in (headers["access-control-allow-headers"] or "")) == bool(allowed)
        if "*" not in origins:
            assert headers["vary"] == "Origin"
    finally:
        server.stop()


def test_origins_are_checked():
    check_cors(["*", "https://a.example", "http://localhost:3000"])
    for wrong in ("a.example", "https://a.example/", "https://a.example/page", ""):
        with pytest.raises(UsageError, match="no origin"):
            check_cors([wrong])
