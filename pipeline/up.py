"""Model server and gateway of one machine, started and ended together, for `deepfake up`."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from preprocessing.support.command_line import WRONG_USAGE
from preprocessing.support.errors import UsageError
from preprocessing.support.readable import check_readable
from serving.gateway.arguments import GatewayArguments
from serving.http.arguments import check_free
from serving.http.lifetime import stop_on_signals, tell_ready
from serving.http.memory_need import check_memory_for
from serving.model.card import is_version
from serving.model.starter import named_or_starter

ENDED, FAILED = 0, 1

_ROOT = Path(__file__).resolve().parents[1]
# Of the gateway, by default.
_WORKERS = GatewayArguments.workers
# Between looks for a signal and for the end of a child.
_LOOK_SECONDS = 0.2
# Importing TensorFlow takes half a minute on a busy machine, and the gateway's workers do so, too.
_START_SECONDS = 600.0


class _Ended(Exception):
    """The children are to be ended.

    Attributes:
      status: exit status of the command.
    """

    def __init__(self, status: int, reason: str = ""):
        super().__init__(reason)
        self.status = status


class _Child:
    """One of the two processes, which ends with this one, however that ends.

    Args:
      name: name for people.
      module: module that is run.
      arguments: command-line arguments of the module.
      key: key of its ready line.
    """

    def __init__(self, name: str, module: str, key: str, arguments: Sequence[str]):
        self.name = name
        self._key = key
        paths = filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--until-stdin-closes", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl-C is for this process, which ends its children in their order.
            start_new_session=True,
        )

    def ready(self, stop: threading.Event) -> dict[str, Any]:
        """Waits for its ready line.

        Raises:
          _Ended: a signal came, or it ended or did not answer in time.
        """
        end = time.monotonic() + _START_SECONDS
        output = cast("IO[bytes]", self.process.stdout)
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not selector.select(_LOOK_SECONDS):
                if stop.is_set():
                    raise _Ended(ENDED)
                if time.monotonic() > end:
                    raise _Ended(FAILED, f"the {self.name} did not answer in {_START_SECONDS:g} s")
        line = output.readline()
        if not line:
            status = self.process.wait()
            # Its own message stands on standard error.
            code = WRONG_USAGE if status == WRONG_USAGE else FAILED
            raise _Ended(code, f"the {self.name} did not start ({_how(status)})")
        ready: dict[str, Any] = json.loads(line)[self._key]
        return ready

    def check(self) -> None:
        """Raises `_Ended` where it ended."""
        status = self.process.poll()
        if status is not None:
            raise _Ended(FAILED, f"the {self.name} died ({_how(status)})")

    def stop(self, stop: threading.Event) -> int:
        """Sends SIGTERM, and SIGKILL once `stop` is set; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        while self.process.poll() is None:
            if stop.wait(_LOOK_SECONDS):
                # With the processes that it started: they form a group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            cast("IO[bytes]", pipe).close()
        return self.process.returncode


def serve_here(model_base: str | None, host: str, port: int, grpc_port: int, rest_port: int) -> int:
    """Answers until SIGTERM or SIGINT.

    Args:
      model_base: folder of versions; None for the starter.
      host: address of the gateway; the server is on the loopback device.
      port: port of the gateway; 0 takes a free one.
      grpc_port: gRPC port of the server, likewise.
      rest_port: REST port of the server, likewise.

    Returns:
      The exit status: ENDED by a signal, FAILED where a process died, or WRONG_USAGE.

    Raises:
      UsageError: the folder holds no version, or a port is taken.
    """
    base = _versions(named_or_starter(model_base, "deepfake up"))
    check_memory_for(server=True, workers=_WORKERS)
    check_free(host, port, "--host or --port")
    for number, option in ((grpc_port, "--grpc-port"), (rest_port, "--rest-port")):
        check_free("127.0.0.1", number, option)
    stop = stop_on_signals()
    children: list[_Child] = []
    try:
        _start(children, base, (host, port, grpc_port, rest_port), stop)
        while not stop.wait(_LOOK_SECONDS):
            for child in children:
                child.check()
        outcome = _Ended(ENDED)
    except _Ended as ended:
        outcome = ended
    if str(outcome):
        print(f"error: {outcome}; what was started is ended", file=sys.stderr, flush=True)
    # Another signal from here on ends them at once.
    stop.clear()
    statuses = [child.stop(stop) for child in reversed(children)]
    # One that was still starting knew no better way to heed SIGTERM.
    failed = any(status not in (0, -signal.SIGTERM) for status in statuses)
    return FAILED if outcome.status == ENDED and failed else outcome.status


def _start(
    children: list[_Child],
    base: Path,
    where: tuple[str, int, int, int],
    stop: threading.Event,
) -> None:
    """Starts the server, then the gateway, and says where they answer.

    Raises:
      _Ended: see `_Child.ready`.
    """
    host, port, grpc_port, rest_port = where
    model = ["--model-base", str(base)]
    ports = ["--port", str(grpc_port), "--rest-port", str(rest_port)]
    children.append(_Child("model server", "serving.server", "serving", [*model, *ports]))
    server = children[0].ready(stop)
    address = ["--server", f"grpc://{server['grpc']}", "--host", host, "--port", str(port)]
    children.append(
        _Child("gateway", "serving.gateway", "gateway", [*model, "--model", base.name, *address])
    )
    gateway = children[1].ready(stop)
    tell_ready("up", {**gateway, "grpc": server["grpc"], "rest": server["rest"]})
    print(
        f"{gateway['model']}, version {gateway['version']}, answers at {gateway['http']}/ "
        "(a page to drop files on); Ctrl-C ends it",
        file=sys.stderr,
        flush=True,
    )


def _versions(folder: str) -> Path:
    base = Path(folder).resolve()
    if base.is_dir():
        check_readable(base)
    if is_version(base.name) and (base / "saved_model.pb").is_file():
        raise UsageError(
            f"{folder} is one version; give the folder of versions, {base.parent}, of which the "
            "newest is served"
        )
    if not any(is_version(path.parent.name) for path in base.glob("*/saved_model.pb")):
        raise UsageError(
            f"{folder} holds no version of a model; give the folder of versions that `deepfake "
            "run` pushed to (OUTPUT/models/NAME)"
        )
    return base


def _how(status: int) -> str:
    """What an exit status says of the end of a process."""
    if status < 0:
        return f"{signal.Signals(-status).name} ended it"
    return f"exit status {status}"
