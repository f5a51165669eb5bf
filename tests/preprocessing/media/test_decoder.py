import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_media import number_of, numbered_video, write_image, write_video
from processes import children_of

from preprocessing.media import child
from preprocessing.media.decoder import _PIPE_BYTES, Decoder
from preprocessing.media.frame import MediaInfo, middles
from preprocessing.media.limits import Limits
from preprocessing.media.media_errors import DeadlinePassed, DecodingFailed, UnreadableMedia
from preprocessing.media.video import sample_frames

BROKEN_COMMAND = (sys.executable, "-c", "from broken_decoder import serve; serve()")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return numbered_video(tmp_path_factory.mktemp("clips") / "good.mp4", 50)


@pytest.fixture(scope="module")
def decoder():
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(autouse=True)
def tests_on_the_path(monkeypatch):
    """Children find `broken_decoder`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def copy_of(clip, tmp_path, fault):
    """The clip with a word behind it that makes `broken_decoder` misbehave."""
    path = tmp_path / f"{fault}.mp4"
    path.write_bytes(clip.read_bytes() + fault.encode())
    return path


def test_the_child_gives_the_same_frames(decoder, clip):
    ours = list(sample_frames(clip, 5))
    theirs = list(decoder.frames(clip, 5))
    assert [(f.index, f.timestamp_ms) for f in ours] == [(f.index, f.timestamp_ms) for f in theirs]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_options_reach_the_child(decoder, clip):
    assert len(list(decoder.frames(clip, 1000, per_second=2))) == 4
    frames = decoder.frames(clip, 1, indices=[3, 30])
    assert [number_of(frame.pixels) for frame in frames] == [3, 30]


def test_an_unreadable_file_leaves_the_child_alive(decoder, clip, tmp_path):
    list(decoder.frames(clip, 1))
    before = decoder._idle[-1]
    (tmp_path / "a.mp4").write_text("nothing")
    with pytest.raises(UnreadableMedia, match="no video"):
        list(decoder.frames(tmp_path / "a.mp4", 1))
    assert len(list(decoder.frames(clip, 1))) == 1
    assert decoder._idle[-1] is before


def test_frames_left_unread_do_not_reach_the_next_caller(decoder, clip):
    frames = decoder.frames(clip, 50)
    assert next(frames).index == 0
    frames.close()
    assert [frame.index for frame in decoder.frames(clip, 2)] == [12, 37]


def test_callers_in_threads_have_children_of_their_own(clip):
    with Decoder() as decoder, ThreadPoolExecutor(2) as pool:
        numbers = pool.map(
            lambda _: [number_of(frame.pixels) for frame in decoder.frames(clip, 25)], range(4)
        )
        assert list(numbers) == [list(range(1, 50, 2))] * 4


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash", "the decoder crashed .SIGSEGV"),
        ("hang", "the decoder hung"),
        ("greedy", "the decoder ran out of memory"),
        ("vast", "an answer that cannot be right"),
        ("negative", "an answer that cannot be right"),
        ("backwards", "an answer that cannot be right"),
        ("babble", "an answer that cannot be right"),
        ("epic", "an answer that cannot be right"),
        ("listing", "an answer that cannot be right"),
        ("wordy", "an answer that cannot be right"),
        ("nested", "an answer that cannot be right"),
    ],
)
def test_a_broken_decoder_takes_the_child_only(clip, tmp_path, fault, reason):
    with Decoder(timeout=2, command=BROKEN_COMMAND) as decoder:
        for _ in range(2):
            with pytest.raises(DecodingFailed, match=reason):
                list(decoder.frames(copy_of(clip, tmp_path, fault), 4))
            assert len(list(decoder.frames(clip, 4))) == 4


def test_a_child_that_was_killed_while_idle_is_replaced(clip):
    """The next file must not be blamed for it."""
    with Decoder() as decoder:
        list(decoder.frames(clip, 1))
        process = decoder._idle[-1]._process
        process.kill()
        process.wait()
        assert len(list(decoder.frames(clip, 1))) == 1
        assert decoder._idle[-1]._process is not process


def test_a_crash_is_tried_again_with_a_fresh_child(clip, tmp_path):
    """The out-of-memory killer may have hit a child in the middle of its work."""
    with Decoder() as decoder:
        others = children_of(os.getpid())
        frames = decoder.frames(copy_of(clip, tmp_path, "good"), 20)
        seen = [next(frames).index for _ in range(3)]
        (child,) = children_of(os.getpid()) - others
        os.kill(child, signal.SIGKILL)
        seen += [frame.index for frame in frames]
    assert seen == middles(50, 20)


def test_a_deadline_ends_the_child(clip, tmp_path):
    with Decoder(timeout=50, command=BROKEN_COMMAND) as decoder:
        list(decoder.frames(clip, 1))
        pid = decoder._idle[-1]._process.pid
        start = time.monotonic()
        with pytest.raises(DeadlinePassed):
            list(decoder.frames(copy_of(clip, tmp_path, "hang"), 1, deadline=start + 1))
        assert time.monotonic() - start < 20
        assert not _runs(pid)
        assert len(list(decoder.frames(clip, 1, deadline=time.monotonic() + 30))) == 1


def test_a_decoder_that_only_gives_signs_of_life_ends_at_the_deadline(clip, tmp_path):
    deadline = time.monotonic() + 3
    with Decoder(timeout=50, command=BROKEN_COMMAND) as decoder, pytest.raises(DeadlinePassed):
        list(decoder.frames(copy_of(clip, tmp_path, "signs"), 1, deadline=deadline))
    limits = Limits(wall_seconds=0.5)
    with (
        Decoder(timeout=50, command=BROKEN_COMMAND, limits=limits) as decoder,
        pytest.raises(DecodingFailed, match=r"took longer than 0.5 s"),
    ):
        list(decoder.frames(copy_of(clip, tmp_path, "signs"), 1))


def test_a_child_that_cannot_start_is_no_fault_of_the_file(clip):
    with pytest.raises(DecodingFailed, match="did not start"):
        list(Decoder(command=(sys.executable, "-c", "raise SystemExit(3)")).frames(clip, 1))


def test_a_playlist_opens_no_other_file(decoder, clip, tmp_path):
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n"
    (tmp_path / "hls.mp4").write_text(playlist)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    for name in ("hls.mp4", "list.mp4"):
        with pytest.raises(UnreadableMedia):
            list(decoder.frames(tmp_path / name, 1))


def test_memory_of_the_child_is_bounded(clip, tmp_path):
    write_image(tmp_path / "large.png", np.zeros((6000, 8000, 3), np.uint8))
    command = (
        sys.executable,
        "-c",
        "from preprocessing.media.child import serve; serve(memory=%d)",
    )
    with Decoder(command=(*command[:2], command[2] % (1 << 29))) as decoder:
        assert len(list(decoder.frames(clip, 1))) == 1
        # 144 MB of pixels and their copies need more than was granted.
        with pytest.raises(DecodingFailed, match="ran out of memory"):
            list(decoder.frames(tmp_path / "large.png", 1))


def test_the_child_does_not_outlive_its_parent(clip, tmp_path):
    script = f"""
