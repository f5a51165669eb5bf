"""The gateway against a real server: the scores of `deepfake predict`, and wrong inputs."""

import io
import json
import re
import socket
import subprocess
import sys
import urllib.parse
from concurrent import futures
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import pytest
from made_media import face_frame, write_video
from prometheus_client.parser import text_string_to_metric_families
from serving_support.gateway import ROOT, GatewayProcess, add_version, until, write_metadata
from serving_support.models import face_detector

from serving.gateway.answer import JobStatus
from serving.model.predictor import Predictor
from serving.server.process import ServerProcess

pytestmark = pytest.mark.integration

MOST_BYTES = 2_000_000


def write_picture(path, pixels):
    assert cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A SavedModel without anything beside it."""
    return face_detector(tmp_path_factory.mktemp("gateway") / "detector")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A clip of one moving face, a picture of two, and one of none."""
    folder = tmp_path_factory.mktemp("files")
    frames = [face_frame([(60 + 4 * number, 40, 1.0)]) for number in range(12)]
    dim = (face_frame([(20, 30, 0.9)], width=480) * 0.5).astype(np.uint8)
    both = np.maximum(
        dim, face_frame([(250, 30, 0.9)], width=480) * (np.arange(480) > 240)[:, None]
    )
    whole = write_video(folder / "whole.avi", frames, codec="MJPG")
    cut = folder / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 5])
    return {
        "video": write_video(folder / "moving.mp4", frames),
        "cut": cut,
        "picture": write_picture(folder / "two.png", both.astype(np.uint8)),
        "wall": write_picture(folder / "wall.jpg", np.full((240, 320, 3), 127, np.uint8)),
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory, model):
    base = tmp_path_factory.mktemp("served") / "tiny"
    base.mkdir()
    add_version(base, 7, model, real_below=0.6, fake_above=0.7)
    return base


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, base):
    folder = tmp_path_factory.mktemp("gateway") / "run"
    with ServerProcess(["--model-base", base, "--poll", "0.2"]) as server, GatewayProcess(
        folder, "--server", f"grpc://{server.grpc}", "--model", "tiny", "--model-base", base,
        "--max-bytes", MOST_BYTES, "--waiting", 8,
    ) as process:  # fmt: skip
        process.server_port = int(server.grpc.rpartition(":")[2])
        yield process
        assert process.stop() == 0, process.log()
    assert not list(folder.iterdir()), "something was left behind"


@pytest.fixture(scope="module")
def predictor(base):
    predictor = Predictor(base)
    yield predictor
    predictor.close()


def agree(answer, expected, asked=frozenset()):
    """Asserts that an answer is what `deepfake predict` says, and has the keys asked for."""
    assert answer["score"] == pytest.approx(expected.score, abs=1e-5)
    assert answer["verdict"] == expected.verdict
    counts = expected.counts
    assert (answer["frames"], answer["faces"]) == (counts.frames, counts.crops)
    assert (answer["faces_found"], answer["left_out"]) == (counts.faces, counts.dropped)
    assert answer["notes"] == counts.notes
    tracks = {entry["track"]: entry["score"] for entry in answer["tracks"]}
    wanted = {track.track: track.score for track in expected.tracks}
    assert tracks == pytest.approx(wanted, abs=1e-5)
    # One schema; the gateway adds the model and knows the file by another name.
    assert set(answer) - {"name", "model", *asked} == set(expected.as_dict())


@pytest.mark.parametrize("name", ["video", "picture"])
def test_answers_are_those_of_predict(gateway, predictor, files, name):
    status, answer = gateway.verdict(files[name].read_bytes(), f"?name={files[name].name}")
    assert status == 200, answer
    agree(answer, predictor.predict(files[name]))
    assert answer["name"] == files[name].name
    assert answer["model"] == {**predictor.about, "name": "tiny", "version": 7}
    assert answer["model"]["backbone"] == "tiny"
    assert answer["thresholds"]["fake_above"] == pytest.approx(0.7)
    assert "crop" not in answer["tracks"][0]
    assert [entry["score"] for entry in answer["tracks"]] == sorted(
        (entry["score"] for entry in answer["tracks"]), reverse=True
    )
    assert len(answer["tracks"]) == (2 if name == "picture" else 1)


