"""The load benchmarks in small: what must hold at any size."""

import pytest

from benchmarks import overload

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]


def test_overload_leaves_no_request_unanswered():
    figures = overload.overload("medium", seconds=5)
    assert figures["unanswered_requests"] == 0
    assert figures["scored"] > 0
    assert figures["memory_growth"] <= 1.2


def test_swaps_under_load_fail_no_request():
    figures = overload.swaps(count=12)
    assert figures["swap_failures"] == 0
    assert figures["swap_requests"] > 12
    assert figures["swap_memory_growth"] <= 1.2
