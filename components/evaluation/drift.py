"""How far two samples of one quantity are apart: population stability index, Kolmogorov-Smirnov.

The population stability index (PSI; Siddiqi, "Credit Risk Scorecards", 2006) compares the shares p
and q that the two samples have in bins,

    PSI = sum over bins of (p - q) ln(p / q)

The bins are the tenths of the first sample, and half a value is added to each bin, so that an empty
one gives a number. Kolmogorov-Smirnov's statistic is the largest difference between the shares of
the two samples that are at most a value. Both are 0 for equal distributions, and do not change
with the scale of the values.

Of samples they are above 0 by chance alone, the PSI by about 9 (1 / n + 1 / m) for n and m values
(Yurdakul and Naranjo, "Statistical properties of the population stability index", 2020), and of
resamples once more. So intervals are those of the basic bootstrap, 2 theta - q (Davison and
Hinkley, "Bootstrap Methods and their Application", 1997, section 5.2), which takes that away
again; they end at 0.
"""

from __future__ import annotations

import dataclasses

import numpy as np

PSI, KS = "psi", "ks"
BINS = 10
RESAMPLES = 1000
# Fewer values show nothing: their PSI is 0.9 by chance.
MIN_VALUES = 20
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Drift:
    """The distance of two samples by one measure.

    Attributes:
      quantity: what was compared.
      measure: `psi` or `ks`.
      value: of the samples.
      low: end of the 95% interval, at least 0.
      high: likewise.
      limit: that must not be exceeded.
    """

    quantity: str
    measure: str
    value: float
    low: float
    high: float
    limit: float

    @property
    def drifted(self) -> bool:
        """Whether the limit is exceeded beyond chance: by the whole interval."""
        return self.low > self.limit


def drift(
    quantity: str,
    reference: np.ndarray,
    current: np.ndarray,
    limits: dict[str, float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Drift]:
    """Compares two samples.

    Args:
      quantity: what the values are, for the result.
      reference: float [n], finite; the bins of PSI are its tenths.
      current: float [m], finite.
      limits: of `psi` and `ks`.
      resamples: of the bootstrap; both samples are drawn anew, a value with its like.
      seed: of the resampling.

    Returns:
      One result for each measure.

    Raises:
      ValueError: a sample has fewer than `MIN_VALUES` values, or one that is NaN or infinite.
    """
    samples = [np.asarray(values, np.float64) for values in (reference, current)]
    for values in samples:
        if len(values) < MIN_VALUES or not np.isfinite(values).all():
            raise ValueError(
                f"{quantity}: {len(values)} values, where at least {MIN_VALUES} are needed, all of "
                "them finite"
            )
    pooled = _Pooled(*samples)
    # How often each value of the samples is there: once.
    measured = pooled.measures(*(np.ones(len(values)) for values in samples))
    rng = np.random.default_rng(seed)
    draws = np.array(
        [
            pooled.measures(
                *(rng.multinomial(len(v), np.full(len(v), 1 / len(v))) for v in samples)
            )
            for _ in range(resamples)
        ]
    )
    ends = np.quantile(draws, [(1 + _LEVEL) / 2, (1 - _LEVEL) / 2], axis=0)
    low, high = np.maximum(0.0, 2 * np.array(measured) - ends)
    return [
        Drift(quantity, name, measured[at], float(low[at]), float(high[at]), limits[name])
        for at, name in enumerate((PSI, KS))
    ]


class _Pooled:
    """Both samples in one order, so that a resample only has other counts.

    Args:
      reference: float [n].
      current: float [m].
    """

    def __init__(self, reference: np.ndarray, current: np.ndarray):
        edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
        self._bins = [np.searchsorted(edges, values, "left") for values in (reference, current)]
        self._bin_count = len(edges) + 1
        values = np.concatenate([reference, current])
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        # Shares are compared after the last of equal values.
        self._last = np.append(ordered[1:] != ordered[:-1], True)
        self._of_reference = self._order < len(reference)

    def measures(self, reference: np.ndarray, current: np.ndarray) -> tuple[float, float]:
        """PSI and Kolmogorov-Smirnov's statistic, of values that are there so often."""
        counts = np.concatenate([reference, current])[self._order]
        below = [
            np.cumsum(np.where(in_sample, counts, 0.0))[self._last]
            for in_sample in (self._of_reference, ~self._of_reference)
        ]
        statistic = np.abs(below[0] / below[0][-1] - below[1] / below[1][-1]).max()
        shares = []
        for bins, weights in zip(self._bins, (reference, current), strict=True):
            filled = np.bincount(bins, weights=weights, minlength=self._bin_count) + 0.5
            shares.append(filled / filled.sum())
        index = np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1]))
        return float(index), float(statistic)