@pytest.mark.parametrize("name", ["video", "picture"])
def test_a_job_answers_as_predict_does_and_writes_the_film(gateway, predictor, files, name):
    status, headers, begun = gateway.request(
        "POST", "/v1/jobs?overlay=1&explain=1", files[name].read_bytes()
    )
    assert status == 202, begun
    path = headers["location"]

    def done():
        answer = gateway.request("GET", path)[2]
        JobStatus.model_validate(answer)
        return answer["state"] in ("done", "failed") and answer

    until(done, "the job is done")
    job = done()
    assert job["state"] == "done", job
    agree({**job["answer"], "name": ""}, predictor.predict(files[name]), {"no_heat_maps"})
    assert all(track["strip"] for track in job["answer"]["tracks"])
    film = httpx.get(f"{gateway.url}{path}/overlay.mp4", timeout=240)
    if name == "picture":
        assert (job["overlay"], film.status_code) == ("", 404)
    else:
        assert job["overlay"] == f"{path}/overlay.mp4"
        with av.open(io.BytesIO(film.content)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 12
        # With a heading and a bar.
        assert frames[0].shape[0] > 240
        part = httpx.get(film.url, headers={"Range": "bytes=4-7"}, timeout=240)
        assert (part.status_code, part.content) == (206, b"ftyp")
    assert gateway.request("DELETE", path)[0] == 204
    assert gateway.request("GET", path)[0] == 404


def test_a_job_ends_soon_when_it_is_cancelled(gateway, files):
    _, headers, _ = gateway.request("POST", "/v1/jobs?overlay=1", files["video"].read_bytes())
    assert gateway.request("DELETE", headers["location"])[0] == 204
    until(lambda: not gateway.uploads(), "its files are gone")
    assert gateway.verdict(files["wall"].read_bytes())[0] == 200


def test_a_frame_that_cannot_be_decoded_is_told_beside_the_score(gateway, predictor, files):
    status, answer = gateway.verdict(files["cut"].read_bytes(), "?name=cut.avi")
    assert status == 200, answer
    agree(answer, predictor.predict(files["cut"]))
    assert answer["faces"]
    early, undecoded = answer["notes"]
    assert "its header says that there is more" in early
    assert undecoded == "1 of 4 frames could not be decoded"


def test_libraries_say_nothing_while_the_gateway_starts_and_answers(gateway, files):
    status, answer = gateway.verdict(files["video"].read_bytes(), "?name=moving.mp4")
    assert status == 200, answer
    for line in gateway.log().splitlines():
        assert re.match(r"[\d-]+ [\d:,]+ (?:INFO|WARNING|ERROR) serving\.", line), line


def test_crops_are_small_pictures_of_the_tracks(gateway, files):
    import base64

    status, answer = gateway.verdict(files["picture"].read_bytes(), "?crops=1")
    assert status == 200
    shown = [
        cv2.imdecode(np.frombuffer(base64.b64decode(entry["crop"]), np.uint8), cv2.IMREAD_COLOR)
        for entry in answer["tracks"]
    ]
    assert all(max(pixels.shape) <= 128 for pixels in shown)
    # The model's logit is the brightness: the first is the brighter face.
    assert shown[0].mean() > shown[1].mean() + 20


def test_real_clips_score_as_predict_says(gateway, predictor, media):
    clips = sorted(media.glob("faceforensics_mini/*/*/c40/videos/*.mp4"))
    small = [clip for clip in clips if clip.stat().st_size < MOST_BYTES]
    for clip in (small[0], small[-1]):
        status, answer = gateway.verdict(clip.read_bytes())
        assert status == 200, answer
        agree(answer, predictor.predict(clip))


def test_no_face_is_an_answer_of_its_own(gateway, files):
    status, answer = gateway.verdict(files["wall"].read_bytes())
    assert status == 200
    assert (answer["score"], answer["verdict"], answer["reason"]) == (None, "", "no face")
    assert (answer["frames"], answer["faces"], answer["tracks"]) == (1, 0, [])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda files: b"", "empty"),
        (lambda files: b"I am no video", "begins like none"),
        (lambda files: files["video"].read_bytes()[:600], "cannot be read"),
        (lambda files: files["picture"].read_bytes()[:200], "cannot be decoded"),
        (lambda files: b"#EXTM3U\nfile:///etc/passwd\n", "an HLS or M3U playlist"),
    ],
    ids=["empty", "text", "cut video", "cut picture", "playlist"],
)
def test_what_is_no_picture_or_video(gateway, files, body, words):
    status, answer = gateway.verdict(body(files))
    assert status == 400, answer
    assert words in answer["error"]
    assert str(gateway.folder) not in json.dumps(answer)


@pytest.mark.parametrize("chunked", [False, True])
def test_larger_files_are_refused_by_length_and_while_they_come(gateway, files, chunked):
    body = files["video"].read_bytes()
    body += bytes(MOST_BYTES - len(body))
    large = [body, b"1"] if chunked else body + b"1"
    status, answer = gateway.verdict(large)
    assert (status, "larger than 2000000 bytes" in answer["error"]) == (413, True)
    status, answer = gateway.verdict([body] if chunked else body)
    assert status == 200, answer


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/verdict", 405, "POST"),
        ("POST", "/", 405, "GET, HEAD"),
        ("GET", "/v1/verdicts", 404, None),
        ("POST", "/../etc/passwd", 404, None),
    ],
)
def test_other_paths_and_methods(gateway, method, path, status, allow):
    given, headers, answer = gateway.request(method, path, b"x" if method == "POST" else None)
    assert (given, headers["allow"]) == (status, allow)
    assert set(answer) == {"error"}