import os, time
from preprocessing.media import decoder
with decoder.Decoder(command={BROKEN_COMMAND!r}) as d:
    list(d.frames({str(clip)!r}, 1))
    print(d._idle[-1]._process.pid, flush=True)
    time.sleep(1000)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child still runs")


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def large_clip(tmp_path_factory):
    """A video of 18 frames, more than a child decodes ahead of a parent that reads the first."""
    frames = [np.full((720, 1280, 3), 12 * number, np.uint8) for number in range(18)]
    assert sum(frame.nbytes for frame in frames[2:]) > child._AHEAD + _PIPE_BYTES
    return write_video(tmp_path_factory.mktemp("clips") / "large.mp4", frames)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_reach_the_child(large_clip, threads):
    """Counted while frames are left to decode: FFmpeg's threads end with the file."""
    with Decoder(threads=threads) as decoder:
        others = children_of(os.getpid())
        frames = decoder.frames(large_clip, 18)
        assert next(frames).index == 0
        (child,) = children_of(os.getpid()) - others
        running = len(list(Path(f"/proc/{child}/task").iterdir()))
        frames.close()
    # The main one, what sends and what watches the parent; with several, FFmpeg adds its own.
    assert running == (3 if threads == 1 else 3 + threads)


def test_decoding_runs_ahead_of_a_busy_parent_by_a_bounded_number_of_bytes():
    receiving, sending = os.pipe()
    output = child._Output(os.fdopen(sending, "wb", buffering=0))
    # The third does not fit.
    size = child._AHEAD // 3 + 1
    sent = []

    def send():
        for number in range(5):
            output.send(b"F", bytes([number]) * size)
            sent.append(number)

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(receiving, "rb") as messages:
        for _ in range(6000):
            if len(sent) >= 2:
                break
            time.sleep(0.01)
        time.sleep(0.5)  # In which a third could be taken.
        ahead = list(sent)
        received = [messages.read(1 + size) for _ in range(5)]
    sender.join(60)
    assert ahead == [0, 1]
    assert received == [b"F" + bytes([number]) * size for number in range(5)]
    assert sent == [0, 1, 2, 3, 4]


def test_what_a_file_is_reaches_the_caller(decoder, clip, tmp_path):
    told = []
    list(decoder.frames(clip, 2, tell=told.append))
    (tmp_path / "film.png").write_bytes(clip.read_bytes())
    list(decoder.frames(tmp_path / "film.png", 2, tell=told.append))
    assert told[0] == MediaInfo("MP4 or QuickTime", "mpeg4", 50, ())
    assert [len(info.notes) for info in told] == [0, 1]
    assert told[1].notes[0].startswith("its ending is .png, but it holds MP4")
