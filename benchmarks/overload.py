"""Measures the server at four times its sustainable load, and while versions change.

    python -m benchmarks.overload [--quick]

Overload: the rate that waiting clients reach is measured first; then requests are sent at four
times that rate for 60 seconds, half over gRPC and half over REST, whether or not the server keeps
up. Each must be answered or refused. Swaps: 100 versions are published one after the other while
clients ask; each answer must come from a version that was live, with that version's logits.
Slow bodies: 100 clients announce
16 MB each, send a quarter and stop; the server's memory may grow by what it admitted, and no more.
`--quick` takes a smaller network, 10 seconds and 10 swaps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import statistics
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks._flood import ONCE, OVERLOAD, flood, sustainable
from benchmarks._harness import Figure, finish, parser
from benchmarks.serving import BATCHING, detector, export_detector, make_crops
from serving.clients import ScoringError, connect
from serving.clients.base import Scorer
from serving.server.process import ServerProcess

GOALS = {
    "unanswered_requests": "<= 0",
    "memory_growth": "<= 1.2",
    "recovery_seconds": "<= 5",
    "swap_failures": "<= 0",
    "swap_memory_growth": "<= 1.2",
    "slow_body_growth_of_admitted": "<= 1",
    "slow_body_health_failures": "<= 0",
}
# For a version to be loaded and the one before to leave.
_SWAP_SECONDS = 60.0


def main() -> None:
    """Measures, prints a table, and as the last line the figures."""
    quick = parser(__doc__.splitlines()[0]).parse_args().quick
    figures = overload("medium" if quick else "nasnet_mobile", 10 if quick else 60)
    figures |= swaps(10 if quick else 100)
    figures |= slow_bodies(detector("small"))
    finish("overload", {key: Figure(value, GOALS.get(key, "")) for key, value in figures.items()})


def overload(kind: str, seconds: float) -> dict[str, float]:
    """Sends four times the sustainable rate; see the module.

    Args:
      kind: see `benchmarks.serving.detector`.
      seconds: how long.
    """
    base = detector(kind)
    crop = make_crops(1)[0]
    with (
        ServerProcess(["--model-base", base, "--batching", BATCHING]) as server,
        connect(f"grpc://{server.grpc}", base.name, ONCE) as scorer,
    ):
        rate = sustainable(scorer, crop, min(seconds, 8.0))
        unloaded = statistics.median(_latencies(scorer, crop, 15))
        memory = [server.memory()]
        where = (server.grpc, server.rest, base.name)
        tally, start = flood(
            where, crop, OVERLOAD * rate, seconds, lambda: memory.append(server.memory())
        )
        # Back to normal: three requests in a row as fast as before, but for noise.
        while max(_latencies(scorer, crop, 3)) > 2 * unloaded + 0.01:
            if time.perf_counter() - start > 30:
                break
        recovery = time.perf_counter() - start
        memory.append(server.memory())
    sent = tally.scored + tally.refused + tally.unanswered
    if tally.unanswered:
        print(f"without an answer: {dict(tally.reasons)}")
    return {
        "sustainable_per_second": rate,
        "sent_per_second": sent / tally.sending_seconds,
        "scored": float(tally.scored),
        "refused": float(tally.refused),
        "unanswered_requests": float(tally.unanswered),
        "refusal_p99_ms": float(np.percentile(tally.refusal_seconds or [0.0], 99)) * 1e3,
        "memory_growth": max(memory) / memory[0],
        "recovery_seconds": recovery,
    }


def _latencies(scorer: Scorer, crop: bytes, count: int) -> list[float]:
    latencies = []
    for _ in range(count):
        start = time.perf_counter()
        try:
            scorer.score([crop])
        except ScoringError:
            latencies.append(float("inf"))
        else:
            latencies.append(time.perf_counter() - start)
    return latencies


def slow_bodies(base: Path, connections: int = 100, admitted_mb: int = 48) -> dict[str, float]:
    """Opens connections whose bodies stop coming; see the module.

    Args:
      base: folder of versions, named as the model.
      connections: how many.
      admitted_mb: of all bodies together, in 2**20 bytes; each announces 16 of them.
    """
    body = 16 << 20
    head = (
        f"POST /v1/models/{base.name}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {body}\r\n\r\n"
    )
    arguments = [
        "--model-base",
        str(base),
        "--max-message-mb",
        "16",
        "--max-body-mb",
        str(admitted_mb),
    ]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ServerProcess([*arguments, "--rest-timeout", "120"]))
        address = urllib.parse.urlsplit(server.rest)
        before = highest = server.memory()
        failures = 0
        sockets = []
        for _ in range(connections):
            connection = socket.create_connection((address.hostname, address.port), timeout=60)
            sockets.append(stack.enter_context(connection))
            connection.sendall(head.encode() + bytes(body // 4))
            highest = max(highest, server.memory())
            failures += not _healthy(server, base.name)
        refused = sum(
            _first_bytes(connection).startswith(b"HTTP/1.1 429") for connection in sockets
        )
        highest = max(highest, server.memory())
    return {
        "slow_bodies": float(connections),
        "slow_bodies_refused": float(refused),
        "slow_body_growth_mb": (highest - before) / (1 << 20),
        "slow_body_growth_of_admitted": (highest - before) / (admitted_mb << 20),
        "slow_body_health_failures": float(failures),
    }


def _healthy(server: ServerProcess, model: str) -> bool:
    try:
        url = f"{server.rest}/v1/models/{model}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  Our own server.
            return answer.status == 200
    except OSError:
        return False


def _first_bytes(connection: socket.socket) -> bytes:
    """What the server has answered; empty where it still waits for the body."""
    connection.settimeout(0.2)
    try:
        return connection.recv(100)
    except TimeoutError:
        return b""


def swaps(count: int, clients: int = 3) -> dict[str, float]:
    """Publishes versions one after the other under load; see the module.

    Args:
      count: of swaps.
      clients: threads that ask all the time.
    """
    crop = make_crops(1)[0]
    with tempfile.TemporaryDirectory() as folder:
        variants = [Path(folder) / f"variant{bias}" for bias in range(4)]
        for bias, variant in enumerate(variants):
            export_detector("small", variant, bias=float(10 * bias))
        base = Path(folder) / "swapped"
        shutil.copytree(variants[1], base / "1")
        with (
            ServerProcess(["--model-base", base, "--poll", "0.1"]) as server,
            connect(f"grpc://{server.grpc}", base.name) as scorer,
        ):
            plain = float(scorer.score([crop]).logits[0]) - 10.0
            state = _Swaps(live=1, published=1)
            threads = [
                threading.Thread(target=_watch, args=(server, base.name, crop, plain, state))
                for _ in range(clients)
            ]
            for thread in threads:
                thread.start()
            before = 0
            try:
                for version in range(2, count + 2):
                    _publish(variants[version % 4], base, version, state)
                    _await_version(scorer, version)
                    state.live = version
                    shutil.rmtree(base / str(version - 1))
                    # The first loads make TensorFlow set up what stays.
                    if version == 1 + max(5, count // 10):
                        before = server.memory()
            finally:
                state.stop.set()
                for thread in threads:
                    thread.join()
            time.sleep(0.5)
            after = server.memory()
    return {
        "swaps": float(count),
        "swap_requests": float(state.answered),
        "swap_failures": float(state.failures),
        "swap_memory_growth": after / before,
    }


@dataclasses.dataclass
class _Swaps:
    live: int
    published: int
    answered: int = 0
    failures: int = 0
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


def _publish(variant: Path, base: Path, version: int, state: _Swaps) -> None:
    copy = base / f"unfinished-{version}"
    shutil.copytree(variant, copy)
    state.published = version
    copy.rename(base / str(version))


def _await_version(scorer: Scorer, version: int) -> None:
    """Waits until a version answers, and no other.

    Raises:
      SystemExit: it does not within a minute.
    """
    end = time.monotonic() + _SWAP_SECONDS
    while (answering := scorer.versions()) != [version]:
        if time.monotonic() > end:
            raise SystemExit(
                f"version {version} was published, and after {_SWAP_SECONDS:.0f} s the server "
                f"answers with {answering}: read in its log why it was not loaded"
            )
        time.sleep(0.02)


def _watch(server: ServerProcess, model: str, crop: bytes, plain: float, state: _Swaps) -> None:
    """Asks until it is told to stop, and judges each answer by its version's logits."""
    with connect(f"grpc://{server.grpc}", model, ONCE) as scorer:
        while not state.stop.is_set():
            oldest = state.live
            try:
                logit = float(scorer.score([crop]).logits[0])
            except ScoringError:
                right = False
            else:
                # Each variant adds 10 more: the answer tells its version, modulo 4.
                variant = round((logit - plain) / 10)
                newest = state.published
                right = abs(logit - plain - 10 * variant) < 1e-3 and variant in {
                    version % 4 for version in range(oldest, newest + 1)
                }
            with state.lock:
                state.answered += 1
                state.failures += not right


if __name__ == "__main__":
    main()
