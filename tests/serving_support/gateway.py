"""A gateway in a child process, small models with crop settings beside them, and requests."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import math
import os
import selectors
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path

import processes
from serving_support.words import conformal

import serving
from preprocessing.faces.crop_settings import CropSettings
from serving.model.card import FILE

ROOT = Path(serving.__file__).resolve().parents[1]

SETTINGS = CropSettings(
    frames_per_clip=4,
    margin=1.3,
    max_crop_size=160,
    min_face_size=40,
    min_face_score=0.8,
    min_track_share=0.0,
    jpeg_quality=95,
    min_sharpness=0.0,
    min_relative_size=0.0,
)


def write_metadata(version: Path, real_below: float, fake_above: float, **changes) -> None:
    """Writes what stands beside a model; `changes` of its extraction section."""
    low, high = (math.log(share / (1 - share)) for share in (real_below, fake_above))
    document = {
        "version": 1,
        "input_size": 160,
        "positive_class": "fake",
        "temperature": 1.0,
        "backbone": "tiny",
        "extraction": {**SETTINGS.to_dict(), **changes},
        "conformal": conformal(high, low),
    }
    path = version / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))


def add_version(base: Path, number: int, model: Path, **metadata) -> None:
    """Puts a copy of a model below `base`, complete when it appears."""
    waiting = base.parent / f"{base.name}-{number}"
    shutil.copytree(model, waiting)
    write_metadata(waiting, **metadata)
    waiting.rename(base / str(number))


class GatewayProcess:
    """`python -m serving.gateway` on a free port of the loopback device; a context manager.

    Args:
      folder: folder for its temporary files; made where it is not there.
      *arguments: arguments of the command.
      trusting: TLS context of requests, where the gateway is asked over TLS.

    Attributes:
      url: address at which it answers.
      folder: folder for its temporary files.
    """

    def __init__(self, folder: Path, *arguments: object, trusting: ssl.SSLContext | None = None):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._trusting = trusting
        self._command = [
            sys.executable, "-m", "serving.gateway", "--until-stdin-closes", "--port", "0",
            *map(str, arguments),
        ]  # fmt: skip
        self._log = folder.with_suffix(".log")
        self.url = ""
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> GatewayProcess:
        with Path(self._log).open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder)},
            )
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.process.stdout, selectors.EVENT_READ)
                line = self.process.stdout.readline() if selector.select(300) else b""
            assert line, f"the gateway did not start; its log ends:\n{self.log()[-3000:]}"
            self.url = json.loads(line)["gateway"]["http"]
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, patience: float = 120) -> int:
        """Sends SIGTERM, kills what does not heed it, and returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
        status = self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        return status

    @contextlib.contextmanager
    def workers_stopped(self) -> Iterator[None]:
        """Holds the processes that look at files, until the block ends."""
        workers = processes.descendants(self.process.pid)
        assert workers
        _signal(workers, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(workers, signal.SIGCONT)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def uploads(self) -> list[Path]:
        """The files of uploads that are there now."""
        spools = self.folder.glob("deepfake-gateway-*")
        # `walk` passes over a folder that is removed meanwhile.
        walked = [entry for spool in spools for entry in os.walk(spool)]
        files = [Path(folder, name) for folder, _, names in walked for name in names]
        there = [path for path in files if path.is_file()]
        return [path for path in there if "tmp" not in path.relative_to(self.folder).parts]

    def request(self, method: str, path: str, body=None, token: str = "", timeout: float = 240):
        """Status, headers, and body: JSON where it is that, else text.

        A body that is a list is sent in chunks, without a length.
        """
        address = urllib.parse.urlsplit(self.url)
        connect = http.client.HTTPConnection
        if address.scheme == "https":
            connect = functools.partial(http.client.HTTPSConnection, context=self._trusting)
        connection = connect(address.hostname, address.port, timeout=timeout)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            chunked = isinstance(body, list)
            connection.request(
                method, path, body=iter(body) if chunked else body, headers=headers,
                encode_chunked=chunked,
            )  # fmt: skip
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        kind = response.headers["content-type"] or ""
        return response.status, response.headers, json.loads(text) if "json" in kind else text

    def verdict(self, body, query: str = "", token: str = ""):
        """Status and JSON of a request for a verdict."""
        status, _, answer = self.request("POST", f"/v1/verdict{query}", body, token)
        return status, answer


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def until(true, what: str, seconds: float = 120) -> None:
    """Waits for a condition; the time is only a bound for a test that fails."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)
