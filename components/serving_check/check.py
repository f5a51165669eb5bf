"""Checks that a served model answers as it was evaluated."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

from components.evaluation.scores import full_float32
from components.evaluation.serving_result import ServingResult
from preprocessing.support.errors import UsageError
from serving.clients import ClientSettings, ScoringError, connect
from serving.clients.base import Scorer
from serving.model.saved_model import load_saved_model
from serving.model.warmup_requests import FILE as WARMUP_FILE
from serving.server.process import ServerProcess

MODEL = "candidate"


# The process that checks may have taken the GPU's memory in training. Besides, small
# installations serve on a CPU.
_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1"}
# Until the server answers, and for each request: a slow machine is no fault of the model's, and
# `max_latency_ms` is there for those who set a limit.
_START_SECONDS = 600.0
_REQUEST_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class ServingLimits:
    """What the check allows.

    Attributes:
      tolerance: largest difference between a served and the evaluated logit. Not 0:
        evaluation ran other batches, and sums over them differ in the last bits.
      gpu_tolerance: the same where this machine has a GPU, on which evaluation ran then; 0 takes
        `tolerance`.
      max_latency_ms: of the 95th percentile of requests with one crop; 0 allows any.
      latency_requests: how many of those are measured.
      batch_size: crops a request.
    """

    tolerance: float = 1e-4
    gpu_tolerance: float = 0.0
    max_latency_ms: float = 0.0
    latency_requests: int = 20
    batch_size: int = 8

    def allowed(self, on_gpu: bool) -> float:
        """Largest difference of logits, where evaluation ran on a GPU or did not."""
        return self.gpu_tolerance if on_gpu and self.gpu_tolerance else self.tolerance


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What evaluation had.

    Attributes:
      crops: encoded crops; the first also measures latency.
      logits: their logits, float [crops].
      on_gpu: whether they were computed on a GPU.
    """

    crops: Sequence[bytes]
    logits: np.ndarray
    on_gpu: bool = False


def check_model(model: str | Path, evaluated: Evaluated, limits: ServingLimits) -> ServingResult:
    """Serves a model in a child process and asks it.

    Args:
      model: folder of the SavedModel, with `serving_default`.
      evaluated: crops and the logits that evaluation had of them.
      limits: what is allowed.

    Returns:
      The report. A model that cannot be served is a finding, no error.
    """
    report = ServingResult()
    full_float32()
    signature = _signature(model, report)
    if not report.blessed:
        return report
    requests = _warmup_requests(Path(model))
    report.warmup_requests = len(requests)
    if not requests:
        report.problems.append(
            "the model holds no warm-up requests, so its first users would wait for its set-up"
        )
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / MODEL
        base.mkdir()
        (base / "1").symlink_to(Path(model).absolute())
        process = ServerProcess(
            ["--model-base", base, "--rest-timeout", str(_REQUEST_SECONDS)],
            Path(folder) / "log",
            _START_SECONDS,
            _ENVIRONMENT,
        )
        try:
            with process:
                _ask(process, signature, requests, evaluated, limits, report)
        except RuntimeError as error:
            report.problems.append(f"the server did not start: {str(error).splitlines()[0]}")
        if report.problems:
            report.log = process.log()[-4000:]
    return report


def _signature(model: str | Path, report: ServingResult) -> Any:
    """The model and the signature that is served, as (loaded, signature)."""
    try:
        # The signature does not keep its model alive.
        loaded = load_saved_model(model)
        return loaded, loaded.signatures["serving_default"]
    except KeyError as error:
        report.problems.append(f"the model has no signature {error}")
    except UsageError as error:
        report.problems.append(str(error))
    return None


def _ask(
    process: ServerProcess,
    signature: Any,
    requests: list[list[bytes]],
    evaluated: Evaluated,
    limits: ServingLimits,
    report: ServingResult,
) -> None:
    if process.models.get(MODEL) != [1]:
        report.problems.append("the server did not announce the model: " + _reason(process))
        return
    # Warm-up batches must not be split: their sizes are what is tried.
    settings = ClientSettings(
        batch_size=max([limits.batch_size, *map(len, requests)]), deadline=_REQUEST_SECONDS
    )
    for protocol, url in (("gRPC", f"grpc://{process.grpc}"), ("REST", process.rest)):
        with connect(url, MODEL, settings) as scorer:
            try:
                exact = not (evaluated.on_gpu or on_onednn())
                allowed = 0.0 if exact else limits.allowed(evaluated.on_gpu)
                _replay(protocol, scorer, signature[1], requests, allowed, report)
                _compare(protocol, scorer, evaluated, limits, report)
                if evaluated.crops:
                    _time(protocol, scorer, list(evaluated.crops[:1]), limits, report)
            except ScoringError as error:
                report.problems.append(f"{protocol}: a request failed: {error}")


