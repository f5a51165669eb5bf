"""Hostile uploads, and the violent end of a gateway: processes, files, and time that are left."""

import contextlib
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import zlib
from concurrent import futures
from pathlib import Path

import cv2
import hostile_media
import numpy as np
import pytest
from made_media import face_frame, write_video
from media_bombs import chunk, png
from processes import Peaks, Watch, descendants, running
from serving_support.gateway import ROOT, GatewayProcess, add_version, until, write_metadata
from serving_support.models import face_detector

from serving.server.process import ServerProcess

pytestmark = pytest.mark.integration

TIMEOUT = 20.0
# The limit is 16 megapixels; a frame of that size and what it is made of take some 200.
DECODER_MEGABYTES = 700
# No upload is held in the gateway's own memory.
GATEWAY_MEGABYTES = 20
# Where a page stands whose requests the gateway and the server answer.
PAGE = "https://pages.example"
# What the issue of a deadline may cost: an answer comes at most this much after it.
GRACE = 2.0


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("abuse")
    base = folder / "tiny"
    base.mkdir()
    model = face_detector(folder / "detector")
    add_version(base, 7, model, real_below=0.6, fake_above=0.7)
    return base


@pytest.fixture(scope="module")
def server(base):
    with ServerProcess(["--model-base", base, "--cors-origin", PAGE]) as process:
        yield process


@pytest.fixture(scope="module")
def arguments(base, server):
    return [
        "--server", server.rest, "--model", "tiny", "--model-base", base, "--workers", 1,
        "--timeout", TIMEOUT,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, arguments, picture):
    folder = tmp_path_factory.mktemp("gateway") / "run"
    limits = ["--max-bytes", 20_000_000, "--max-packets", 100_000, "--max-seconds", 3600]
    with GatewayProcess(folder, *arguments, *limits, "--cors-origin", PAGE) as process:
        # Until the worker's graphs are built, a picture alone may take longer than the deadline.
        until(lambda: process.verdict(picture)[0] == 200, "a picture is answered in time", 240)
        yield process
        assert process.stop() == 0, process.log()
    assert not list(folder.iterdir()), "something was left behind"


