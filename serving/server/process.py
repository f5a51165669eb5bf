"""A server in a child process, for checks, benchmarks and tests."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

_ROOT = Path(__file__).resolve().parents[2]


class ServerProcess:
    """Starts `python -m serving.server` on free ports of the loopback device.

    Use it as a context manager. The child ends with the block, and with this process.

    Args:
      arguments: arguments of `deepfake serve`, without ports.
      log: file for what the server prints; a temporary one by default.
      timeout: seconds until it must answer; importing TensorFlow alone can take 30.
      environment: variables that the child gets besides this process's.
      root: folder of another version's code, to compare with; the child works there.

    Attributes:
      grpc: `host:port` of gRPC.
      rest: URL of REST.
      models: the versions that answered at the start, by model.
      process: the child.

    Raises:
      RuntimeError: the server ended, or did not answer in time; the message ends with its log.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        log: str | Path | None = None,
        timeout: float = 180.0,
        environment: dict[str, str] | None = None,
        root: str | Path | None = None,
    ):
        self._own_log = log is None
        if log is None:
            handle, log = tempfile.mkstemp(prefix="serving-", suffix=".log")
            os.close(handle)
        self._log = Path(log)
        self._command = [
            sys.executable, "-m", "serving.server", "--until-stdin-closes",
            "--port", "0", "--rest-port", "0", *map(str, arguments),
        ]  # fmt: skip
        self._timeout = timeout
        self._root = root
        self._environment = {
            **os.environ,
            "PYTHONPATH": _path(root or _ROOT),
            **(environment or {}),
        }
        self.grpc = self.rest = ""
        self.models: dict[str, list[int]] = {}
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> ServerProcess:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                cwd=self._root,
            )
        self._input = cast("IO[bytes]", self.process.stdin)
        self._output = cast("IO[bytes]", self.process.stdout)
        try:
            ready = self._wait()
        except BaseException:
            self.kill()
            raise
        self.grpc, self.rest, self.models = ready["grpc"], ready["rest"], ready["models"]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, timeout: float = 60.0) -> int:
        """Sends SIGTERM and waits; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """Ends the child at once, when it has not ended yet; returns its exit status."""
        if self.process.poll() is None:
            self.process.kill()
        status = self.process.wait()
        self._input.close()
        self._output.close()
        if self._own_log:
            self._log.unlink(missing_ok=True)
        return status

    def log(self) -> str:
        """What the server printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def memory(self) -> int:
        """Bytes of main memory that the child holds."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Seconds of processor time that the child has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _wait(self) -> dict[str, Any]:
        end = time.monotonic() + self._timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            readable = selector.select(end - time.monotonic())
            line = self._output.readline() if readable else b""
        if not line:
            outcome = "ended" if readable else "did not answer in time"
            raise RuntimeError(f"the server {outcome}; its log ends:\n{self.log()[-2000:]}")
        ready: dict[str, Any] = json.loads(line)["serving"]
        return ready


def _path(root: str | Path) -> str:
    inherited = os.environ.get("PYTHONPATH")
    return f"{root}{os.pathsep}{inherited}" if inherited else str(root)
