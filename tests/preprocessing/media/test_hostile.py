"""Files that are made to harm: none reads another file, none takes more than was granted."""

import contextlib
import dataclasses
import os
import time
from pathlib import Path

import av
import hostile_media
import processes
import pytest
from made_media import number_of, numbered_video
from processes import Peaks, Watch

from preprocessing.media.decoder import Decoder
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import DecodingFailed, UnreadableMedia

LIMITS = Limits(pixels=16_000_000, packets=100_000, seconds=3600, bytes=200_000_000)
SECONDS = 20.0
# The child's imports take 80 MB; a frame of 16 megapixels and what it is made of, some 200.
MEGABYTES = 700
# What this process may hold of a file: the frames that came.
PARENT_MEGABYTES = 100
# What a player would have to be asked for, so that lists are followed as far as FFmpeg can.
CAREFREE = {
    **{"safe": "0", "allowed_extensions": "ALL", "extension_picky": "0"},
    "protocol_whitelist": "file,crypto,data,http,tcp",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    canaries = [numbered_video(folder / "canary.avi", 30, codec="MJPG")]
    canaries += [numbered_video(elsewhere / "canary.mp4", 30)]
    return hostile_media.make(folder, canaries[1], canaries[0].name), canaries


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a file came to."""

    answer: str | int  # The reason, or how many frames there were.
    late: float  # Seconds after the deadline.
    touched: list[str]  # Canaries.
    megabytes: float  # Most that a decoder held.
    parent_megabytes: float  # What this process held more than before.


@pytest.fixture(scope="module")
def outcomes(made, tmp_path_factory):
    """Name of a file -> what it came to."""
    paths, canaries = made
    good = numbered_video(tmp_path_factory.mktemp("good") / "good.mp4", 12)
    outcomes = {}
    others = processes.children()  # Servers that other tests of this process share.

    def decoders():
        return processes.children() - others

    descriptors = _descriptors()
    with Decoder(threads=2, timeout=10, limits=LIMITS) as decoder, Peaks(decoders) as peaks:
        list(decoder.frames(good, 1))
        # A child keeps this process's folder; "beside" must be reached from the file's folder too.
        for path in paths:
            watch = Watch(*canaries)
            peaks.clear()
            before = _forget_peak()
            deadline = time.monotonic() + SECONDS
            try:
                answer = len(list(decoder.frames(path, 8, deadline=deadline)))
            except (UnreadableMedia, DecodingFailed) as error:
                answer = str(error)
            late = time.monotonic() - deadline
            peaks.look()
            outcomes[path.name] = Outcome(
                answer,
                late,
                watch.touched(),
                max(peaks.megabytes.values()),
                processes.peak(os.getpid()) - before,
            )
            watch.close()
            assert [number_of(f.pixels) for f in decoder.frames(good, 2)] == [3, 9], path.name
            assert len(decoders()) == 1
    assert not decoders(), "a process is left"
    assert _descriptors() == descriptors, "a file is left open"
    return outcomes


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _forget_peak() -> float:
    """Sets this process's peak memory to what it holds, which is returned in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return processes.peak(os.getpid())


def test_the_watch_would_see_it(made):
    _, canaries = made
    watch = Watch(*canaries)
    assert watch.touched() == []
    canaries[1].read_bytes()
    assert set(watch.touched()) == {"canary.mp4"}
    watch.close()


def test_there_are_many(made):
    assert len(made[0]) >= 40


def test_a_player_would_open_other_files(made):
    """So that the lists are no duds: FFmpeg follows these as soon as it is given the path."""
    paths, canaries = made
    followed = set()
    for path in paths:
        if path.name in ("pixels.mp4", "packets.avi") or path.is_symlink() or not path.is_file():
            continue
        watch = Watch(*canaries)
        with (
            contextlib.suppress(av.error.FFmpegError, ValueError),
            av.open(str(path), options=CAREFREE) as opened,
        ):
            next(opened.demux(), None)
        if watch.touched():
            followed.add(path.name)
        watch.close()
    assert followed >= {
        *("hls.m3u8", "hls beside.m3u8", "concat.mp4", "concat beside.avi"),
        *("ts late hls.m3u8", "ts one hls.m3u8", "m2ts one hls.m3u8"),
    }


def test_no_other_file_is_opened(outcomes):
    assert not {name: file.touched for name, file in outcomes.items() if file.touched}


def test_each_is_answered_in_time(outcomes):
    assert not {name: file.late for name, file in outcomes.items() if file.late > 2}


def test_memory_stays_within_its_bound(outcomes):
    """Of decoders that were ended as well."""
    assert all(file.megabytes > 0 for file in outcomes.values())
    large = {name: file.megabytes for name, file in outcomes.items() if file.megabytes > MEGABYTES}
    assert not large
    grown = {name: file.parent_megabytes for name, file in outcomes.items()}
    assert max(grown.values()) < PARENT_MEGABYTES, grown


def test_none_gives_frames_that_it_should_not(outcomes):
    gave = {name for name, file in outcomes.items() if isinstance(file.answer, int)}
    more = gave - hostile_media.WITH_FRAMES
    assert not more, {name: outcomes[name] for name in more}


@pytest.mark.parametrize(("name", "words"), hostile_media.REASONS.items())
def test_the_reason_names_what_it_is(outcomes, name, words):
    assert words in str(outcomes[name].answer)
