"""The end of a serving process, in processes of their own."""

import subprocess
import sys

import pytest

_WITH_A_THREAD = """
import sys, threading
from serving.http.lifetime import exit_without_threads
threading.Thread(target=threading.Event().wait).start()
exit_without_threads(int(sys.argv[1]))
"""


@pytest.mark.parametrize("status", [0, 1])
def test_a_thread_that_runs_on_holds_neither_the_process_nor_its_status(status):
    command = [sys.executable, "-c", _WITH_A_THREAD, str(status)]
    assert subprocess.run(command, timeout=60).returncode == status
