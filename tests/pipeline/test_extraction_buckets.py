"""`deepfake extract` with data and output in buckets: the records of a run on this machine."""

import hashlib
import os
import subprocess
import sys
import zlib
from pathlib import Path

import boto3
import pytest
import requests
from extraction import shards
from made_media import write_clips
from object_stores import FaultyProxy, gcs_server, s3_environment, s3_server
from serving_support.gateway import until

from pipeline.cli import main
from preprocessing.support import files
from preprocessing.support.storage import scratch

pytestmark = pytest.mark.integration

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")
SETTINGS = ("extraction.frames_per_clip=2", "data.split=clip")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two clips of each class, one without a face, and pictures of frames."""
    root = tmp_path_factory.mktemp("data")
    write_clips(root, 3, "{label} {number}.mp4")
    # No ending that is known: looked into.
    (root / "fake" / "fake 0.mp4").rename(root / "fake" / "unknown.ending")
    (root / "README.txt").write_text("a document")
    return root


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The outcome on this machine."""
    output = tmp_path_factory.mktemp("whole")
    assert main(arguments(data, output)) == 4
    return output


@pytest.fixture(scope="module")
def store(data, tmp_path_factory):
    """The URL of an S3 with the data in s3://data/videos."""
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture
def proxy(store, data, monkeypatch):
    """What commands talk to, with a new bucket for the output."""
    with FaultyProxy(store).running() as proxy:
        for key, value in s3_environment(proxy.url).items():
            monkeypatch.setenv(key, value)
        client = boto3.Session().client("s3")
        client.create_bucket(Bucket="data")
        for file in data.rglob("*"):
            if file.is_file():
                client.upload_file(str(file), "data", f"videos/{file.relative_to(data)}")
        proxy.bucket = f"run-{os.urandom(4).hex()}"
        client.create_bucket(Bucket=proxy.bucket)
        yield proxy


@pytest.fixture
def output(proxy):
    return f"s3://{proxy.bucket}/run"


def arguments(data, output, *more):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["extract", "--data", str(data), "--output", str(output), *settings, *more]


def remote_shards(output):
    found = files.place(f"{output}/faces").glob("*/faces-*")
    return {
        path.key.partition("/faces/")[2]: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
    }


