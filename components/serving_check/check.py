"""Whether a model answers over the wire what it answers directly; no TFX in here."""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.trainer.warmup import FILE as WARMUP_FILE
from preprocessing.face_example import IMAGE
from serving.clients import ScoringError, Settings, connect
from serving.clients.scorer import Scorer
from serving.server.process import ServerProcess

MODEL = "candidate"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the check allows.

    Attributes:
      tolerance: largest difference of a served logit from the one that evaluation had. Not 0:
        evaluation ran other batches, and sums over them differ in the last bits.
      max_latency_ms: of the 95th percentile of requests with one crop; 0 allows any.
      latency_requests: how many of those are measured.
      batch_size: crops a request.
    """

    tolerance: float = 1e-4
    max_latency_ms: float = 0.0
    latency_requests: int = 20
    batch_size: int = 8


@dataclasses.dataclass
class Report:
    """What the check found.

    Attributes:
      problems: why the model must not be pushed; none blesses it.
      warmup_requests: how many the model holds; each was answered over both protocols.
      crops: how many of the examples were scored.
      largest_difference: of logits, by protocol, from those of `serving_examples`.
      p50_ms: median latency of one crop, by protocol.
      p95_ms: 95th percentile, by protocol.
      log: the end of the server's log, where something failed.
    """

    problems: list[str] = dataclasses.field(default_factory=list)
    warmup_requests: int = 0
    crops: int = 0
    largest_difference: dict[str, float] = dataclasses.field(default_factory=dict)
    p50_ms: dict[str, float] = dataclasses.field(default_factory=dict)
    p95_ms: dict[str, float] = dataclasses.field(default_factory=dict)
    log: str = ""

    @property
    def blessed(self) -> bool:
        return not self.problems


def check_model(model: str | Path, examples: Sequence[bytes], limits: Limits) -> Report:
    """Serves a model in a child process and asks it.

    Args:
      model: folder of the SavedModel, with `serving_default` and `serving_examples`.
      examples: serialized tf.Examples as evaluation read them; the first also measures latency.
      limits: what is allowed.

    Returns:
      The report. A model that cannot be served is a finding, no error.
    """
    report = Report()
    signatures = _signatures(model, report)
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
        os.symlink(os.path.abspath(model), base / "1")
        process = ServerProcess(["--model-base", base], Path(folder) / "log")
        try:
            with process:
                _ask(process, signatures, requests, examples, limits, report)
        except RuntimeError as error:
            report.problems.append(f"the server did not start: {str(error).splitlines()[0]}")
        if report.problems:
            report.log = process.log()[-4000:]
    return report


def _signatures(model: str | Path, report: Report):
    """The model and its two scoring signatures, as (loaded, default, examples)."""
    try:
        loaded = tf.saved_model.load(str(model))
        return loaded, loaded.signatures["serving_default"], loaded.signatures["serving_examples"]
    except KeyError as error:
        report.problems.append(f"the model has no signature {error}")
    except (tf.errors.OpError, OSError, ValueError) as error:
        report.problems.append(f"the model cannot be loaded: {str(error).splitlines()[0]}")
    return None


def _ask(process, signatures, requests, examples, limits: Limits, report: Report) -> None:
    if process.models.get(MODEL) != [1]:
        report.problems.append("the server did not announce the model: " + _reason(process))
        return
    # Warm-up batches must not be split: their sizes are what is tried.
    settings = Settings(batch_size=max([limits.batch_size, *map(len, requests)]))
    for protocol, url in (("gRPC", f"grpc://{process.grpc}"), ("REST", process.rest)):
        with connect(url, MODEL, settings) as scorer:
            try:
                _replay(protocol, scorer, signatures[1], requests, report)
                crops = _compare(protocol, scorer, signatures[2], examples, limits, report)
                if crops:
                    _time(protocol, scorer, crops[0][:1], limits, report)
            except ScoringError as error:
                report.problems.append(f"{protocol}: a request failed: {error}")


def _reason(process) -> str:
    reasons = [line for line in process.log().splitlines() if "is not served" in line]
    return reasons[-1].split(": ", 1)[-1] if reasons else "see its log"


def _replay(protocol: str, scorer: Scorer, default, requests, report: Report) -> None:
    """Equal batches must give equal bits."""
    for batch in requests:
        served = scorer.score(batch).logits
        direct = default(image=tf.constant(batch))["logit"].numpy()
        if served.tobytes() != direct.astype(np.float32).tobytes():
            report.problems.append(
                f"{protocol}: the warm-up request of {len(batch)} crops is answered with other "
                f"logits than the signature gives (by up to {np.abs(served - direct).max():.3g})"
            )


def _compare(
    protocol: str, scorer: Scorer, evaluated, examples, limits: Limits, report: Report
) -> list[list[bytes]]:
    """Served logits of crops against those of the signature that evaluation used."""
    differences, batches = [], []
    for start in range(0, len(examples), limits.batch_size):
        records = list(examples[start : start + limits.batch_size])
        crops = [_image(record) for record in records]
        batches.append(crops)
        expected = evaluated(examples=tf.constant(records))["logit"].numpy()
        differences.append(np.abs(scorer.score(crops).logits - expected))
    report.crops = sum(map(len, differences))
    if not differences:
        return []
    largest = float(np.concatenate(differences).max())
    report.largest_difference[protocol] = largest
    # Written so that NaN fails too.
    if not largest <= limits.tolerance:
        report.problems.append(
            f"{protocol}: served logits differ from those that were evaluated by up to "
            f"{largest:.3g}; {limits.tolerance:.3g} is allowed"
        )
    return batches


def _time(
    protocol: str, scorer: Scorer, crops: list[bytes], limits: Limits, report: Report
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
            f"{protocol}: one crop takes {report.p95_ms[protocol]:.0f} ms at the 95th percentile; "
            f"{limits.max_latency_ms:.0f} ms are allowed"
        )


def _image(record: bytes) -> bytes:
    return tf.train.Example.FromString(record).features.feature[IMAGE].bytes_list.value[0]


def _warmup_requests(model: Path) -> list[list[bytes]]:
    """The batches of crops in the model's warm-up file; none when it has no file."""
    from serving.server.errors import ServingError
    from serving.server.warmup import read_records

    path = model / WARMUP_FILE
    if not path.is_file():
        return []
    try:
        requests = [record.predict_log.request for record in read_records(path)]
    except ServingError:  # The server will refuse the model for it, and say why.
        return []
    return [list(request.inputs["image"].string_val) for request in requests if request.inputs]
