"""Time to the first training step, and of a step, against plain `compile` and `fit`.

    python -m benchmarks.training_startup [--quick]

Plain is what people write: the backbone of keras.applications, a head, `compile(Adam())` and
`fit`, with Keras' defaults; of EfficientNet-Lite0, which is not there, the project's layers with
Keras' batch normalisation. Ours is what the Trainer node does for all layers: `build_model`,
`prepare_phase`, `build_optimizer`, `compile` and `fit` within `without_grappler`. Both train every
layer, statistics of batch normalisation included, on one batch that lies in memory.

Each side is a process of its own. Counted is the time from the first line that builds the model to
the end of the first step; what comes before (imports, TensorFlow's own start) is the same for both
and is not counted. The sides start one after the other, while the other one waits; then they take
turns with further steps.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from typing import IO, Any, NamedTuple, cast
from unittest import mock

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks._harness import Figure, finish, parser

SIDES = ("plain", "ours")


class Network(NamedTuple):
    """What is measured of a network.

    Attributes:
      backbone: its name.
      batch_size: what fits into memory twice.
      steps: of a turn.
      first_goal: of the ratio of the first steps.
      step_goal: of the ratio of later steps.
    """

    backbone: str
    batch_size: int
    steps: int
    first_goal: str
    step_goal: str


NETWORKS = {
    "mobile": Network("nasnet_mobile", 16, 4, "<= 0.25", "<= 1.05"),
    "large": Network("nasnet_large", 4, 1, "<= 0.35", "<= 1.05"),
    "lite0": Network("efficientnet_lite0", 16, 4, "", "<= 0.95"),
}
TURNS = 4
# Marks the lines that a side sends, seconds by the clock and of CPU time; anything may print.
_MARK = "@seconds"


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--side", choices=SIDES, help="for the processes of the benchmark")
    arguments.add_argument("--backbone")
    arguments.add_argument("--batch-size", type=int)
    options = arguments.parse_args()
    if options.side:
        _train(options.side, options.backbone, options.batch_size)
        return
    figures: dict[str, Figure] = {}
    print(f"{os.cpu_count()} cores\n{'network':8}{'side':7}{'first step s':>13}{'step s':>8}")
    for name in ["mobile", "lite0"] if options.quick else NETWORKS:
        network = NETWORKS[name]
        first, cpu, later = measure(network.backbone, network.batch_size, network.steps)
        for side in SIDES:
            print(f"{name:8}{side:7}{first[side]:>13.1f}{later[side]:>8.2f}", flush=True)
        figures |= {
            f"{name}_first_step_ratio": Figure(first["ours"] / first["plain"], network.first_goal),
            f"{name}_step_time_ratio": Figure(later["ours"] / later["plain"], network.step_goal),
            f"{name}_first_step_seconds": Figure(first["ours"]),
            f"{name}_plain_first_step_seconds": Figure(first["plain"]),
            # What the ratio would be if nothing else ran on the machine; nearly all is one thread.
            f"{name}_first_step_ratio_by_cpu_time": Figure(cpu["ours"] / cpu["plain"]),
        }
    finish("training_startup", figures)


def measure(
    backbone: str, batch_size: int, steps: int, turns: int = TURNS
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Starts both sides and lets them take turns.

    Args:
      backbone: name of the network.
      batch_size: crops a step.
      steps: steps of a turn.
      turns: of each side.

    Returns:
      By side: seconds to the end of the first step, the CPU time of that, and the median of the
      seconds of the steps after it.
    """
    first: dict[str, float] = {}
    cpu: dict[str, float] = {}
    later: dict[str, list[float]] = {side: [] for side in SIDES}
    with contextlib.ExitStack() as stack:
        sides = {}
        for side in SIDES:
            sides[side] = stack.enter_context(_Side(side, backbone, batch_size))
            first[side], cpu[side] = sides[side].times()
        # A turn that is not counted: the first steps after a pause find cold caches.
        for turn in range(-1, turns):
            for side in SIDES:
                step_seconds = [sides[side].step()[0] for _ in range(steps)]
                later[side] += step_seconds if turn >= 0 else []
    return (
        first,
        cpu,
        {side: float(np.median(step_seconds)) for side, step_seconds in later.items()},
    )