def on_gpu() -> bool:
    """Whether TensorFlow sees a GPU here, which evaluation used then."""
    return bool(tf.config.list_physical_devices("GPU"))


def on_onednn() -> bool:
    """Whether TensorFlow computes with oneDNN here, its default on CPUs with AVX512-VNNI.

    The server's session and a function then give logits that differ in their last bits: by 4e-9
    where that was seen.
    """
    return bool(_pywrap_util_port.IsMklEnabled())


def _reason(process: ServerProcess) -> str:
    reasons = [line for line in process.log().splitlines() if "is not served" in line]
    return reasons[-1].split(": ", 1)[-1] if reasons else "see its log"


def _replay(
    protocol: str,
    scorer: Scorer,
    direct: Callable[..., Any],
    requests: list[list[bytes]],
    allowed: float,
    report: ServingResult,
) -> None:
    """Equal batches must give equal bits, when both run on a CPU without oneDNN.

    `allowed` is 0 then.
    """
    for batch in requests:
        served = scorer.score(batch).logits
        expected = direct(image=tf.constant(batch))["logit"].numpy().astype(np.float32)
        difference = float(np.abs(served - expected).max())
        if served.tobytes() == expected.tobytes():
            continue
        if allowed and difference <= allowed:
            continue
        report.problems.append(
            f"{protocol}: the warm-up request of {len(batch)} crops is answered with other "
            f"logits than the signature gives (by up to {difference:.3g})"
        )


def _compare(
    protocol: str,
    scorer: Scorer,
    evaluated: Evaluated,
    limits: ServingLimits,
    report: ServingResult,
) -> None:
    """Served logits of crops against those that evaluation had."""
    crops, size = evaluated.crops, limits.batch_size
    served = [
        scorer.score(crops[start : start + size]).logits for start in range(0, len(crops), size)
    ]
    report.crops = len(crops)
    if not served:
        return
    largest = float(np.abs(np.concatenate(served) - evaluated.logits).max())
    report.largest_difference[protocol] = largest
    allowed = limits.allowed(evaluated.on_gpu)
    # Written so that NaN fails too.
    if not largest <= allowed:
        key = "gpu_tolerance" if evaluated.on_gpu else "tolerance"
        report.problems.append(
            f"{protocol}: served logits differ from those that were evaluated by up to "
            f"{largest:.3g}; {allowed:.3g} is allowed (serving.{key})"
        )


def _time(
    protocol: str, scorer: Scorer, crops: list[bytes], limits: ServingLimits, report: ServingResult
) -> None:
    times = []
    for _ in range(limits.latency_requests):
        start = time.perf_counter()
        scorer.score(crops)
        times.append((time.perf_counter() - start) * 1e3)
    report.p50_ms[protocol] = statistics.median(times)
    report.p95_ms[protocol] = float(np.percentile(times, 95))
    if limits.max_latency_ms and report.p95_ms[protocol] > limits.max_latency_ms:
        report.problems.append(
            f"{protocol}: one crop takes {report.p95_ms[protocol]:.3g} ms at the 95th percentile; "
            f"{limits.max_latency_ms:.3g} ms are allowed"
        )


def _warmup_requests(model: Path) -> list[list[bytes]]:
    """The batches of crops in the model's warm-up file; none when it has no file."""
    from serving.server.status_codes import ServingError
    from serving.server.warmup import read_warmup_records

    path = model / WARMUP_FILE
    if not path.is_file():
        return []
    try:
        requests = [record.predict_log.request for record in read_warmup_records(path)]
    except ServingError:  # The server will refuse the model for it, and say why.
        return []
    return [list(request.inputs["image"].string_val) for request in requests if request.inputs]
