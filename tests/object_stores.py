"""Object stores on this machine, and a proxy that makes their answers fail."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from benchmarks._harness import free_ports

SECONDS = 60


def s3_environment(endpoint: str) -> dict[str, str]:
    """What a client of S3 needs to know, and no setting of the machine's own."""
    return {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }


@contextlib.contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """The URL of moto's S3 in a process of its own."""
    yield from _served(
        log, lambda port: ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], "/moto-api/"
    )


@contextlib.contextmanager
def s3_of(folder: Path, log: Path) -> Iterator[str]:
    """The URL of an S3 with a folder's files below `s3://bucket/data`; this process uses it."""
    with s3_server(log) as url, pytest.MonkeyPatch.context() as patch:
        for key, value in s3_environment(url).items():
            patch.setenv(key, value)
        client = boto3.Session().client("s3")
        client.create_bucket(Bucket="bucket")
        for file in folder.rglob("*"):
            if file.is_file():
                name = file.relative_to(folder).as_posix()
                client.upload_file(str(file), "bucket", f"data/{name}")
        yield url


@contextlib.contextmanager
def gcs_server(log: Path) -> Iterator[str]:
    """The URL of an emulator of Cloud Storage, whose objects are held in memory."""
    program = "from gcp_storage_emulator.__main__ import main; main()"
    yield from _served(
        log,
        lambda port: ["-c", program, "start", "--host=127.0.0.1", f"--port={port}", "--in-memory"],
        "/",
    )


def _served(log: Path, command: Callable[[int], list[str]], path: str) -> Iterator[str]:
    for _ in range(3):  # Somebody else may take the port before the server does.
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command(port)], stdout=output, stderr=subprocess.STDOUT
            )
        try:
            if _answers(process, url + path, log):
                yield url
                return
        finally:
            process.kill()
            process.wait()
    raise AssertionError(f"the server ended: {log.read_text()}")


def _answers(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    """Waits until a server answers; False where it ended instead."""
    until = time.monotonic() + SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None:
        try:
            opener.open(url, timeout=5).close()
            return True
        except OSError as error:
            if time.monotonic() > until:
                raise AssertionError(f"{url} does not answer: {log.read_text()}") from error
            time.sleep(0.05)
    return False


class FaultyProxy(http.server.ThreadingHTTPServer):
    """Hands requests on to a store, as `fault` lets them.

    Args:
      target: URL of the store.

    Attributes:
      fault: told method, path and number (from 0) of each request that was not yet answered to the
        end under this method and path; returns a status such as "503", "cut" (the connection ends
        in the middle of the body) or "".
      failed: method and path of the requests that were made to fail.
    """

    daemon_threads = True

    def __init__(self, target: str):
        self.target = target.removeprefix("http://")
        self.fault: Callable[[str, str, int], str] = lambda method, path, number: ""
        self.failed: list[tuple[str, str]] = []
        self.tries: dict[tuple[str, str], int] = {}
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self._body()
        asked = (self.command, self.path)
        number = self.server.tries.get(asked, 0)
        self.server.tries[asked] = number + 1
        fault = self.server.fault(*asked, number)
        if fault:
            self.server.failed.append(asked)
        if fault.isdigit():
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "cut" and self.command == "PUT":  # The store never sees the object.
            self.connection.close()
            self.close_connection = True
            return
        connection = http.client.HTTPConnection(self.server.target, timeout=SECONDS)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "expect"):
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if fault == "cut":
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass

    def _body(self) -> bytes:
        """As it was sent: signatures of chunks hold for them alone."""
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def log_message(self, format: str, *arguments: object) -> None:
        pass
