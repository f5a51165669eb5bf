"""One server process for all test folders that only ask it: starting it takes many seconds."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from serving_support.models import write_served_models

from serving.server.process import ServerProcess

_running: list[tuple[ServerProcess, Path]] = []


def server() -> ServerProcess:
    """The running server with the models of `write_served_models`; started when it is not."""
    if not _running:
        folder = Path(tempfile.mkdtemp(prefix="served-"))
        process = ServerProcess(["--models-config", write_served_models(folder), "--poll", "0.2"])
        try:
            process.__enter__()
        except BaseException:
            shutil.rmtree(folder)
            raise
        _running.append((process, folder))
        atexit.register(stop)
    return _running[0][0]


def stop() -> None:
    """Stops it, when it runs."""
    while _running:
        process, folder = _running.pop()
        process.stop()
        shutil.rmtree(folder)
