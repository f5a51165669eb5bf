"""A moving line on standard error, where that is a terminal, beside answers on standard output."""

from __future__ import annotations

import datetime
import os
import shutil
import sys
import time
from typing import TextIO

from preprocessing.datasets.clip import printable

# Between two changes of the line.
_SECONDS = 0.2


class ProgressLine:
    """Says which file is looked at, how far, and how long the others take; a context manager.

    Writes nothing where standard error is no terminal. It is written to a copy of standard error,
    so that `preprocessing.support.quiet` does not hide it.

    Args:
      total: files in all.
    """

    def __init__(self, total: int):
        self._total = total
        self._done = 0
        self._frames = 0
        self._name = ""
        self._started = time.monotonic()
        self._next = 0.0
        self._stream: TextIO | None = None

    def __enter__(self) -> ProgressLine:
        if sys.stderr.isatty():
            self._stream = os.fdopen(
                os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="backslashreplace"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        if self._stream:
            self._stream.close()
            self._stream = None

    def begin(self, name: str) -> None:
        """A file is looked at from now on."""
        self._name, self._frames = name, 0
        self._show()

    def frame(self) -> None:
        """A frame of it was read."""
        self._frames += 1
        if time.monotonic() >= self._next:
            self._show()

    def done(self) -> None:
        """The file is answered."""
        self._done += 1
        self.clear()

    def clear(self) -> None:
        """Takes the line away, before something else is printed."""
        self._write("\r\033[K")

    def _show(self) -> None:
        self._next = time.monotonic() + _SECONDS
        left = ""
        if self._done:
            seconds = (time.monotonic() - self._started) * (self._total / self._done - 1)
            left = f", about {datetime.timedelta(seconds=round(seconds))} left"
        text = f"{self._done + 1}/{self._total}{left}, frame {self._frames}: "
        # A line that wraps could not be taken back.
        room = shutil.get_terminal_size().columns - len(text) - 1
        self._write(f"\r\033[K{text}{printable(self._name)[-max(room, 1) :]}")

    def _write(self, text: str) -> None:
        if self._stream:
            self._stream.write(text)
            self._stream.flush()
