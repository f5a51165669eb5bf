import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_media import number_of, numbered_video, write_image

from preprocessing.media.decoder import Decoder
from preprocessing.media.errors import UnreadableMedia
from preprocessing.media.video import sample_frames

# A child whose decoder misbehaves as a C library does: it writes to address 0, or blocks inside a
# call that holds on to the interpreter (`PyDLL`), so that no Python code of its runs any more.
BROKEN = """
import ctypes, os, cv2
real = cv2.VideoCapture
def capture(path, *arguments):
    name = os.path.basename(path)
    if name.startswith("crash"):
        ctypes.memset(0, 1, 8)
    if name.startswith("hang"):
        ctypes.PyDLL(None).sleep(1000)
    return real(path, *arguments)
cv2.VideoCapture = capture
from preprocessing.media.decoder import serve
serve()
"""
BROKEN_COMMAND = (sys.executable, "-c", BROKEN)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return numbered_video(tmp_path_factory.mktemp("clips") / "good.mp4", 50)


@pytest.fixture(scope="module")
def decoder():
    with Decoder() as decoder:
        yield decoder


def copy_of(clip, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(clip.read_bytes())
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


@pytest.mark.parametrize("name, reason", [("crash.mp4", "crashed .SIGSEGV"), ("hang.mp4", "hung")])
def test_a_broken_decoder_takes_the_child_only(clip, tmp_path, name, reason):
    with Decoder(timeout=2, command=BROKEN_COMMAND) as decoder:
        for _ in range(2):
            with pytest.raises(UnreadableMedia, match=f"the decoder {reason}"):
                list(decoder.frames(copy_of(clip, tmp_path, name), 4))
            assert len(list(decoder.frames(clip, 4))) == 4


def test_a_child_that_was_killed_while_idle_is_replaced(clip):
    with Decoder() as decoder:
        list(decoder.frames(clip, 1))
        process = decoder._idle[-1]._process
        process.kill()
        process.wait()
        with pytest.raises(UnreadableMedia, match="crashed .SIGKILL"):
            list(decoder.frames(clip, 1))
        assert len(list(decoder.frames(clip, 1))) == 1


def test_a_child_that_cannot_start_is_no_fault_of_the_file(clip):
    with pytest.raises(RuntimeError, match="did not start"):
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
        "from preprocessing.media import decoder as d; d._MEMORY = %d; d.serve()",
    )
    with Decoder(command=(*command[:2], command[2] % (1 << 29))) as decoder:
        assert len(list(decoder.frames(clip, 1))) == 1
        with pytest.raises(UnreadableMedia, match="decode"):
            for _ in decoder.frames(tmp_path / "large.png", 1):
                pytest.fail("144 MB of pixels and their copies need more than was granted")


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
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_threads_reach_the_child(clip):
    with Decoder(threads=1) as decoder:
        list(decoder.frames(clip, 1))
        with open(f"/proc/{decoder._idle[-1]._process.pid}/environ", "rb") as file:
            assert b"OPENCV_FFMPEG_THREADS=1" in file.read().split(b"\0")