@pytest.fixture(scope="module")
def picture():
    pixels = cv2.cvtColor(face_frame([(60, 30, 1.0)]), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    frames = [face_frame([(60 + 4 * number, 40, 1.0)]) for number in range(12)]
    return write_video(tmp_path_factory.mktemp("clip") / "moving.mp4", frames).read_bytes()


def png_bomb(side):
    """A PNG of side x side black pixels; 1 MB of it hold 4 gigabytes."""
    row = zlib.compressobj(9)
    packed = b"".join(row.compress(bytes(1 + side * 3)) for _ in range(side)) + row.flush()
    return png(side, side, chunk(b"IDAT", packed), colour=2)


def jpeg_bomb(side):
    return cv2.imencode(".jpg", np.full((side, side, 3), 127, np.uint8))[1].tobytes()


def lying_png(width, height):
    return png(width, height, chunk(b"IDAT", b"\x78\x9c"), colour=2)


def hostile(picture, clip, canaries, folder):
    """Names and bodies of uploads, and whether a verdict on them is allowed.

    Args:
      picture: an image file with a face.
      clip: a video file with faces.
      canaries: files that no upload may read: at an absolute path, and beside the uploads.
      folder: for files that are made.
    """
    absolute, beside = canaries
    for path in hostile_media.make(folder, absolute, beside.name):
        if path.is_file() and not path.is_symlink():
            yield path.name, path.read_bytes(), path.name in hostile_media.WITH_FRAMES
    bodies = {
        "PNG bomb": png_bomb(12_000),
        "JPEG bomb": jpeg_bomb(7968),
        "lying PNG": lying_png(1 << 31, 1 << 31),
        "lying PNG of zero": lying_png(0, 10),
        "TIFF of nothing": b"II*\0\x08\0\0\0\xff\xff" + bytes(100),
        "ftyp and noise": b"\0\0\0\x18ftypmp42" + np.random.default_rng(1).bytes(5000),
        "a program": Path(sys.executable).resolve().read_bytes()[:100_000],
        "script": b"#!/bin/sh\ntouch /tmp/owned\n",
        "nothing but zeros": bytes(1_000_000),
    }
    for share in (0.01, 0.1, 0.5, 0.9):
        bodies[f"cut picture {share}"] = picture[: int(len(picture) * share)]
        if share < 0.5:
            bodies[f"cut video {share}"] = clip[: int(len(clip) * share)]
    noise = np.random.default_rng(0)
    for size in (1, 16, 4096, 1_000_000):
        bodies[f"noise {size}"] = noise.bytes(size)
    for mark in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF1234WEBP", b"\x1aE\xdf\xa3"):
        bodies[f"noise like {mark!r}"] = mark + noise.bytes(5000)
    yield from ((name, body, False) for name, body in bodies.items())


@pytest.fixture(scope="module")
def canaries(gateway, clip, tmp_path_factory):
    """At an absolute path, and in the folder that uploads are in."""
    (folder,) = {
        path for path in gateway.folder.glob("deepfake-gateway-*") if not any(path.iterdir())
    }
    paths = tmp_path_factory.mktemp("elsewhere") / "canary.mp4", folder / "canary.avi"
    for path in paths:
        path.write_bytes(clip)
    yield paths
    paths[1].unlink()


def test_hostile_uploads_harm_nobody(gateway, picture, clip, canaries, tmp_path):
    status, good = gateway.verdict(picture)
    assert (status, good["faces"]) == (200, 1)
    assert gateway.verdict(clip)[1]["faces"] == 4
    cases = list(hostile(picture, clip, canaries, tmp_path))
    assert len(cases) >= 40
    watch = Watch(*canaries)
    with Peaks(lambda: {gateway.process.pid, *descendants(gateway.process.pid)}) as peaks:
        peaks.look()
        before = peaks.megabytes
        peaks.clear()
        for number, (name, body, may_be_judged) in enumerate(cases):
            start = time.monotonic()
            status, answer = gateway.verdict(body)
            seconds = time.monotonic() - start
            assert seconds < TIMEOUT + GRACE, (name, seconds)
            if not (status == 200 and may_be_judged):
                # A bomb may also be ended by the deadline; when it is recognised depends on it.
                assert status in (400, 413, 504), (name, status, answer)
                assert str(tmp_path) not in answer["error"]
                assert str(gateway.folder) not in answer["error"]
            if name in hostile_media.REASONS:
                assert status == 400, (name, status, answer)
                assert hostile_media.REASONS[name] in answer["error"]
            assert gateway.uploads() == [canaries[1]], name
            assert not watch.touched(), name
            if number % 10 == 9:
                assert gateway.verdict(picture) == (200, good), f"after {name}"
        peaks.look()
    watch.close()
    # Of gateway, worker, and decoders; those that were started on the way held nothing before.
    grown = {pid: peaks.megabytes[pid] - before.get(pid, 0.0) for pid in peaks.megabytes}
    assert max(grown.values()) < DECODER_MEGABYTES, grown
    assert grown[gateway.process.pid] < GATEWAY_MEGABYTES, grown
    assert gateway.verdict(picture) == (200, good)
    # The worker and its decoder.
    assert len(descendants(gateway.process.pid)) <= 2


SLOW_FRAMES = 320


def slow_clip(tmp_path):
    """A video of large frames, whose detection takes far longer than a short deadline."""
    frames = [face_frame([(100, 100, 1.0)], 3600, 3600)] * SLOW_FRAMES
    return write_video(tmp_path / "large.avi", frames, codec="MJPG").read_bytes()


@pytest.mark.slow
@pytest.mark.alone
def test_the_deadline_ends_the_work(tmp_path, arguments, base, picture):
    """And so does a SIGKILL of the gateway; what it left behind goes with the next start."""
    body = slow_clip(tmp_path)
    folder = tmp_path / "run"
    # All frames of the clip, each of which takes a fiftieth of a second or more to decode.
    all_frames = tmp_path / base.name
    shutil.copytree(base, all_frames)
    write_metadata(all_frames / "7", real_below=0.6, fake_above=0.7, frames_per_clip=SLOW_FRAMES)
    short = [*arguments, "--model-base", all_frames]
    short += ["--timeout", "3", "--max-bytes", 100_000_000]
    with GatewayProcess(folder, *short) as gateway:
        # Until the worker's graphs are built, a picture alone may take longer than the deadline.
        until(lambda: gateway.verdict(picture)[0] == 200, "a picture is answered in time", 240)
        with futures.ThreadPoolExecutor(1) as threads:
            start = time.monotonic()
            late = threads.submit(gateway.verdict, body)
            assert late.result()[0] == 504
            # The upload has 3 s of its own.
            assert time.monotonic() - start < 3 + 3 + GRACE
        assert not gateway.uploads()
        until(lambda: gateway.verdict(picture)[0] == 200, "a worker is free again", 240)

        with futures.ThreadPoolExecutor(1) as threads:
            lost = threads.submit(gateway.verdict, body)
            until(gateway.uploads, "the file is there")
            children = descendants(gateway.process.pid)
            assert children
            gateway.process.send_signal(signal.SIGKILL)
            gateway.process.wait()
            with pytest.raises(OSError):  # noqa: PT011  How a connection ends is the system's choice.
                lost.result()
    left = set(folder.iterdir())
    assert any(path.is_file() for path in folder.glob("*/*")), "nobody could remove the upload"
    until(lambda: not children & running(), "the children are gone", 30)

    # The next start, with the same folder for temporary files.
    with GatewayProcess(folder, *arguments) as another:
        assert not left & set(folder.iterdir())
        assert f"removed {len(left)} folders" in another.log()
        assert another.verdict(picture)[0] == 200


def test_clients_that_send_nothing_do_not_keep_others_out(gateway, picture):
    address = urllib.parse.urlsplit(gateway.url)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection((address.hostname, address.port)))
        assert gateway.request("GET", "/healthz")[0] == 200
        assert gateway.verdict(picture)[0] == 200


