"""One process at a time writes into an output folder."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from preprocessing.support.errors import UsageError
from preprocessing.support.files import in_bucket

FILE = ".lock"
_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(
    output: Path, work: str, otherwise: str = "or name another folder with --output"
) -> Iterator[None]:
    """Keeps other processes out of a folder.

    Two runs would write the same metadata store, training state and temporary files. The lock is
    the kernel's (flock), so that it goes with the process that holds it, however that ends; the
    file tells the others who holds it, and stays. Object stores have no locks: there each file is
    complete, and of two that write the same one, the later is read.

    Args:
      output: the folder, which exists.
      work: what is done there, for the message of the others.
      otherwise: what can be done instead of waiting, for the message; may be empty.

    Raises:
      UsageError: another process works there, and is named; or the folder cannot be written.
    """
    if in_bucket(output):
        yield
        return
    try:
        lock = (output / FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{output} cannot be written ({error.strerror}); make room, or the folder writable"
        ) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            remedies = ", ".join(filter(None, ("wait until it has ended", otherwise)))
            raise UsageError(f"{output} is being written by {holder}; {remedies}") from None
        except OSError as error:  # Some network file systems have no locks.
            _LOG.warning("%s cannot be locked (%s); start nothing else there", output, error)
        file.truncate(0)
        since = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        file.write(f"{work}, process {os.getpid()} on {socket.gethostname()}, since {since}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