class _Side:
    """A process that trains, one step whenever it is told to.

    A context manager; the process ends with it.
    """

    def __init__(self, side: str, backbone: str, batch_size: int):
        command = [sys.executable, "-m", "benchmarks.training_startup", "--side", side]
        command += ["--backbone", backbone, "--batch-size", str(batch_size)]
        self._command = command
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  `__exit__` closes it.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> _Side:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def times(self) -> tuple[float, float]:
        """The next seconds that the process measures: by the clock, and of CPU time."""
        for line in cast("IO[str]", self._process.stdout):
            if line.startswith(_MARK):
                clock, cpu = map(float, line.removeprefix(_MARK).split())
                return clock, cpu
        self._errors.seek(0)
        raise SystemExit(f"{' '.join(self._command)} failed:\n{self._errors.read()[-3000:]}")

    def step(self) -> tuple[float, float]:
        """Lets it do one step; returns `times`."""
        stdin = cast("IO[str]", self._process.stdin)
        stdin.write("\n")
        stdin.flush()
        return self.times()


# --- one side


def _train(side: str, backbone: str, batch_size: int) -> None:
    """Trains for as long as it is told to, and tells the seconds of each step."""
    import keras
    import tensorflow as tf

    from components.trainer.config import ModelConfig, image_size_of
    from components.trainer.training import without_grappler

    model_config = ModelConfig(backbone=backbone, weights="none")
    size = image_size_of(model_config)
    rng = np.random.default_rng(0)
    pixels = rng.uniform(-1, 1, (batch_size, size, size, 3)).astype(np.float32)
    labels = np.arange(batch_size, dtype=np.float32)[:, None] % 2
    batches = tf.data.Dataset.from_tensors((pixels, labels)).repeat()
    # TensorFlow's own start.
    for _ in batches.take(1):
        pass

    class Clock(keras.callbacks.Callback):
        """Tells how long each step took, then waits for a line."""

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self._start = _now() if batch else start

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            print(_MARK, *(_now() - self._start), flush=True)
            if not sys.stdin.readline():
                os._exit(0)

    start = _now()
    with without_grappler() if side == "ours" else contextlib.nullcontext():
        model = _ours(model_config) if side == "ours" else _plain(model_config, size)
        model.fit(batches, steps_per_epoch=1_000_000, callbacks=[Clock()], verbose=0)


def _now() -> np.ndarray:
    """Seconds by the clock and of CPU time: float64 [2]."""
    return np.array([time.perf_counter(), time.process_time()])


def _plain(config: Any, size: int) -> Any:
    import keras

    from components.trainer.backbones.base import backbone_of

    networks = {
        "nasnet_mobile": keras.applications.NASNetMobile,
        "nasnet_large": keras.applications.NASNetLarge,
    }
    if config.backbone in networks:
        backbone = networks[config.backbone](
            input_shape=(size, size, 3), include_top=False, weights=None
        )
    else:
        ours = "components.trainer.normalisation.FusedBatchNormalization"
        with mock.patch(ours, keras.layers.BatchNormalization):
            backbone = backbone_of(config.backbone).build(size)
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    x = keras.layers.Dropout(config.dropout)(x)
    model = keras.Model(backbone.input, keras.layers.Dense(1)(x))
    model.compile(
        optimizer=keras.optimizers.Adam(),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
    )
    return model


def _ours(config: Any) -> Any:
    import keras

    from components.trainer.config import TrainingConfig
    from components.trainer.hardware import use_xla
    from components.trainer.model import build_model, prepare_phase
    from components.trainer.optimizer import build_optimizer

    training = TrainingConfig()
    model = build_model(config)
    # Plain training learns the statistics too: frozen ones would be less work.
    prepare_phase(model, False, "momentum", training.batch_norm_momentum)
    optimizer = build_optimizer(model, training.learning_rate, training.weight_decay)
    model.compile(
        optimizer,
        keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=training.label_smoothing),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
        jit_compile=use_xla(training),
    )
    return model


if __name__ == "__main__":
    main()
