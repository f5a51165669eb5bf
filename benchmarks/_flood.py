"""More requests than a model server can answer, and what becomes of each."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable

import grpc

from serving.clients import ClientSettings, ScoringError, connect
from serving.clients.base import Scorer

OVERLOAD = 4
_MOST_OVER_REST = 128
REFUSALS = ("RESOURCE_EXHAUSTED", "UNAVAILABLE")
# No retries: they would hide refusals.
ONCE = ClientSettings(attempts=1, deadline=60.0)


@dataclasses.dataclass
class Tally:
    """Outcomes of requests; threads add to it.

    Attributes:
      scored: requests with scores.
      refused: requests that the server did not take.
      unanswered: requests with any other outcome.
      reasons: of the unanswered ones, by code.
      refusal_seconds: until each refusal.
      sending_seconds: from the first request to the last one.
    """

    scored: int = 0
    refused: int = 0
    unanswered: int = 0
    reasons: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    refusal_seconds: list[float] = dataclasses.field(default_factory=list)
    sending_seconds: float = 0.0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def add(self, code: str, seconds: float) -> None:
        """Counts an answer."""
        with self.lock:
            if code == "OK":
                self.scored += 1
            elif code in REFUSALS:
                self.refused += 1
                self.refusal_seconds.append(seconds)
            else:
                self.unanswered += 1
                self.reasons[code] += 1


def sustainable(scorer: Scorer, crop: bytes, seconds: float) -> float:
    """Requests a second of 16 clients that wait for their answers."""
    end = time.perf_counter() + seconds
    counts = [0] * 16

    def ask(number: int) -> None:
        while time.perf_counter() < end:
            scorer.score([crop])
            counts[number] += 1

    with concurrent.futures.ThreadPoolExecutor(len(counts)) as threads:
        list(threads.map(ask, range(len(counts))))
    return sum(counts) / seconds


def flood(
    where: tuple[str, str, str],
    crop: bytes,
    rate: float,
    seconds: float,
    watch: Callable[[], None] = lambda: None,
) -> tuple[Tally, float]:
    """Sends at a fixed rate, half over gRPC and half over REST, and waits for all answers.

    At most 128 requests are in flight over REST; further ones wait here for their turn. Where this
    process cannot keep the rate, sending takes longer, as `Tally.sending_seconds` tells.

    Args:
      where: address of gRPC, URL of REST, and the model's name.
      crop: a JPEG picture.
      rate: requests a second.
      seconds: how long.
      watch: called every 50 requests.

    Returns:
      The outcomes, and when the last request was sent.
    """
    address, url, model = where
    tally = Tally()
    sent_rest = []
    # The threads end before the client that they use is closed.
    with (
        connect(url, model, ONCE) as rest,
        concurrent.futures.ThreadPoolExecutor(_MOST_OVER_REST) as rest_threads,
        _futures(address, model, crop, tally) as send_grpc,
    ):

        def send_rest() -> None:
            start = time.perf_counter()
            try:
                rest.score([crop])
                code = "OK"
            except ScoringError as error:
                code = error.code
            tally.add(code, time.perf_counter() - start)

        begin = time.perf_counter()
        for number in range(int(rate * seconds)):
            wait = begin + number / rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            if number % 2:
                send_grpc()
            else:
                sent_rest.append(rest_threads.submit(send_rest))
            if number % 50 == 0:
                watch()
        ended = time.perf_counter()
        tally.sending_seconds = ended - begin
    for future in sent_rest:
        future.result()
    return tally, ended


class _futures:
    """Sends gRPC requests without waiting; leaving the block waits for all answers."""

    def __init__(self, address: str, model: str, crop: bytes, tally: Tally):
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self._channel = grpc.insecure_channel(address)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = model
        tensor = self._request.inputs["image"]
        tensor.dtype = 7  # DT_STRING
        tensor.tensor_shape.dim.add(size=1)
        tensor.string_val.append(crop)
        self._tally = tally
        self._open = threading.Semaphore(0)
        self._sent = 0

    def __enter__(self) -> _futures:
        return self

    def __call__(self) -> None:
        start = time.perf_counter()

        def done(call: grpc.Future) -> None:
            self._tally.add(call.code().name, time.perf_counter() - start)
            self._open.release()

        self._sent += 1
        self._stub.Predict.future(self._request, timeout=60).add_done_callback(done)

    def __exit__(self, *_: object) -> None:
        for _sent in range(self._sent):
            self._open.acquire()
        self._channel.close()
