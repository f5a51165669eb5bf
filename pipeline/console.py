"""Terminal output of a run: few lines for people; everything else goes to a log file."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from preprocessing.support import progress
from preprocessing.support.command_line import INTERRUPTED
from preprocessing.support.errors import UsageError, cause
from preprocessing.support.files import in_bucket
from preprocessing.support.progress import Event
from preprocessing.support.storage.scratch import scratch_folder


class Console:
    """Keeps the terminal for the lines of the run; a context manager.

    Inside it, everything that is printed or logged by Python and by native libraries goes to
    the log file, because TensorFlow, Beam and TFX together print hundreds of lines a run.

    Args:
      log: path of the log file; its folder is created. One in an object store is complete when the
        run has ended.
    """

    # Without a terminal nobody watches a moving line: one line in ten seconds is enough.
    _SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, log: Path):
        self.log = log
        self._file = log
        self._scratch = contextlib.ExitStack()
        self._stream: TextIO = sys.stdout
        self._saved: tuple[int, int] | None = None
        self._log_level = logging.NOTSET
        self._stage = ""
        self._first: tuple[float, int] | None = None
        self._next_line = 0.0
        self._line_open = False

    def __enter__(self) -> Console:
        if in_bucket(self.log):  # The file descriptors below need a file of this machine.
            self._file = self._scratch.enter_context(scratch_folder()) / self.log.name
        self.log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = (os.dup(1), os.dup(2))
        # File names hold what an encoding may not; that must not end a command.
        encoding = sys.stdout.encoding or "utf-8"
        self._stream = os.fdopen(os.dup(1), "w", encoding=encoding, errors="backslashreplace")
        # File descriptors, not sys.stdout: native code writes past Python.
        with self._file.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        self._log_level = logging.getLogger().level
        logging.getLogger().setLevel(logging.INFO)
        progress.set_sink(self.progress)
        return self

    def __exit__(self, *_: object) -> None:
        progress.set_sink(None)
        logging.getLogger().setLevel(self._log_level)
        self._close_line()
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in enumerate(self._saved or (), start=1):
            os.dup2(saved, number)
            os.close(saved)
        self._stream.close()
        with self._scratch:
            if remote := in_bucket(self.log):
                remote.bucket.write(remote.key, self._file)

    def say(self, text: str) -> None:
        """Prints a text and repeats it in the log."""
        self._close_line()
        self._stream.write(text + "\n")
        self._stream.flush()
        logging.info("%s", text)

    def progress(self, event: progress.Event) -> None:
        """Shows how far a stage is: a moving line on a terminal, now and then a line elsewhere."""
        now = time.monotonic()
        if event.stage != self._stage:
            self._close_line()
            self._stage, self._first, self._next_line = event.stage, None, now
        finished = bool(event.total) and event.done >= event.total
        if now < self._next_line and not finished:
            return
        text = f"  {event.text()}{self._time_left(event, now)}"
        if self._stream.isatty():
            self._stream.write(f"\r\033[K{text}")
            self._line_open = True
            self._next_line = now + 0.2
        elif now >= self._next_line:
            self._stream.write(text + "\n")
            self._next_line = now + self._SECONDS_BETWEEN_LINES
        self._stream.flush()

    def _time_left(self, event: Event, now: float) -> str:
        # From the first finished unit on: what comes before it is loading and tracing.
        if self._first is None or event.done < self._first[1]:
            self._first = (now, event.done) if event.done else None
        if self._first is None or event.done >= event.total or event.done == self._first[1]:
            return ""
        seconds = (
            (now - self._first[0]) * (event.total - event.done) / (event.done - self._first[1])
        )
        return f", about {datetime.timedelta(seconds=round(seconds))} left"

    def _close_line(self) -> None:
        if self._line_open:
            self._stream.write("\n")
            self._line_open = False


def logged(logs: Path, work: Callable[[Console], int]) -> int:
    """Does the work of a command whose finished clips are kept, with the terminal for our lines.

    Args:
      logs: folder that gets a log file.
      work: given the console; returns the exit status.

    Returns:
      The exit status: that of the work, 130 when it was interrupted, 1 after an error, whose
      traceback is in the log.

    Raises:
      UsageError: as the work does.
    """
    log = logs / f"{datetime.datetime.now():%Y%m%d-%H%M%S}.log"
    with Console(log) as console:
        try:
            return work(console)
        except BaseException as error:
            if cause(error, KeyboardInterrupt):
                console.say(
                    "interrupted; finished clips are kept, the same command goes on from them"
                )
                return INTERRUPTED
            usage = cause(error, UsageError)
            if usage:
                raise usage from error
            if not isinstance(error, Exception):
                raise
            # The boundary of the program: the traceback is for the log, one line for the person.
            logging.error("%s", traceback.format_exc())
            console.say(f"error: {type(error).__name__}: {error}")
            console.say(f"the traceback is at the end of {log}")
            return 1
