"""The distances of two samples, by independent computations, and what chance does to them."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from components.evaluation.drift import KS, MIN_VALUES, PSI, drift

LIMITS = {PSI: 0.25, KS: 0.2}


def values(reference, current, **options):
    """The two results, by measure."""
    return {row.measure: row for row in drift("score", reference, current, LIMITS, **options)}


def test_values_are_those_of_other_implementations():
    rng = np.random.default_rng(0)
    # Rounded, so that values are equal within and between the samples.
    reference = rng.normal(size=300).round(1)
    current = rng.normal(0.4, 1.3, 200).round(1)
    found = values(reference, current, resamples=10)
    assert found[KS].value == pytest.approx(stats.ks_2samp(reference, current).statistic)
    edges = [-np.inf, *np.unique(np.quantile(reference, np.arange(1, 10) / 10)), np.inf]
    index = 0.0
    filled = [
        [np.sum((low < sample) & (sample <= high)) + 0.5 for low, high in pairwise(edges)]
        for sample in (reference, current)
    ]
    for one, other in zip(*filled, strict=True):
        p, q = one / sum(filled[0]), other / sum(filled[1])
        index += (p - q) * np.log(p / q)
    assert found[PSI].value == pytest.approx(index)


def test_scale_does_not_matter():
    rng = np.random.default_rng(1)
    reference, current = rng.normal(size=100), rng.normal(0.5, 1.0, 100)
    plain = values(reference, current, resamples=50)
    other = values(np.exp(reference), np.exp(current), resamples=50)
    for measure in (PSI, KS):
        assert other[measure].value == pytest.approx(plain[measure].value, abs=0.02)


@pytest.mark.parametrize("size", [50, 200])
def test_chance_is_not_called_drift(size):
    rng = np.random.default_rng(2)
    called, above_zero = 0, 0
    for _ in range(60):
        found = values(rng.normal(size=size), rng.normal(size=size), resamples=200)
        called += any(row.drifted for row in found.values())
        above_zero += found[PSI].low > 0.05
    assert called == 0
    assert above_zero <= 3


@pytest.mark.parametrize("size", [60, 300])
def test_a_shift_is_drift(size):
    rng = np.random.default_rng(3)
    found = values(rng.normal(size=size), rng.normal(1.5, 1.0, size))
    for row in found.values():
        assert row.drifted
        assert row.limit < row.low <= row.high
    # Of two normal distributions that far apart.
    assert found[KS].low - 0.02 <= 2 * stats.norm.cdf(0.75) - 1 <= found[KS].high + 0.02


def test_equal_samples_and_equal_values_have_no_distance():
    same = np.linspace(0, 1, 40)
    for row in values(same, same).values():
        assert (row.value, row.low) == (0.0, 0.0)
    for row in values(np.ones(30), np.ones(30)).values():
        assert (row.value, row.low, row.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("wrong", [np.zeros(MIN_VALUES - 1), np.full(MIN_VALUES, np.nan)])
def test_samples_that_show_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 20 are needed"):
        values(np.zeros(MIN_VALUES), wrong)
