"""Measures what verdicts keep: error rates, familiarity, and what they answer on real clips.

    python -m benchmarks.verdicts [--quick] [--output DIR]

- Simulated: 500 calibrations with 20, 100 and 1,000 clips of each class, in clusters of persons
  whose clips resemble each other; the realised error rates on new persons.
- The demo's model, trained where --output holds none of these settings and this code, on its own
  test and on real footage, and on real clips of the demo in which a fifth or two fifths of the
  frames are forged.
- The starter on the real crops and clips in the folder that DEEPFAKE_TEST_MEDIA names; without the
  folder both real parts are left out. `--quick` leaves the demo out, whose clips take minutes.
"""

from __future__ import annotations

import os
from pathlib import Path

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks._harness import Figure, finish, media, parser
from serving.model.conformal import ConformalClips, conformal_clips
from serving.model.rates import Rates
from serving.model.thresholds import FAKE, REAL, conformal_thresholds

_CALIBRATIONS = 500
_SIZES = (20, 100, 1000)
_RATES = ((0.01, 0.05), (0.05, 0.05), (0.1, 0.2))
# Spread of persons over that of the clips of a person: three quarters of the variance.
_BETWEEN = np.sqrt(3.0)
_NEW_PERSONS = 400


def main() -> None:
    """Runs the benchmark."""
    arguments = parser(str(__doc__).splitlines()[0])
    arguments.add_argument("--output", type=Path, default=Path("runs/benchmark-verdicts"))
    options = arguments.parse_args()
    figures = {**simulated(), **too_few()}
    if media("faceforensics_mini") is None:
        print("DEEPFAKE_TEST_MEDIA names no folder of real excerpts: only the simulation is run")
    else:
        from benchmarks._verdicts_real import demo_figures, starter_figures

        output = options.output.resolve()
        output.mkdir(parents=True, exist_ok=True)
        figures |= starter_figures(output)
        if not options.quick:
            figures |= demo_figures(output)
    finish("verdicts", figures)


def simulated() -> dict[str, Figure]:
    """Realised error rates over the chosen ones, as the excess in standard errors."""
    figures: dict[str, Figure] = {}
    rng = np.random.default_rng(0)
    for size in _SIZES:
        for false_positive_rate, miss_rate in _RATES:
            rates = Rates(false_positive_rate=false_positive_rate, miss_rate=miss_rate)
            errors = np.array([_errors(rng, size, rates) for _ in range(_CALIBRATIONS)])
            spread = errors.std(axis=0, ddof=1) / np.sqrt(_CALIBRATIONS)
            for name, chosen, realised, error in zip(
                ("fpr", "miss"), (false_positive_rate, miss_rate), errors.mean(axis=0), spread,
                strict=True,
            ):  # fmt: skip
                key = f"simulated_{name}_{size}_clips_at_{chosen:g}"
                # A third key of the same rate would be the same measure again.
                figures.setdefault(key, Figure(float(realised), f"<= {chosen + 2 * error:.5f}"))
    return figures


def too_few() -> dict[str, Figure]:
    """Clips called fake at 1% by 21 real clips of as many persons, however far out they score."""
    rng = np.random.default_rng(1)
    called = 0
    for _ in range(_CALIBRATIONS):
        clips = _validation(rng, 21, largest=1)
        words = conformal_thresholds(clips, Rates(false_positive_rate=0.01))
        called += sum(words.verdict(logit) == FAKE for logit in (*rng.normal(3, 9, 100), 1e6))
    return {"called_fake_at_1_percent_with_21_real_clips": Figure(called, "<= 0")}


def _validation(rng: np.random.Generator, size: int, largest: int = 9) -> ConformalClips:
    """Clips of validation: persons of 1 to `largest` clips each, `size` clips a class."""
    clusters = np.repeat(np.arange(size), rng.integers(1, largest + 1, size))[:size]
    logits = [_logits(rng, clusters, label) for label in (0, 1)]
    labels = np.repeat([0, 1], size)
    together = np.concatenate([clusters, clusters])
    return ConformalClips.from_dict(conformal_clips(np.concatenate(logits), labels, together))


def _logits(rng: np.random.Generator, clusters: np.ndarray, label: int) -> np.ndarray:
    """Logits of clips; those of a person share most of their deviation from the class's mean."""
    persons = rng.normal(0.0, _BETWEEN, clusters.max() + 1)
    return 4.0 * label - 2.0 + persons[clusters] + rng.normal(size=len(clusters))


def _errors(rng: np.random.Generator, size: int, rates: Rates) -> tuple[float, float]:
    """Shares of new persons' real clips called fake, and of their fakes called real."""
    thresholds = conformal_thresholds(_validation(rng, size), rates)
    new = np.arange(_NEW_PERSONS)
    words = [[thresholds.verdict(logit) for logit in _logits(rng, new, label)] for label in (0, 1)]
    return words[0].count(FAKE) / len(new), words[1].count(REAL) / len(new)


if __name__ == "__main__":
    main()
