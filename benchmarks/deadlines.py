"""Measures what a request waits for steps whose deadlines passed.

    python -m benchmarks.deadlines [--quick]

Two requests of 64 crops are given one second each, in which NASNetMobile cannot score them; then a
second model is asked for one crop. Its answer is held against that of an idle server, and against
the time that the 64 crops take. `--quick` takes a smaller network and a twentieth of the deadline.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks._harness import Figure, finish, parser
from benchmarks.serving import detector, make_crops
from serving.clients import ClientSettings, ScoringError, connect
from serving.clients.base import Scorer
from serving.server.process import ServerProcess

GOALS = {"answered_after_s": "<= 2", "deadlines_kept": ">= 2"}
_CROPS = 64
_LATE = 2


def main() -> None:
    """Measures, prints a table, and as the last line the figures."""
    quick = parser(__doc__.splitlines()[0]).parse_args().quick
    figures = measure("medium" if quick else "nasnet_mobile", 0.05 if quick else 1.0)
    finish("deadlines", {key: Figure(value, GOALS.get(key, "")) for key, value in figures.items()})


def measure(kind: str, seconds: float) -> dict[str, float]:
    """Asks with deadlines that pass, then another model; see the module.

    Args:
      kind: see `benchmarks.serving.detector`; the other model is `small`.
      seconds: the deadline.
    """
    bases = [detector(kind), detector("small")]
    crops = make_crops(_CROPS)
    patient = ClientSettings(attempts=1, deadline=300.0, batch_size=_CROPS)
    hasty = ClientSettings(attempts=1, deadline=seconds, batch_size=_CROPS)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "models.config"
        entries = " ".join(
            f'config {{ name: "{base.name}" base_path: "{base}" model_platform: "tensorflow" }}'
            for base in bases
        )
        config.write_text(f"model_config_list {{ {entries} }}")
        with (
            ServerProcess(["--models-config", config]) as server,
            connect(f"grpc://{server.grpc}", bases[0].name, patient) as large,
            connect(f"grpc://{server.grpc}", bases[0].name, hasty) as late,
            connect(f"grpc://{server.grpc}", bases[1].name, patient) as small,
        ):
            _seconds_of(large, crops)
            step = _seconds_of(large, crops)
            idle = statistics.median(_seconds_of(small, crops[:1]) for _ in range(20))
            kept = sum(_passes(late, crops) for _ in range(_LATE))
            answered = _seconds_of(small, crops[:1])
    return {
        "crops_64_s": step,
        "idle_s": idle,
        "deadlines_kept": float(kept),
        "answered_after_s": answered,
        "answered_over_idle": answered / idle,
        "answered_over_crops_64": answered / step,
    }


def _seconds_of(scorer: Scorer, crops: list[bytes]) -> float:
    start = time.perf_counter()
    scorer.score(crops)
    return time.perf_counter() - start


def _passes(scorer: Scorer, crops: list[bytes]) -> bool:
    """Whether the deadline passes before there is an answer."""
    try:
        scorer.score(crops)
    except ScoringError as error:
        return error.code == "DEADLINE_EXCEEDED"
    return False


if __name__ == "__main__":
    main()