def test_pages_of_the_given_origin_may_ask(gateway, server):
    """As `--cors-origin` of the gateway, and of the server, says."""
    for url in (f"{gateway.url}/healthz", f"{server.rest}/v1/models/tiny"):
        for origin, allowed in ((PAGE, PAGE), ("https://others.example", None)):
            request = urllib.request.Request(url, headers={"Origin": origin})
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == allowed, url


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
def test_head(gateway, path):
    address = urllib.parse.urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(f"HEAD {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl: apt-get install curl")
def test_curl_uploads(gateway, picture, tmp_path):
    """As people do it: a form, the bare file, and the same packed."""
    file = tmp_path / "a face.png"
    file.write_bytes(picture)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(picture))
    url = f"{gateway.url}/v1/verdict"
    expected = gateway.verdict(picture)[1]
    for options in (
        ["-F", f"anything=@{file}"],
        ["--data-binary", f"@{file}"],
        ["-T", file, "-X", "POST", "-H", "Expect:"],
        ["--data-binary", f"@{packed}", "-H", "Content-Encoding: gzip"],
    ):
        done = subprocess.run(["curl", "-sS", *options, url], capture_output=True, text=True)
        answer = json.loads(done.stdout)
        assert answer["score"] == expected["score"], (options, answer)
        assert answer["name"] == ("a face.png" if options[0] == "-F" else "")


def test_a_server_thread_that_dies_ends_the_gateway(tmp_path, arguments):
    code = f"""
import sys
import uvicorn
async def fail(*_, **__):
    raise RuntimeError("planned")
uvicorn.Server.main_loop = fail
from serving.gateway.main import main
sys.argv = ["gateway", "--port", "0", *{[str(argument) for argument in arguments]!r}]
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "planned" in done.stderr
    assert not list(tmp_path.iterdir())
