"""Files in object stores: real servers, with a proxy in front that fails."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
import requests
from object_stores import FaultyProxy, gcs_server, s3_environment, s3_server
from ports import refusing_port

from preprocessing.support import files
from preprocessing.support.errors import UsageError
from preprocessing.support.storage import bucket as buckets
from preprocessing.support.storage import scratch

pytestmark = pytest.mark.integration

CONTENT = bytes(range(256)) * 5000


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    with gcs_server(tmp_path_factory.mktemp("gcs") / "log") as url:
        yield url


@pytest.fixture(params=["s3", "gs"])
def folder(request, monkeypatch, tmp_path):
    """A place in a new bucket of either kind."""
    name = f"bucket-{os.urandom(4).hex()}"
    if request.param == "s3":
        use_s3(monkeypatch, request.getfixturevalue("s3"), name)
    else:
        url = request.getfixturevalue("gcs")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert requests.post(f"{url}/storage/v1/b?project=p", json={"name": name}, timeout=60).ok
    return files.place(f"{request.param}://{name}/some folder")


def use_s3(monkeypatch, url, *new):
    for key, value in s3_environment(url).items():
        monkeypatch.setenv(key, value)
    for name in new:
        boto3.client("s3").create_bucket(Bucket=name)


@pytest.fixture
def proxy(s3, monkeypatch):
    """A proxy before S3 with a bucket `faulty`; waiting takes no seconds."""
    use_s3(monkeypatch, s3, "faulty")
    with FaultyProxy(s3).running() as proxy:
        use_s3(monkeypatch, proxy.url)
        yield proxy


class TestPlaces:
    def test_what_is_written_is_read(self, folder):
        file = folder / "sub" / "ä+b %20.bin"
        assert not file.exists()
        assert not folder.is_dir()
        with files.replacing(file, binary=True) as stream:
            stream.write(CONTENT)
            assert not file.exists(), "not before it is complete"
        assert file.is_file()
        assert not file.is_dir()
        assert (folder / "sub").is_dir()
        assert file.read_bytes() == CONTENT
        assert file.stat().st_size == len(CONTENT)
        assert file.head(3) == CONTENT[:3]
        assert files.read_into(file, hashlib.sha256).digest() == hashlib.sha256(CONTENT).digest()
        with files.local_copy(file) as copy:
            assert copy.read_bytes() == CONTENT
        assert not copy.exists()
        file.unlink()
        assert not file.exists()
        file.unlink(missing_ok=True)
        with pytest.raises(FileNotFoundError):
            file.read_bytes()
        with pytest.raises(FileNotFoundError):
            file.stat()

    def test_copies_of_a_clip_that_is_a_folder_of_frames(self, folder):
        for number in range(3):
            (folder / "frames" / "clip" / f"{number}.png").write_text(f"picture {number}")
        (folder / "film.mp4").write_text("film")
        with files.local_copies(folder, ["film.mp4", "frames/clip", "absent.mp4"]) as copies:
            assert (copies / "film.mp4").read_text() == "film"
            pictures = sorted((copies / "frames/clip").iterdir())
            assert [picture.name for picture in pictures] == ["0.png", "1.png", "2.png"]
            assert pictures[2].read_text() == "picture 2"
            assert not (copies / "absent.mp4").exists()

    def test_a_failed_write_leaves_what_was_there(self, folder):
        file = folder / "a.txt"
        file.write_text("before")
        with pytest.raises(TypeError), files.replacing(file) as stream:
            stream.write(b"no text")
        assert file.read_text() == "before"

    def test_a_listing_holds_files_and_folders(self, folder):
        for name in ("b.txt", "a/one.txt", "a/two.csv", "a/deep/x", "empty"):
            (folder / name).write_text("" if name == "empty" else name)
        for place in (folder, files.snapshot(folder)):
            entries = {(entry.name, entry.is_dir()) for entry in files.scan(place)}
            assert entries == {("a", True), ("b.txt", False), ("empty", False)}
            assert {str(path) for path in place.glob("*/*.txt")} == {f"{folder}/a/one.txt"}
            assert [path.name for path in place.glob("a*/")] == ["a"]
            assert (place / "a/deep/x").is_file()
            assert not (place / "a/deep/y").exists()
            assert (place / "a").is_dir()
            assert (place / "a/one.txt").stat().st_size == 9
            assert (place / "empty").head(10) == b""
        files.delete_folder(folder / "a")
        assert [entry.name for entry in sorted(folder.iterdir())] == ["b.txt", "empty"]

    def test_another_content_is_another_state(self, folder):
        file = folder / "a.txt"
        file.write_text("one")
        before = files.state(file.stat())
        assert files.state(file.stat()) == files.state((files.snapshot(folder) / "a.txt").stat())
        file.write_text("two")
        assert files.state(file.stat()) != before

    def test_a_snapshot_asks_once(self, proxy):
        root = files.place("s3://faulty/snap")
        for number in range(5):
            (root / f"real/{number}.mp4").write_bytes(b"x")
        listed = files.snapshot(root)
        proxy.tries.clear()
        clips = [entry.name for entry in files.scan(listed / "real")]
        assert [(listed / "real" / clip).stat().st_size for clip in clips] == [1] * 5
        assert (listed / "real").is_dir()
        assert not proxy.tries


def test_a_listing_of_several_pages_is_whole(s3, monkeypatch):
    use_s3(monkeypatch, s3, "pages")
    client = boto3.client("s3")
    keys = [f"real/{number:04}.mp4" for number in range(1050)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: client.put_object(Bucket="pages", Key=key, Body=b"x"), keys))
    for root in (files.place("s3://pages"), files.snapshot(files.place("s3://pages"))):
        assert sorted(entry.name for entry in files.scan(root / "real")) == [
            key.removeprefix("real/") for key in keys
        ]


class TestFaults:
    def test_a_busy_store_is_waited_for(self, proxy):
        file = files.place("s3://faulty/busy")
        proxy.fault = lambda method, path, number: "503" if number < 5 else ""
        file.write_bytes(CONTENT)
        assert file.read_bytes() == CONTENT
        assert {method for method, _ in proxy.failed} == {"PUT", "GET"}

    def test_a_transfer_that_is_cut_begins_anew(self, proxy):
        file = files.place("s3://faulty/cut")
        proxy.fault = lambda method, path, number: "cut" if number < 3 else ""
        file.write_bytes(CONTENT)
        with files.local_copy(file) as copy:
            assert copy.read_bytes() == CONTENT
        assert ("GET", "/faulty/cut") in proxy.failed
        assert files.read_into(file, hashlib.sha256).digest() == hashlib.sha256(CONTENT).digest()

    def test_a_listing_that_is_cut_lacks_nothing(self, proxy):
        root = files.place("s3://faulty/listed")
        for number in range(5):
            (root / f"{number}.txt").write_text("x")
        proxy.fault = lambda method, path, number: ("503", "cut", "cut", "")[min(number, 3)]
        assert len(files.scan(files.snapshot(root))) == 5
        assert len(files.scan(root)) == 5
        assert [path.partition("?")[2][:11] for _, path in proxy.failed] == ["list-type=2"] * 6

    def test_cloud_storage_is_asked_again(self, gcs, monkeypatch):
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with FaultyProxy(gcs).running() as proxy:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
            created = {"name": "faulty"}
            assert requests.post(f"{proxy.url}/storage/v1/b?project=p", json=created, timeout=60).ok
            file = files.place("gs://faulty/file")
            proxy.fault = lambda method, path, number: (
                ("503", "cut", "")[min(number, 2)] if method == "GET" else "503" * (number < 2)
            )
            file.write_bytes(CONTENT)
            with files.local_copy(file) as copy:
                assert copy.read_bytes() == CONTENT
            assert {method for method, _ in proxy.failed} == {"GET", "POST"}

    def test_what_stays_cut_is_no_file(self, proxy, monkeypatch):
        file = files.place("s3://faulty/short")
        file.write_bytes(CONTENT)
        proxy.fault = lambda method, path, number: "cut" if method == "GET" else ""
        monkeypatch.setattr(file.bucket, "_patience", 0.5)
        with pytest.raises(OSError, match=r"cut|came"), files.local_copy(file):
            pass

    def test_an_upload_that_is_never_finished_is_no_object(self, proxy, monkeypatch):
        file = files.place("s3://faulty/never")
        proxy.fault = lambda method, path, number: "cut" if method == "PUT" else ""
        monkeypatch.setattr(file.bucket, "_patience", 0.5)
        with pytest.raises(OSError, match="cut"):
            file.write_bytes(CONTENT)
        proxy.fault = lambda *_: ""
        assert not file.exists()


class TestSentences:
    def refusal(self, uri):
        with pytest.raises(UsageError) as raised:
            files.place(uri).check_writable()
        return str(raised.value)

    def test_nothing_answers(self, monkeypatch):
        with refusing_port() as port:
            use_s3(monkeypatch, f"http://127.0.0.1:{port}")
            assert "cannot be reached" in self.refusal("s3://bucket/run")
            assert "AWS_ENDPOINT_URL_S3" in self.refusal("s3://bucket/run")

    def test_no_bucket(self, s3, monkeypatch):
        use_s3(monkeypatch, s3)
        assert "s3://missing: there is no such bucket" in self.refusal("s3://missing/run")
        assert "no bucket is named" in self.refusal("s3:///run")

    def test_no_credentials(self, s3, monkeypatch):
        use_s3(monkeypatch, s3)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in self.refusal("s3://bucket/run")

    def test_no_credentials_of_google(self, monkeypatch, tmp_path):
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
        assert "gcloud auth application-default login" in self.refusal("gs://bucket/run")

    def test_no_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "boto3", None)
        monkeypatch.delitem(sys.modules, "preprocessing.support.storage.s3", raising=False)
        buckets._bucket.cache_clear()
        said = self.refusal("s3://bucket/run")
        assert "the package boto3 is missing" in said
        assert "deepfake-detection[pipeline]" in said

    def test_refused(self, proxy):
        proxy.fault = lambda method, path, number: "403"
        assert "credentials that may list" in self.refusal("s3://faulty/run")


class TestScratch:
    def test_a_killed_process_leaves_nothing_for_long(self, tmp_path, monkeypatch):
        program = textwrap.dedent("""
            import sys
            from preprocessing.support.storage.scratch import scratch_folder
            with scratch_folder() as folder:
                (folder / "clip").write_bytes(b"x")
                print(folder, flush=True)
                sys.stdin.read()
        """)
        environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())}

        def start():
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            return process, process.stdout.readline().strip()

        killed, left = start()
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert Path(left).exists()
        living, kept = start()
        third, _ = start()
        assert not Path(left).exists(), "the next process deletes it"
        assert Path(kept).exists(), "but not that of one that lives"
        for process in (living, third):
            process.communicate("")
        assert list(tmp_path.iterdir()) == []

    def test_an_error_empties_it(self):
        with pytest.raises(FileNotFoundError), scratch.scratch_folder() as folder:
            (folder / "absent").read_bytes()
        assert not folder.exists()
