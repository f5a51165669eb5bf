"""Refusals: the errors that a request for a verdict can end with."""

from __future__ import annotations

# Seconds after which a client may try again what failed for want of room or of a model server.
RETRY_AFTER = 5


class Refused(Exception):
    """A request that gets no verdict; status and message go to the client.

    Args:
      status: HTTP status code.
      message: one sentence for the client, without paths.
      outcome: label that the metrics count it under.
      headers: headers of the answer, besides the usual ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        outcome: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.outcome = outcome
        self.headers = headers


class Disconnected(Exception):
    """The client went away; nobody waits for an answer."""


def unavailable(message: str, outcome: str) -> Refused:
    """503, which tells the client when to come again."""
    return Refused(503, message, outcome, ((b"retry-after", b"%d" % RETRY_AFTER),))


def too_late(message: str) -> Refused:
    """504."""
    return Refused(504, message, "timeout")


def failed() -> Refused:
    """500; the client is not told of what."""
    return Refused(500, "the request failed; the gateway's log says why", "error")
