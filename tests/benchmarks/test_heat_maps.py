"""The interval of heat maps' benchmark is over persons, whose crops are alike."""

import numpy as np
import pytest

from benchmarks.heat_maps import interval


def test_interval_is_that_of_few_persons_and_not_of_many_crops():
    rng = np.random.default_rng(0)
    of_person = np.array([0.0, 1.0, 2.0, 3.0])
    persons = np.repeat(np.arange(4), 100)
    low, high = interval(of_person[persons], persons, rng)
    # The mean of four draws has the standard deviation sqrt(5 / 4) / 2.
    assert high - low == pytest.approx(4 * np.sqrt(5 / 4) / 2, rel=0.15)
    each = np.arange(400)
    low_of_crops, high_of_crops = interval(of_person[persons], each, rng)
    assert high_of_crops - low_of_crops < (high - low) / 5
