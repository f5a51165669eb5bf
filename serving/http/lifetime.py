"""The life cycle of a serving process: log, ready line, signals, threads, exit.

Nothing here imports TensorFlow.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import Any, NoReturn

_LOG = logging.getLogger(__name__)

# Between looks for a signal.
_LOOK_SECONDS = 0.5


def set_up_log() -> None:
    """Logs to standard error, the libraries' own lines from warnings on."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    # A full disk below the log must not end the server, nor print a traceback per line.
    logging.raiseExceptions = False
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("absl").setLevel(logging.WARNING)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set from now on."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def end_with_threads(stop: threading.Event) -> list[str]:
    """Has an exception that ends a thread end the process, too.

    The threads of a server are there for its whole life: without the one that polls versions,
    say, it would answer, and never serve a new version.

    Args:
      stop: set when a thread died.

    Returns:
      A list to which the names of threads that died are added.
    """
    names: list[str] = []

    def ended(failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread else "unknown"
        exc_info = (failure.exc_type, failure.exc_value, failure.exc_traceback)
        _LOG.critical(
            "the thread %s died; this process ends",
            name,
            exc_info=exc_info,  # type: ignore[arg-type]  # Without a value logging prints the class.
        )
        names.append(name)
        stop.set()

    threading.excepthook = ended
    return names


def tell_ready(name: str, ready: dict[str, Any]) -> None:
    """Prints the one line of JSON that says what answers, and where."""
    print(json.dumps({name: ready}), flush=True)


def wait_for_end(stop: threading.Event, until_stdin_closes: bool) -> None:
    """Returns when the process is to end.

    Args:
      stop: returns when it is set.
      until_stdin_closes: return at the end of standard input as well.
    """

    def watch_stdin() -> None:
        sys.stdin.read()
        stop.set()

    if until_stdin_closes:
        threading.Thread(target=watch_stdin, daemon=True).start()
    # A signal that comes while a worker starts a decoder process can be noted without waking this
    # thread (9 of 150 in a trial of CPython 3.10); it runs the handler when it runs at all.
    while not stop.wait(_LOOK_SECONDS):
        pass
    _LOG.info("draining")


def exit_without_threads(status: int) -> NoReturn:
    """Ends the process with this status though threads run on that cannot be interrupted.

    An orderly end would wait for them.
    """
    logging.shutdown()
    os._exit(status)
