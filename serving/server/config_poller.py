"""Looks at the models configuration again and again (`--models-config-poll`)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from preprocessing.support.errors import UsageError
from serving.server.config import ServedModelConfig
from serving.server.manager import ModelManager
from serving.server.status_codes import ServingError

_LOG = logging.getLogger(__name__)


class ConfigPoller:
    """A thread that serves what a file says.

    As in TensorFlow Serving, what HandleReloadConfigRequest changed lasts until the next look. A
    file that cannot be used changes nothing; its error is logged once.

    Args:
      read: function that gives the models of the file.
      manager: manager that serves them.
      seconds: seconds between two looks.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[ServedModelConfig]],
        manager: ModelManager,
        seconds: float,
    ):
        self._read = read
        self._manager = manager
        self._seconds = seconds
        self._problem = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="models-config", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.wait(self._seconds):
            problem = self._look()
            if problem and problem != self._problem:
                _LOG.error("the models configuration was not taken over: %s", problem)
            self._problem = problem

    def _look(self) -> str:
        """Takes the file over; returns what is wrong with it."""
        try:
            self._manager.reload(self._read())
        except (ServingError, UsageError) as error:
            return str(error)
        except Exception as error:  # The thread must outlive whatever a file system does.
            _LOG.exception("reading the models configuration failed")
            return str(error)
        return ""
