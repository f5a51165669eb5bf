"""What the benchmark of scaling makes of the costs of runs."""

from pathlib import Path

import pytest

from benchmarks.scaling import Cost, _figures


def _cost(crops, trainer, transform, statistics, megabytes=100.0):
    seconds = {"StatisticsGen": statistics, "Transform": transform, "Trainer": trainer}
    return Cost(Path(), crops, seconds, {"StatisticsGen": 50.0 * crops, "Trainer": megabytes})


def test_exponents_slopes_and_ratios():
    costs = [_cost(1000, 10.0, 1.0, 5.0), _cost(2000, 40.0, 1.5, 5.2, megabytes=120.0)]
    before = [_cost(1000, 0.0, 20.0, 10.0), _cost(2000, 0.0, 30.0, 9.0)]
    figures = _figures(costs, before)
    values = {name: figure.value for name, figure in figures.items()}
    assert values["growth_exponent_Trainer"] == pytest.approx(2.0)
    assert values["growth_exponent_of_the_steepest_node"] == pytest.approx(2.0)
    assert not figures["growth_exponent_of_the_steepest_node"].met
    # Of our nodes, not of TFX's.
    assert values["peak_memory_growth_16x"] == pytest.approx(1.2)
    assert values["peak_memory_growth_of_tfx_nodes"] == pytest.approx(2.0)
    assert values["transform_seconds_per_1000_crops"] == pytest.approx(0.5)
    assert values["transform_seconds_per_1000_crops_over_before"] == pytest.approx(0.05)
    assert values["statistics_seconds_of_the_smallest_run_over_before"] == pytest.approx(0.5)
    # A version whose second run took less tells nothing by its slope.
    assert "statistics_seconds_per_1000_crops_over_before" not in values
