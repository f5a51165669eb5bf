"""The benchmark of the first step: a side that fails says why."""

import pytest

from benchmarks import training_startup

# Starts a process that imports TensorFlow.
pytestmark = pytest.mark.integration


def test_a_side_that_fails_ends_the_benchmark_with_its_words():
    with (
        training_startup._Side("ours", "nowhere", 2) as side,
        pytest.raises(SystemExit, match="nowhere"),
    ):
        side.times()
    assert side._process.returncode not in (None, 0)
