"""What a request asks for in its query."""

from __future__ import annotations

import time
import urllib.parse
from pathlib import Path

from preprocessing.support.errors import UsageError
from serving.gateway.examiner import Job
from serving.gateway.refusals import Refused
from serving.model.rates import Rates

_LONGEST_NAME = 200


class RequestQuery:
    """The query of a request for a verdict or a job.

    Args:
      text: query of the URL, behind the question mark.

    Raises:
      Refused: a rate is no number, or out of range.
    """

    def __init__(self, text: bytes):
        self._values = urllib.parse.parse_qs(text.decode("latin-1"))
        self.rates = rates_of(self._values)

    def asks(self, name: str) -> bool:
        """Whether a switch is on."""
        return self._values.get(name, ["0"])[-1] == "1"

    def job(self, path: Path, name: str, seconds: float) -> Job:
        """What is to be done with a file.

        Args:
          path: path of the file.
          name: name that a form gave it, for a query without one.
          seconds: seconds until nobody waits for the answer.
        """
        return Job(
            path,
            self._values.get("name", [name])[-1][:_LONGEST_NAME],
            time.monotonic() + seconds,
            with_crops=self.asks("crops"),
            explain=self.asks("explain"),
            all_faces=self.asks("all_faces"),
            false_positive_rate=self.rates.get("false_positive_rate"),
            miss_rate=self.rates.get("miss_rate"),
        )


def rates_of(query: dict[str, list[str]]) -> dict[str, float]:
    """The rates that a request asks for, by name.

    Raises:
      Refused: one is no number, or out of range.
    """
    rates: dict[str, float] = {}
    for name in ("false_positive_rate", "miss_rate"):
        if name in query:
            try:
                rates[name] = float(query[name][-1])
            except ValueError:
                message = f"{name} is {query[name][-1][:40]!r}; give a number, as in 0.01"
                raise Refused(400, message, "usage") from None
    try:
        Rates().replace(**rates)
    except UsageError as error:
        raise Refused(400, str(error), "usage") from error
    return rates
