"""A worker of the gateway by itself: how it is ended, and what it may not do."""

import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from serving_support.gateway import SETTINGS

from preprocessing.faces.face_selection import FaceCounts
from serving.gateway import crop_worker, messages
from serving.gateway.limits import FileLimits
from serving.gateway.refusals import Disconnected, Refused

OBEDIENT = """
import sys
from serving.gateway import messages
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
def say(header, parts=()):
    write(messages.pack(header, parts))
    sys.stdout.buffer.flush()
assert "limits" in messages.receive(read)[0]
say({"ready": True})
assert "path" in messages.receive(read)[0]
assert "cancel" in messages.receive(read)[0]
say({"failure": "dropped"})
assert "path" in messages.receive(read)[0]
say({"crops": [], "counts": {"frames": 1, "dropped": {}, "notes": []}, "thumbnails": []})
read()
"""


def test_a_worker_that_stops_when_its_client_leaves_is_kept(monkeypatch):
    monkeypatch.setattr(crop_worker, "_COMMAND", (sys.executable, "-c", OBEDIENT))
    worker = crop_worker.CropWorker(SETTINGS, FileLimits())

    def gone():
        raise Disconnected

    try:
        worker.wait(lambda: None)
        with pytest.raises(Disconnected):
            worker.find(Path("x"), SETTINGS, 60, gone)
        assert worker.alive
        assert worker.find(Path("y"), SETTINGS, 60, lambda: None).counts == FaceCounts(frames=1)
    finally:
        worker.kill()


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        messages.pack({})[:4] + b"{not json",
        messages.pack({"crops": "no list", "counts": {}, "thumbnails": []}),
        messages.pack({"crops": [{"track": "x"}], "counts": {}, "thumbnails": []}, [b"x"]),
        messages.pack({"crops": [], "counts": [], "thumbnails": []}),
        messages.pack({"crops": [], "counts": {}, "thumbnails": [1]}),
        struct.pack(">I", 20) + b'{"parts": [99999999999]}'[:20],
        b"[" * 100,
    ],
)
def test_what_a_worker_sends_is_not_believed(data):
    """A worker that a file has taken over can send anything; it gets no further than itself."""
    code = f"import sys; sys.stdout.buffer.write({messages.pack({'ready': True}) + data!r})"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crop_worker, "_COMMAND", (sys.executable, "-c", code))
        worker = crop_worker.CropWorker(SETTINGS, FileLimits())
    try:
        with pytest.raises(Refused) as raised:
            worker.find(Path("x"), SETTINGS, 60, lambda: None)
        assert raised.value.status == 500
    finally:
        worker.kill()


def test_a_worker_that_hangs_before_it_is_ready_is_ended(monkeypatch):
    monkeypatch.setattr(crop_worker, "_START_SECONDS", 0.5)
    monkeypatch.setattr(crop_worker, "_COMMAND", (sys.executable, "-c", "input(); input()"))
    worker = crop_worker.CropWorker(SETTINGS, FileLimits())
    try:
        with pytest.raises(RuntimeError, match=r"not ready after 0.5 s"):
            worker.wait(lambda: None)
        assert not worker.alive
    finally:
        worker.kill()


def test_a_worker_that_ends_at_once_is_told_by_whoever_waits(monkeypatch):
    monkeypatch.setattr(crop_worker, "_COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    started = subprocess.Popen

    def ended(*arguments, **options):
        process = started(*arguments, **options)
        process.wait()
        return process

    monkeypatch.setattr(crop_worker.subprocess, "Popen", ended)
    worker = crop_worker.CropWorker(SETTINGS, FileLimits())
    with pytest.raises(RuntimeError, match="did not start"):
        worker.wait(lambda: None)
    assert not worker.alive


def test_a_file_that_needs_more_memory_than_a_worker_may_have_is_refused(tmp_path):
    """By the real worker, which lives on; the limit holds for its decoder too."""
    settings = SETTINGS.replace(precropped=True)
    picture, large = tmp_path / "face.png", tmp_path / "large.png"
    assert cv2.imwrite(str(picture), np.full((96, 96, 3), 127, np.uint8))
    assert cv2.imwrite(str(large), np.full((3900, 3900, 3), 127, np.uint8))

    def worker_with(limit):
        worker = crop_worker.CropWorker(settings, FileLimits(worker_bytes=limit))
        worker.wait(lambda: None)
        return worker

    def crops_of(worker, path):
        return len(worker.find(path, settings, 60, lambda: None).crops)

    worker = worker_with(2 << 30)
    try:
        status = Path(f"/proc/{worker._process.pid}/status").read_text()
        needed = int(status.split("VmData:")[1].split()[0]) << 10
        assert crops_of(worker, large) == 1
    finally:
        worker.kill()
    # Less than the 46 MB that the pixels take.
    worker = worker_with(needed + (32 << 20))
    try:
        assert crops_of(worker, picture) == 1
        with pytest.raises(Refused, match="memory"):
            crops_of(worker, large)
        assert worker.alive
        assert crops_of(worker, picture) == 1
    finally:
        worker.kill()
