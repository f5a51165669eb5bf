"""Which of TensorFlow's kernels a server computes with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import serving

pytestmark = [pytest.mark.integration, pytest.mark.difference]

CODE = """
import os, sys
from serving.server import main

def tell(*_):
    from tensorflow.python.util import _pywrap_util_port
    print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), _pywrap_util_port.IsMklEnabled())

main.tell_ready = tell
main.wait_for_end = lambda *_: None
sys.exit(main.main())
"""


@pytest.mark.parametrize(
    ("arguments", "chosen", "expected"),
    [
        (["--batching", os.devnull], None, "1 True"),
        (["--batching", os.devnull], "0", "0 False"),
        ([], "0", "0 False"),
        ([], None, "None"),
    ],
    ids=["batching", "batching, decided by the environment", "environment", "TensorFlow's choice"],
)
def test_batches_are_computed_by_onednn(tmp_path, arguments, chosen, expected):
    environment = {**os.environ, "PYTHONPATH": str(Path(serving.__file__).parents[1])}
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if chosen:
        environment["TF_ENABLE_ONEDNN_OPTS"] = chosen
    ports = ["--port", "0", "--rest-port", "0", "--poll", "0"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, "--model-base", str(tmp_path), *ports, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected), done.stdout
