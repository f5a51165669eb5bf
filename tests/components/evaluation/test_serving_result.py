"""What the outcome of the serving check says."""

from components.evaluation.serving_result import ServingResult


def test_the_largest_difference_is_not_rounded_to_less():
    result = ServingResult(crops=4, largest_difference={"gRPC": 1.4e-5}, p50_ms={"gRPC": 2.0})
    assert "at most 1.4e-05 from the evaluation's" in result.text()
