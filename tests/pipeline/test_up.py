"""`deepfake up`: a server and a gateway as one command, each a real process."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from made_media import write_image
from processes import descendants, running
from serving_support.gateway import add_version, until
from serving_support.models import face_detector

from pipeline.cli import main

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")


class Up:
    """`deepfake up` on free ports; a context manager, which leaves nothing running."""

    def __init__(self, *arguments):
        self._command = [DEEPFAKE, "up", *map(str, arguments), "--port", "0"]

    def __enter__(self):
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._known = set()
        self._lines = []
        # Else a full pipe would stop the children, whose logs go there.
        self._reader = threading.Thread(target=lambda: self._lines.extend(self.process.stderr))
        self._reader.start()
        return self

    def __exit__(self, *_):
        self._known |= descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        for pid in self._known & running():
            os.kill(pid, signal.SIGKILL)
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()

    def ready(self) -> dict:
        line = self.process.stdout.readline()
        assert line, self.said()
        self._known = descendants(self.process.pid)
        return json.loads(line)["up"]

    def child(self, module: str) -> int:
        """The number of the process that runs a module."""
        for pid in descendants(self.process.pid):
            if module in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        raise AssertionError(f"{module} does not run")

    def end(self, number=signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(timeout=200)
        self._reader.join()
        until(lambda: not self._known & running(), "every process is gone")
        return status

    def said(self) -> str:
        return "".join(self._lines)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("up")
    base = folder / "tiny"
    base.mkdir()
    add_version(base, 7, face_detector(folder / "detector"), real_below=0.6, fake_above=0.7)
    return base


@pytest.mark.integration
def test_both_answer_and_end_with_a_signal(base, tmp_path):
    with Up(base) as up:
        ready = up.ready()
        assert (ready["model"], ready["version"]) == ("tiny", 7)
        picture = write_image(tmp_path / "wall.png", np.full((240, 320, 3), 127, np.uint8))
        request = urllib.request.Request(f"{ready['http']}/v1/verdict", picture.read_bytes())
        with urllib.request.urlopen(request, timeout=200) as answer:
            assert json.load(answer)["reason"] == "no face"
        with urllib.request.urlopen(f"{ready['rest']}/v1/models/tiny", timeout=60) as answer:
            (version,) = json.load(answer)["model_version_status"]
            assert version["state"] == "AVAILABLE"
        told = f"tiny, version 7, answers at {ready['http']}/ (a page"
        until(lambda: told in up.said(), told)
        assert up.end(signal.SIGINT) == 0, up.said()
        assert "Traceback" not in up.said()


@pytest.mark.integration
def test_where_one_dies_the_other_is_ended_with_the_reason(base):
    with Up(base) as up:
        up.ready()
        os.kill(up.child("serving.server"), signal.SIGKILL)
        assert up.wait() == 1
        reason = "error: the model server died (SIGKILL ended it); what was started is ended"
        assert reason in up.said()


@pytest.mark.integration
def test_a_signal_during_the_start_ends_it(base):
    with Up(base) as up:
        until(lambda: descendants(up.process.pid), "the server is started")
        up._known = descendants(up.process.pid)
        assert up.end() == 0


def test_folders_and_ports_that_cannot_be_used(base, tmp_path, capsys):
    assert main(["up", str(tmp_path)]) == 2
    assert "holds no version of a model; give the folder of versions" in capsys.readouterr().err
    assert main(["up", str(base / "7")]) == 2
    assert f"is one version; give the folder of versions, {base}" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for option in ("--port", "--grpc-port", "--rest-port"):
            assert main(["up", str(base), "--port", "0", option, port]) == 2
            assert f"cannot listen on 127.0.0.1:{port}" in (error := capsys.readouterr().err)
            assert option in error
