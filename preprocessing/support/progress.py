"""Progress of long work, to whoever asked for it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Event:
    """How far a stage is.

    Attributes:
      stage: short name, as in "extract" or "train".
      done: units finished.
      total: units in all; 0 when unknown.
      detail: anything else worth saying.
    """

    stage: str
    done: int
    total: int
    detail: str = ""

    def text(self) -> str:
        """One line for people.

        >>> Event("extract", 3, 10, "0 failed").text()
        'extract: 3/10 0 failed'
        """
        return f"{self.stage}: {self.done}/{self.total or '?'} {self.detail}".rstrip()


Sink = Callable[[Event], None]

_sink: Sink | None = None


def set_sink(sink: Sink | None) -> None:
    """Sends events to `sink`; None sends them to the log again."""
    global _sink
    _sink = sink


def report(stage: str, done: int, total: int, detail: str = "") -> None:
    """Reports how far a stage is; see Event."""
    event = Event(stage, done, total, detail)
    if _sink is not None:
        _sink(event)
    else:
        logging.getLogger(__name__).info("%s", event.text())
