"""The sandbox of decoding processes is entered wherever the kernel offers one."""

import ctypes
import errno
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.media import sandbox
from preprocessing.media.decoder import Decoder

# What the kernel says of itself, read here without the code under test.
SECCOMP = (
    platform.machine() == "x86_64" and Path("/proc/sys/kernel/seccomp/actions_avail").is_file()
)
LANDLOCK = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
needs_seccomp = pytest.mark.skipif(not SECCOMP, reason="this kernel has no seccomp for x86-64")
needs_landlock = pytest.mark.skipif(LANDLOCK < 1, reason="this kernel has no Landlock")


def child(code: str) -> dict[str, object]:
    """What a process answers that has given up what a decoder does not need."""
    preamble = (
        "import ctypes, json, os, socket, threading\nfrom preprocessing.media import sandbox\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", preamble + code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_seccomp
def test_decoders_are_in_it():
    with Decoder() as decoder:
        active = decoder.sandbox()
    assert any("seccomp" in line for line in active)
    assert any("Landlock" in line for line in active) == (LANDLOCK >= 1)


@needs_seccomp
def test_what_should_be_impossible_is_tried():
    code = "before = sandbox.proof(); sandbox.enter()\nprint(json.dumps([before, sandbox.proof()]))"
    before, after = child(code)
    assert not any(before.values()), "outside of it, all of that is possible"
    assert len(after) == 3
    assert all(after.values()), after


# System calls by number, with arguments that succeed, or fail otherwise, outside of the sandbox.
CALLS = {
    "open": (2, b"/etc/passwd", 0),
    "openat": (257, -100, b"/etc/passwd", 0),
    "openat2": (437, -100, b"/etc/passwd", bytes(24), 24),
    "socket": (41, 2, 1, 0),
    "socketpair": (53, 1, 1, 0, bytes(8)),
    "fork": (57,),
    "clone without threads": (56, 17, 0, 0, 0, 0),
    "execve": (59, b"/bin/true", 0, 0),
    "ptrace": (101, 0, 0, 0, 0),
    "unlink": (87, b"/nowhere"),
    "mkdirat": (258, -100, b"/nowhere/at all", 0o700),
    "renameat2": (316, -100, b"/nowhere", -100, b"/elsewhere", 0),
    "io_uring_setup": (425, 1, bytes(120)),
    "kill": (62, 1, 0),
    "memfd of another": (438, 0, 0, 0),
    "by the x32 table": (0x40000002, b"/etc/passwd", 0),
}


@needs_seccomp
@pytest.mark.parametrize("thread", [False, True], ids=["main thread", "another thread"])
def test_system_calls_are_refused(thread):
    """In threads that were there before it was entered too."""
    code = f"""
calls = {CALLS!r}
libc = ctypes.CDLL(None, use_errno=True)
entered, refused = threading.Event(), {{}}
def attempt():
    entered.wait()
    for name, (number, *arguments) in calls.items():
        ctypes.set_errno(0)
        if libc.syscall(number, *arguments) == -1:
            refused[name] = ctypes.get_errno()
thread = threading.Thread(target=attempt)
if {thread}:
    thread.start()
sandbox.enter()
entered.set()
thread.join() if {thread} else attempt()
print(json.dumps(refused))
"""
    assert child(code) == dict.fromkeys(CALLS, errno.EPERM)


@needs_seccomp
def test_threads_can_still_be_started():
    code = """
sandbox.enter()
answers = []
thread = threading.Thread(target=lambda: answers.append(1))
thread.start(); thread.join()
print(json.dumps(answers))
"""
    assert child(code) == [1]


@needs_landlock
def test_landlock_alone_forbids_files():
    """Should a system call have been overlooked by the filter."""
    code = """
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
version = sandbox._landlock(libc)
try:
    open("/etc/passwd").close()
    refused = 0
except OSError as error:
    refused = error.errno
print(json.dumps([version, refused]))
"""
    assert child(code) == [LANDLOCK, errno.EACCES]


def test_a_kernel_without_it_is_told(monkeypatch):
    monkeypatch.setattr(sandbox.platform, "system", lambda: "Darwin")
    assert sandbox.enter() == []
