"""The simulation of verdicts' error rates, and the area under risk and coverage."""

import numpy as np
import pytest

from benchmarks._verdicts_real import risk_under_coverage
from benchmarks.verdicts import simulated, too_few


def test_realised_rates_stay_below_the_chosen_ones(monkeypatch):
    monkeypatch.setattr("benchmarks.verdicts._CALIBRATIONS", 60)
    monkeypatch.setattr("benchmarks.verdicts._SIZES", (20, 100))
    figures = {**simulated(), **too_few()}
    assert len(figures) == 11
    for name, figure in figures.items():
        assert figure.met, (name, figure)
    # Not because nothing is ever called fake.
    assert figures["simulated_fpr_100_clips_at_0.1"].value > 0.03


def test_risk_under_coverage_by_hand():
    wrong = np.array([True, False, False, True])
    # Most confident first: right, right, wrong, wrong.
    best = np.mean([0, 0, 1 / 3, 2 / 4])
    assert risk_under_coverage(wrong, np.array([1.0, 4.0, 3.0, 2.0])) == pytest.approx(best)
    # Who cannot tell them apart is half wrong at every coverage.
    assert risk_under_coverage(wrong, np.ones(4)) == pytest.approx(0.5)
