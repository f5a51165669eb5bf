"""The load benchmarks in small: what must hold at any size."""

import pytest
from serving_support.models import half_plus_two

from benchmarks import overload

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]


@pytest.mark.difference
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


def test_slow_bodies_hold_no_more_than_was_admitted(tmp_path):
    half_plus_two(tmp_path / "m" / "1")
    figures = overload.slow_bodies(tmp_path / "m")
    assert figures["slow_body_growth_of_admitted"] <= 1
    assert figures["slow_body_health_failures"] == 0
    # 48 MB have room for three bodies of 16 MB.
    assert figures["slow_bodies_refused"] == figures["slow_bodies"] - 3
