"""Measures serving: gRPC and REST over the direct call, and batching under many clients.

    python -m benchmarks.serving [--quick]

One client: the same JPEG crop is scored by the direct signature call, over gRPC and over REST, in
turn, so that all three see the same machine. 16 clients: two servers, with and without batching,
are loaded in turn. `--quick` takes a small network and few rounds, and shows that the benchmark
runs; its ratios say nothing, since any overhead is large beside a call of a millisecond.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks._harness import Figure, finish, parser
from serving.clients import connect
from serving.clients.base import CropScores
from serving.server.process import ServerProcess

REPOSITORY = Path(__file__).resolve().parents[1]
# Built once; a change of this file builds it anew.
CACHE = REPOSITORY / "runs" / "benchmarks" / "serving"
BATCHING = REPOSITORY / "serving" / "deploy" / "batching.config"
CLIENTS = 16
GOALS = {
    "grpc_over_direct_p50": "<= 1.10",
    "rest_over_direct_p50": "<= 1.25",
    "batched_over_unbatched_throughput": ">= 1.5",
    "unequal_answers": "<= 0",
}


def main() -> None:
    """Measures, prints a table, and as the last line the figures."""
    quick = parser(__doc__.splitlines()[0]).parse_args().quick
    base = detector("small" if quick else "nasnet_mobile")
    crops = make_crops(CLIENTS)
    with ServerProcess(["--model-base", base]) as plain:
        figures = one_client(base, plain, crops, rounds=20 if quick else 80)
        with ServerProcess(["--model-base", base, "--batching", BATCHING]) as batched:
            figures |= many_clients(base.name, plain, batched, crops, 1.0 if quick else 8.0)
    finish("serving", {key: Figure(value, GOALS.get(key, "")) for key, value in figures.items()})


def one_client(
    base: Path, server: ServerProcess, crops: list[bytes], rounds: int
) -> dict[str, float]:
    """Median latencies of the three ways to the same scores, in turn."""
    import tensorflow as tf

    saved_model = tf.saved_model.load(str(base / "1"))
    signature = saved_model.signatures["serving_default"]

    def direct(batch: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        outputs = signature(image=tf.constant(batch))
        return outputs["score"].numpy(), outputs["logit"].numpy()

    with (
        connect(f"grpc://{server.grpc}", base.name) as grpc_scorer,
        connect(server.rest, base.name) as rest_scorer,
    ):
        ways: dict[str, Callable] = {
            "direct": direct,
            "grpc": lambda batch: _scores_and_logits(grpc_scorer.score(batch)),
            "rest": lambda batch: _scores_and_logits(rest_scorer.score(batch)),
        }
        unequal = 0
        for size in (1, 3, 16):
            direct_answer, *others = [
                [np.asarray(part).tobytes() for part in way(crops[:size])] for way in ways.values()
            ]
            unequal += sum(other != direct_answer for other in others)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 5):
            for name, way in ways.items():
                start = time.perf_counter()
                way([crops[number % len(crops)]])
                if number >= 5:
                    times[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "direct_p50_ms": median["direct"] * 1e3,
        "grpc_over_direct_p50": median["grpc"] / median["direct"],
        "rest_over_direct_p50": median["rest"] / median["direct"],
        "unequal_answers": float(unequal),
    }


def _scores_and_logits(answer: CropScores) -> tuple[np.ndarray, np.ndarray]:
    return answer.scores, answer.logits


def many_clients(
    model: str, plain: ServerProcess, batched: ServerProcess, crops: list[bytes], seconds: float
) -> dict[str, float]:
    """Throughput and p99 of 16 clients that ask one crop after the other.

    Processor time a crop says what batches save where other programs take part of the machine.
    """
    latencies: dict[str, list[float]] = {"unbatched": [], "batched": []}
    seconds_by_server = dict.fromkeys(latencies, 0.0)
    cpu_seconds = dict.fromkeys(latencies, 0.0)
    for _ in range(3):
        for name, server in (("unbatched", plain), ("batched", batched)):
            start, used = time.perf_counter(), server.cpu_seconds()
            latencies[name] += _load(server.grpc, model, crops, seconds)
            seconds_by_server[name] += time.perf_counter() - start
            cpu_seconds[name] += server.cpu_seconds() - used
    cpu_ms = {name: cpu_seconds[name] / len(latencies[name]) * 1e3 for name in latencies}
    rate = {name: len(latencies[name]) / seconds_by_server[name] for name in latencies}
    return {
        "unbatched_per_second": rate["unbatched"],
        "batched_per_second": rate["batched"],
        "batched_over_unbatched_throughput": rate["batched"] / rate["unbatched"],
        "unbatched_cpu_ms_a_crop": cpu_ms["unbatched"],
        "batched_cpu_ms_a_crop": cpu_ms["batched"],
        "unbatched_p99_ms": float(np.percentile(latencies["unbatched"], 99)) * 1e3,
        "batched_p99_ms": float(np.percentile(latencies["batched"], 99)) * 1e3,
    }


def _load(address: str, model: str, crops: list[bytes], seconds: float) -> list[float]:
    end = time.perf_counter() + seconds
    latencies: list[list[float]] = [[] for _ in range(CLIENTS)]

    def ask(number: int) -> None:
        with connect(f"grpc://{address}", model) as scorer:
            while time.perf_counter() < end:
                start = time.perf_counter()
                scorer.score([crops[number]])
                latencies[number].append(time.perf_counter() - start)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [value for values in latencies for value in values]


def detector(kind: str) -> Path:
    """A detector with random weights: decode, resize, scale, network, as the exported ones.

    Args:
      kind: `nasnet_mobile`; `small`, three layers, for quick runs and for many versions; or
        `medium`, some 20 ms of convolutions, for quick overload: with less work a request, the
        benchmark's own sender would be what is overloaded.

    Returns:
      The folder of its versions; version 1 is there.
    """
    import hashlib
    import shutil

    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    base = CACHE / f"{kind}-{digest}"
    if not (base / "1").is_dir():
        unfinished = base.with_name(f"{base.name}-{os.getpid()}")
        export_detector(kind, unfinished / "1")
        shutil.rmtree(base, ignore_errors=True)
        unfinished.rename(base)
    return base


def export_detector(kind: str, folder: Path, bias: float = 0.0) -> None:
    """Writes what `detector` describes; `bias` is added to each logit."""
    import keras
    import tensorflow as tf

    from serving.model.warmup_requests import write_warmup_requests

    keras.utils.set_random_seed(1)
    size = 64 if kind == "small" else 224
    if kind == "nasnet_mobile":
        network = keras.applications.NASNetMobile(
            weights=None, classes=1, classifier_activation=None, input_shape=(size, size, 3)
        )
    else:
        wide = []
        if kind == "medium":
            wide = [keras.layers.Conv2D(48, 3, strides=2, activation="relu")]
            wide += [keras.layers.Conv2D(48, 3, activation="relu") for _ in range(3)]
        network = keras.Sequential(
            [
                keras.Input((size, size, 3)),
                *wide,
                keras.layers.Conv2D(8, 3, strides=4, activation="relu"),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(1),
            ]
        )

    class Detector(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept = [variable.value for variable in network.variables]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image")])
        def serving_default(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = tf.map_fn(
                lambda data: tf.ensure_shape(
                    tf.image.resize(tf.io.decode_jpeg(data, channels=3), (size, size)),
                    (size, size, 3),
                ),
                image,
                fn_output_signature=tf.TensorSpec((size, size, 3), tf.float32),
            )
            logit = network(pixels / 127.5 - 1.0, training=False)[:, 0] + bias
            return {"score": tf.sigmoid(logit), "logit": logit}

    module = Detector()
    signatures = {"serving_default": module.serving_default}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    write_warmup_requests(str(folder), size=size)


def make_crops(count: int) -> list[bytes]:
    """JPEG crops of 224 pixels with the weight of real ones, 10 to 20 kB."""
    import cv2

    crops = []
    for seed in range(count):
        noise = np.random.default_rng(seed).integers(0, 256, (224, 224, 3), np.uint8)
        done, data = cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 1.5))
        if not done:
            raise RuntimeError("OpenCV could not encode a JPEG")
        crops.append(data.tobytes())
    return crops


if __name__ == "__main__":
    main()