def start(output, *more):
    return subprocess.Popen(
        [DEEPFAKE, *arguments("s3://data/videos", output, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_same_comes_out(data, whole, output, capfd):
    assert main(arguments("s3://data/videos", output)) == 4
    assert remote_shards(output) == shards(whole / "faces")
    there = files.place(output)
    manifest = (there / "faces" / "manifest.csv").read_text()
    assert manifest == (whole / "faces" / "manifest.csv").read_text()
    for name in (
        "faces/report.json",
        "faces/report.txt",
        "faces/contact_sheet.png",
    ):
        assert (there / name).is_file()
    (log,) = (there / "logs").iterdir()
    assert log.suffix == ".log"
    assert (there / "faces/contact_sheet.png").read_bytes() == (
        whole / "faces/contact_sheet.png"
    ).read_bytes()
    assert not list(scratch._of_process(os.getpid()).iterdir())

    capfd.readouterr()
    assert main(arguments("s3://data/videos", output, "--status")) == 0
    assert "7 clips: 6 done with faces, 1 done without" in capfd.readouterr().out


@pytest.mark.slow
def test_cloud_storage_and_two_workers(data, tmp_path, monkeypatch):
    # Not with one worker: the last bits of TensorFlow's sums depend on the threads.
    workers = ("--set", "extraction.workers=2")
    assert main(arguments(data, tmp_path / "here", *workers)) == 4
    with gcs_server(tmp_path / "log") as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        bucket = {"name": "bucket"}
        assert requests.post(f"{url}/storage/v1/b?project=p", json=bucket, timeout=60).ok
        for file in data.rglob("*.*"):
            (files.place("gs://bucket/videos") / file.relative_to(data)).write_bytes(
                file.read_bytes()
            )
        assert main(arguments("gs://bucket/videos", "gs://bucket/run", *workers)) == 4
        assert remote_shards("gs://bucket/run") == shards(tmp_path / "here" / "faces")


def test_data_in_a_bucket_and_output_here(whole, proxy, tmp_path):
    assert main(arguments("s3://data/videos", tmp_path)) == 4
    assert shards(tmp_path / "faces") == shards(whole / "faces")
    proxy.tries.clear()
    assert main(arguments("s3://data/videos", tmp_path)) == 4
    read = {path for method, path in proxy.tries if method == "GET" and ".mp4" in path}
    assert not read, "hashes and faces are remembered"


@pytest.mark.slow
def test_parts_on_a_bad_network(whole, store, proxy, output):
    """Busy, cut, and a part that is killed and started again: nothing is lost or doubled."""
    proxy.fault = lambda method, path, number: (
        ("503", "cut", "")[min(number, 2)] if zlib.crc32(path.encode()) % 3 == 0 else ""
    )
    client = boto3.Session().client("s3", endpoint_url=store)
    started = [start(output, "--part", f"{number}/2") for number in (1, 2)]

    def stored():
        running = any([process.poll() is None for process in started])
        listing = client.list_objects_v2(Bucket=proxy.bucket, Prefix="run/face-store/")
        records = [entry["Key"] for entry in listing.get("Contents", ())]
        assert running or records, [process.communicate() for process in started]
        return any(key.endswith(".tfrecord") for key in records)

    try:
        until(stored, "the faces of a clip are stored", 300)
        started[0].kill()
        started[0].communicate()
        started.append(start(output, "--part", "1/2"))
        ended = [process.communicate(timeout=300) for process in started[1:]]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert {process.returncode for process in started[1:]} <= {0, 4}, ended
    assert main(arguments("s3://data/videos", output, "--status")) == 0
    assert proxy.failed
    stored = [path.name for path in files.place(f"{output}/face-store").glob("*/*.tfrecord")]
    assert len(stored) == 7
    assert main(arguments("s3://data/videos", output)) == 4
    assert remote_shards(output) == shards(whole / "faces")


def test_a_clip_that_cannot_be_read_is_in_the_report(proxy, output, monkeypatch, capfd):
    root = files.place("s3://data/videos")
    # After its hash is known.
    monkeypatch.setattr(root.bucket, "_patience", 0.3)
    assert main(arguments("s3://data/videos", output, "--part", "1/1")) == 4
    files.delete_folder(files.place(f"{output}/face-store"))
    proxy.fault = lambda method, path, number: (
        "503" if method == "GET" and "/videos/real/real%200" in path else ""
    )
    assert main(arguments("s3://data/videos", output, "--part", "1/1")) == 4
    proxy.fault = lambda *_: ""
    capfd.readouterr()
    assert main(arguments("s3://data/videos", output, "--status")) == 4
    said = capfd.readouterr().out
    assert "1 failed, 0 to do" in said
    assert "status 503" in said
    assert main(arguments("s3://data/videos", output, "--part", "1/1")) == 4
    assert main(arguments("s3://data/videos", output, "--status")) == 0


def test_index_of_a_bucket(data, output, tmp_path, capfd):
    said = []
    for root, manifest in ((data, tmp_path / "m.csv"), ("s3://data/videos", f"{output}/m.csv")):
        # So few clips cannot be divided into three splits.
        assert main(["index", str(root), "--manifest", str(manifest)]) == 2
        out, err = capfd.readouterr()
        said.append([text.replace(str(root), "ROOT") for text in (out.partition("wrote")[0], err)])
    assert said[0] == said[1]
    assert files.place(f"{output}/m.csv").read_text() == (tmp_path / "m.csv").read_text()


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("s3://data/nothing", "dataset folder s3://data/nothing does not exist"),
        ("s3://data", "did you mean s3://data/videos (layout folder)?"),
        ("s3://missing/videos", "there is no such bucket"),
    ],
)
def test_mistakes_end_with_status_2(proxy, output, capfd, root, words):
    assert main(arguments(root, output)) == 2
    assert words in capfd.readouterr().err
