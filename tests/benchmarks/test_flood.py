"""What a flood of requests tells of itself; nobody answers at the address."""

from benchmarks._flood import flood
from benchmarks._harness import free_ports


def test_a_sender_that_cannot_keep_the_rate_tells_how_long_it_took():
    (port,) = free_ports(1)
    where = (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", "model")
    count, rate = 60, 2.0**30
    watched = []
    tally, _ = flood(where, b"x", rate, count / rate, lambda: watched.append(1))
    assert (tally.scored, tally.refused, tally.unanswered) == (0, count, 0), tally.reasons
    assert len(watched) == 2
    assert count / tally.sending_seconds < rate
