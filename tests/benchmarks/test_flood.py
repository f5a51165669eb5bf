"""What a flood of requests tells of itself; nobody answers at the address."""

import time

from ports import refusing_port

from benchmarks._flood import flood


def test_a_sender_that_cannot_keep_the_rate_tells_how_long_it_took():
    count, rate = 60, 2.0**30
    watched = []

    def watch() -> None:
        watched.append(1)
        time.sleep(0.1)

    with refusing_port() as port:
        where = (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", "model")
        tally, _ = flood(where, b"x", rate, count / rate, watch)
    assert (tally.scored, tally.refused, tally.unanswered) == (0, count, 0), tally.reasons
    assert len(watched) == 2
    assert tally.sending_seconds >= 0.2
