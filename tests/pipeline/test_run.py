import pytest

from pipeline.run import elapsed

HOUR = 3600.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0:00:00"),
        (61.6, "0:01:02"),
        (2 * HOUR, "2:00:00"),
        (24 * HOUR, "1 day, 0:00:00"),
        (26 * HOUR, "1 day, 2:00:00"),
        (75 * HOUR + 61, "3 days, 3:01:01"),
    ],
)
def test_elapsed_time_knows_days(seconds, text):
    assert elapsed(1000.0, 1000.0 + seconds) == text
