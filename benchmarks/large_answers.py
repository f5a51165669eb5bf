"""Measures large answers over gRPC, and what other requests wait meanwhile.

    python -m benchmarks.large_answers [--quick] [--baseline FOLDER]

A client in a process of its own asks a model for answers of 50 MB (float32), one after the other,
while another asks a second model for one number, with pauses of 5 ms. Both are also asked alone.
With `--baseline`, the source of an earlier version (`git archive VERSION | tar -x -C FOLDER`), a
server of that version is asked in turn, so that both see the same machine. `--quick` takes 5 MB and
few rounds.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np

from benchmarks._harness import Figure, finish, parser
from serving.server.process import ServerProcess

GOALS = {
    "baseline_over_now": ">= 10",
    "others_p99_over_idle": "<= 3",
    "unequal_answers": "<= 0",
}
_SMALL_PAUSE = 0.005
_TURNS = 3


def main() -> None:
    """Measures, prints a table, and as the last line the figures."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--baseline", metavar="FOLDER", help="source of an earlier version")
    given = arguments.parse_args()
    values, rounds = (1_250_000, 3) if given.quick else (12_500_000, 10)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        config = _write_models(Path(folder))
        servers = {"now": stack.enter_context(ServerProcess(["--models-config", config]))}
        if given.baseline:
            servers["baseline"] = stack.enter_context(
                ServerProcess(["--models-config", config], root=given.baseline)
            )
        figures = measure({name: server.grpc for name, server in servers.items()}, values, rounds)
    finish(
        "large_answers", {key: Figure(value, GOALS.get(key, "")) for key, value in figures.items()}
    )


def measure(addresses: dict[str, str], values: int, rounds: int) -> dict[str, float]:
    """Asks each server in turn; see the module.

    Args:
      addresses: of gRPC by the name of the server: `now` and, where there is one, `baseline`.
      values: float32 numbers of a large answer.
      rounds: large answers a turn, of which the earlier version has a quarter.
    """
    large: dict[str, list[float]] = {name: [] for name in addresses}
    idle: list[float] = []
    busy: list[float] = []
    unequal = 0
    with ExitStack() as stack:
        of_large = {
            name: stack.enter_context(_client(_ask_large, address, values))
            for name, address in addresses.items()
        }
        of_small = stack.enter_context(_client(_ask_small, addresses["now"], 1))
        for turn in range(1 + _TURNS):
            for name, client in of_large.items():
                seconds, wrong = _order(client, rounds if name == "now" else -(-rounds // 4))
                unequal += wrong
                # The first turn warms up.
                large[name] += seconds if turn else []
            duration = statistics.median(large["now"] or seconds) * rounds
            alone, wrong = _order(of_small, duration)
            of_large["now"].send(rounds)
            beside, wrong_beside = _order(of_small, duration)
            unequal += wrong + wrong_beside + of_large["now"].recv()[1]
            idle += alone if turn else []
            busy += beside if turn else []
    figures = {f"{name}_ms": statistics.median(seconds) * 1e3 for name, seconds in large.items()}
    if "baseline" in large:
        figures["baseline_over_now"] = figures["baseline_ms"] / figures["now_ms"]
    idle_p99, busy_p99 = (float(np.percentile(seconds, 99)) for seconds in (idle, busy))
    return figures | {
        "others_idle_p99_ms": idle_p99 * 1e3,
        "others_p99_ms": busy_p99 * 1e3,
        "others_p99_over_idle": busy_p99 / idle_p99,
        "unequal_answers": float(unequal),
    }


def _order(client: Connection, amount: float) -> tuple[list[float], int]:
    """Sends an order and waits for the seconds of each request, and the number of wrong answers."""
    client.send(amount)
    seconds, wrong = client.recv()
    return seconds, wrong


@contextmanager
def _client(work: Any, address: str, values: int) -> Iterator[Connection]:
    """A process that works when it is told how much; its answers are seconds and errors."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(address, values, there))
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.join()


def _ask_large(address: str, values: int, orders: Connection) -> None:
    """Asks for so many large answers as each order says."""
    from tensorflow_serving.apis import predict_pb2

    expected = np.arange(values, dtype="<f4").tobytes()
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
        ask = _predict(channel, "large", values)
        for rounds in _orders(orders):
            seconds, wrong = [], 0
            for _ in range(int(rounds)):
                start = time.perf_counter()
                answer = ask()
                message = predict_pb2.PredictResponse.FromString(answer)
                seconds.append(time.perf_counter() - start)
                # Packed float32 are the bytes of the array.
                right = len(message.outputs["values"].float_val) == values and expected in answer
                wrong += not right
            orders.send((seconds, wrong))


def _ask_small(address: str, values: int, orders: Connection) -> None:
    """Asks for few numbers now and then, for as many seconds as each order says."""
    expected = np.arange(values, dtype="<f4").tobytes()
    with grpc.insecure_channel(address) as channel:
        ask = _predict(channel, "small", values)
        for duration in _orders(orders):
            seconds, wrong = [], 0
            end = time.perf_counter() + duration
            while (start := time.perf_counter()) < end:
                wrong += expected not in ask()
                seconds.append(time.perf_counter() - start)
                time.sleep(_SMALL_PAUSE)
            orders.send((seconds, wrong))


def _orders(connection: Connection) -> Iterator[float]:
    while True:
        try:
            yield connection.recv()
        except EOFError:
            return


def _predict(channel: grpc.Channel, model: str, values: int) -> Callable[[], bytes]:
    """Asks for a serialized answer."""
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["count"]
    tensor.dtype = 3  # DT_INT32
    tensor.tensor_shape.SetInParent()
    tensor.int_val.append(values)
    method = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    return lambda: method(request.SerializeToString(), timeout=300)


def _write_models(folder: Path) -> Path:
    """Two models that count up to a number; returns the path of models.config."""
    import tensorflow as tf

    class Counter(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.int32, "count")])
        def serving_default(self, count: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"values": tf.range(tf.cast(count, tf.float32))}

    module = Counter()
    entries = ""
    for name in ("large", "small"):
        path = folder / name
        tf.saved_model.save(module, str(path / "1"), {"serving_default": module.serving_default})
        entries += f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }} '
    config = folder / "models.config"
    config.write_text(f"model_config_list {{ {entries}}}")
    return config


if __name__ == "__main__":
    main()