def test_files_are_gone_after_every_answer(gateway, files):
    for body in (files["picture"].read_bytes(), b"text", bytes(MOST_BYTES + 1), [b"x"] * 3):
        gateway.verdict(body)
        until(lambda: not gateway.uploads(), "the file is removed")


@pytest.mark.parametrize("whole", [False, True], ids=["while it sends", "while it waits"])
def test_files_are_gone_when_the_client_is(gateway, files, whole):
    body = files["video"].read_bytes()
    address = urllib.parse.urlsplit(gateway.url)
    where = (address.hostname, address.port)
    with gateway.workers_stopped(), socket.create_connection(where) as client:
        head = f"POST /v1/verdict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + (body if whole else body[:100]))
        until(gateway.uploads, "the file is there")
    until(lambda: not gateway.uploads(), "the file is removed")
    assert gateway.verdict(files["picture"].read_bytes())[0] == 200


def test_concurrent_requests_are_all_answered_each_with_its_own(gateway, files, predictor):
    names = ["video", "picture", "wall"] * 3
    with futures.ThreadPoolExecutor(len(names)) as threads:
        answers = list(threads.map(lambda name: gateway.verdict(files[name].read_bytes()), names))
    expected = {name: predictor.predict(files[name]).score for name in files}
    for name, (status, answer) in zip(names, answers, strict=True):
        assert status == 200, answer
        assert answer["score"] == (
            None if name == "wall" else pytest.approx(expected[name], abs=1e-5)
        )


def test_connections_to_the_model_server_end_with_their_file(gateway, files):
    def connections():
        established = "01"
        # gRPC may reach an IPv4 address from a socket of IPv6.
        tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
        text = "".join(table.read_text() for table in tables if table.exists())
        ends = [line.split()[2:4] for line in text.splitlines()]
        return [
            address
            for address, state in ends
            if state == established and int(address.rpartition(":")[2], 16) == gateway.server_port
        ]

    for _ in range(2):
        assert gateway.verdict(files["picture"].read_bytes())[0] == 200
    until(lambda: not connections(), "all connections are closed")


def test_health_is_answered_while_files_are_looked_at(gateway, files):
    def alive():
        status, _, answer = gateway.request("GET", "/healthz", timeout=60)
        return (status, answer) == (200, {"status": "alive"})

    body = files["video"].read_bytes()
    with futures.ThreadPoolExecutor(4) as threads:
        with gateway.workers_stopped():
            running = [threads.submit(gateway.verdict, body) for _ in range(4)]
            until(lambda: len(gateway.uploads()) == 4, "all files are there")
            # A loop that looks at files itself answers nothing now.
            for _ in range(3):
                assert alive()
            assert not any(one.done() for one in running)
        while not all(one.done() for one in running):
            assert alive()
    assert all(one.result()[0] == 200 for one in running)


def test_page_readiness_and_metrics(gateway, files):
    status, headers, text = gateway.request("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'data-max-bytes="{MOST_BYTES}"' in text
    assert "<noscript>" in text
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "http://" not in text
    assert "https://" not in text
    assert gateway.request("GET", "/readyz")[::2] == (200, {"status": "ready", "version": 7})

    def values():
        page = gateway.request("GET", "/metrics")[2]
        families = text_string_to_metric_families(page)
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    before = values()
    gateway.verdict(files["wall"].read_bytes())
    gateway.verdict(b"text")
    after = values()
    for outcome in ("no_face", "unreadable"):
        key = ("deepfake_gateway_requests_total", outcome)
        assert after[key] == before.get(key, 0) + 1
    key = ("deepfake_gateway_answers_total", "no_face", "7")
    assert after[key] == before.get(key, 0) + 1
    key = ("deepfake_gateway_seconds_count", "faces")
    assert after[key] == before.get(key, 0) + 1
    assert after[("deepfake_gateway_in_flight",)] == 0


@pytest.mark.parametrize(
    ("metadata", "arguments", "words"),
    [
        ({"unheard_of": 1}, (), "crops that this version cannot make"),
        ({}, ("--false-positive-rate", "0.7"), "false_positive_rate: 0.7 is outside"),
        ({}, ("--server", "somewhere"), "no address of a server"),
        ({}, ("--workers", "0"), "--workers must be more than 0"),
        ({}, ("--max-seconds", "nan"), "--max-seconds must be more than 0, and finite"),
        ({}, ("--drain", "inf"), "--drain must not be below 0, and be finite"),
        ({}, ("--cors-origin", "a.example/page"), "no origin"),
        (None, (), "holds no version"),
    ],
)
def test_starts_are_refused_that_cannot_end_well(tmp_path, metadata, arguments, words):
    if metadata is not None:
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").write_bytes(b"")
        write_metadata(tmp_path / "1", 0.3, 0.7, **metadata)
    command = [
        sys.executable, "-m", "serving.gateway", "--server", "grpc://127.0.0.1:1", "--model", "m",
        "--model-base", str(tmp_path), "--port", "0", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
