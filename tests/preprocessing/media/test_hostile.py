"""Files that are made to harm: none reads another file, none takes more than was granted."""

import contextlib
import ctypes
import os
import struct
import time
from pathlib import Path

import hostile_media
import pytest
from made_media import number_of, numbered_video

from preprocessing.media.decoder import Decoder
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

LIMITS = Limits(pixels=16_000_000, packets=100_000, seconds=3600, bytes=200_000_000)
SECONDS = 20.0
# The child's imports take 80 MB; a frame of 16 megapixels and what it is made of, some 200.
MEGABYTES = 700
_ACCESS, _OPEN = 0x1, 0x20


class Watch:
    """Tells whether anyone opened or read one of some files (inotify)."""

    def __init__(self, *paths):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.inotify_init1(os.O_NONBLOCK)
        assert self._file >= 0
        self._names = {
            self._libc.inotify_add_watch(self._file, bytes(path), _ACCESS | _OPEN): path.name
            for path in paths
        }
        assert min(self._names) > 0

    def touched(self) -> list[str]:
        """Names of the files that were touched since the last call."""
        try:
            data = os.read(self._file, 1 << 16)
        except BlockingIOError:
            return []
        found, at = [], 0
        while at < len(data):
            number, _, _, length = struct.unpack_from("iIII", data, at)
            found.append(self._names[number])
            at += 16 + length
        return found

    def close(self):
        os.close(self._file)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    canaries = [numbered_video(folder / "canary.avi", 30, codec="MJPG")]
    canaries += [numbered_video(elsewhere / "canary.mp4", 30)]
    return hostile_media.make(folder, canaries[1], canaries[0].name), canaries


@pytest.fixture(scope="module")
def outcomes(made, tmp_path_factory):
    """What each file came to: (reason or number of frames, seconds, canaries touched)."""
    paths, canaries = made
    good = numbered_video(tmp_path_factory.mktemp("good") / "good.mp4", 12)
    found = {}
    others = set(_children())  # Servers that other tests of this process share.

    def children():
        return [child for child in _children() if child not in others]

    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with Decoder(threads=2, timeout=10, limits=LIMITS) as decoder:
        list(decoder.frames(good, 1))
        # A child keeps this process's folder; "beside" must be reached from the file's folder too.
        for path in paths:
            watch = Watch(*canaries)
            deadline = time.monotonic() + SECONDS
            try:
                outcome = len(list(decoder.frames(path, 8, deadline=deadline)))
            except (UnreadableMedia, DecodingFailed) as error:
                outcome = str(error)
            late = time.monotonic() - deadline
            peak = max((_peak(child) for child in children()), default=0)
            found[path.name] = (outcome, late, watch.touched(), peak)
            watch.close()
            assert [number_of(f.pixels) for f in decoder.frames(good, 2)] == [3, 9], path.name
            assert len(children()) == 1
    found[""] = (children(), len(list(Path("/proc/self/fd").iterdir())) - descriptors)
    return found


def _children() -> list[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return [int(child) for found in lists for child in found.read_text().split()]


def _peak(child: int) -> float:
    """Most memory that a process ever held, in MB; of one that is gone, 0."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{child}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


def test_the_watch_would_see_it(made):
    _, canaries = made
    watch = Watch(*canaries)
    assert watch.touched() == []
    canaries[1].read_bytes()
    assert set(watch.touched()) == {"canary.mp4"}
    watch.close()


def test_there_are_many(made):
    assert len(made[0]) >= 40


def test_no_other_file_is_opened(outcomes):
    assert not {name: found[2] for name, found in outcomes.items() if name and found[2]}


def test_each_is_answered_in_time(outcomes):
    assert not {name: found[1] for name, found in outcomes.items() if name and found[1] > 2}


def test_memory_stays_within_its_bound(outcomes):
    assert not {name: found[3] for name, found in outcomes.items() if name and found[3] > MEGABYTES}


def test_no_process_and_no_descriptor_is_left(outcomes):
    assert outcomes[""] == ([], 0)


def test_none_gives_frames_that_it_should_not(outcomes):
    # The films whose data is said to stand elsewhere have their own, which FFmpeg reads.
    allowed = {"external beside.mov", "external data.mov"}
    allowed |= {"text.png", "pages.tif", "nested.mp4", "cut at 0.7.mp4", "samples.mp4"}
    gave = {name for name, found in outcomes.items() if name and isinstance(found[0], int)}
    assert gave <= allowed, {name: outcomes[name] for name in gave - allowed}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hls.m3u8", "an HLS or M3U playlist, which only names other files"),
        ("bom.m3u", "an HLS or M3U playlist"),
        ("ts one hls.m3u8", "an HLS or M3U playlist"),
        ("ts late concat.mp4", "a concat list"),
        ("dash.mpd", "a DASH manifest"),
        ("session.sdp", "an SDP session description"),
        ("list.pls", "a PLS playlist"),
        ("list.xspf", "an XSPF playlist"),
        ("pipe.mp4", "no regular file"),
        ("zero.mp4", "no regular file"),
        ("environment.mp4", "the file is empty"),
        ("passwords.mp4", "begins like none"),
        ("pixels.png", "8000x8000 pixels are too large; the limit is 16000000"),
        ("pixels.jpg", "pixels are too large"),
        ("pixels.gif", "pixels are too large"),
        ("pixels.avi", "60000x60000 pixels are too large"),
        ("pixels.mp4", "damaged or larger than 16000000 pixels"),
        ("packets.avi", "more than 100000 video packets, the limit"),
        ("frames.gif", "more than 100000 frames, the limit"),
        ("duration.mp4", "the limit is 3600 s"),
    ],
)
def test_the_reason_names_what_it_is(outcomes, name, words):
    assert words in str(outcomes[name][0])
