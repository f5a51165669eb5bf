"""The sandbox of a decoding process, as far as the kernel offers one.

`seccomp` refuses the system calls that open files and sockets, start processes or change the file
system; Landlock forbids the process every file, every TCP port and signals to others, should a
call have been overlooked. Files come in as descriptors that the parent has opened. Both are for
Linux; seccomp's list is for x86_64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable

_NO_NEW_PRIVILEGES = 38
_SECCOMP, _SET_MODE_FILTER, _ALL_THREADS = 317, 1, 1
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT, _LANDLOCK_VERSION = 444, 446, 1
# Rights over files that each version of Landlock's interface knows, as the number of bits.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_LATER_FILE_RIGHTS = 16
_NETWORK_RIGHTS_SINCE, _SCOPES_SINCE = 4, 6

# arch/x86/entry/syscalls/syscall_64.tbl
_OPENING = {"open": 2, "creat": 85, "openat": 257, "openat2": 437, "open_by_handle_at": 304}
_NETWORK = {
    **{"socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49},
    **{"listen": 50, "socketpair": 53, "accept4": 288, "sendmmsg": 307, "io_uring_setup": 425},
}
_PROCESSES = {
    **{"fork": 57, "vfork": 58, "execve": 59, "ptrace": 101, "process_vm_readv": 310},
    **{"process_vm_writev": 311, "execveat": 322, "pidfd_open": 434, "pidfd_getfd": 438},
    **{"unshare": 272, "setns": 308, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323},
    **{"keyctl": 250, "add_key": 248, "request_key": 249, "mq_open": 240, "shmget": 29},
}
_FILE_SYSTEM = {
    **{"truncate": 76, "rename": 82, "mkdir": 83, "rmdir": 84, "link": 86, "unlink": 87},
    **{"symlink": 88, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94},
    **{"utime": 132, "mknod": 133, "pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166},
    **{"utimes": 235, "mkdirat": 258, "mknodat": 259, "fchownat": 260, "futimesat": 261},
    **{"unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268},
    **{"utimensat": 280, "fanotify_init": 300, "renameat2": 316, "open_tree": 428},
    **{"move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
}
_REFUSED = tuple({*_OPENING.values(), *_NETWORK.values(), *_PROCESSES.values()}) + tuple(
    _FILE_SYSTEM.values()
)
_CLONE, _CLONE3, _CLONE_THREAD = 56, 435, 0x10000
_KILL, _TGKILL, _X32 = 62, 234, 0x40000000
_X86_64 = 0xC000003E
# Offsets in struct seccomp_data; the arguments' lower halves.
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16
# BPF: load a word, compare, return.
_LOAD, _EQUAL, _AT_LEAST, _BITS_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000


def enter() -> list[str]:
    """Gives up what a decoder does not need; to be called before threads are started.

    Everything must have been imported: nothing can be opened afterwards.

    Returns:
      What is active, for people; empty where the kernel offers nothing.
    """
    active: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)
    if platform.system() != "Linux" or libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return active
    version = _landlock(libc)
    if version:
        active.append(f"Landlock (interface {version}): no files, no TCP")
    if platform.machine() == "x86_64" and _seccomp(libc):
        active.append("seccomp: no opening of files, no sockets, no processes")
    return active


def proof() -> dict[str, bool]:
    """Tries what should be impossible; says for each attempt whether it was refused."""
    import socket

    attempts: dict[str, Callable[[], object]] = {
        "opening a file": lambda: os.close(os.open("/", os.O_RDONLY)),
        "opening a socket": lambda: socket.socket().connect(("127.0.0.1", 9)),
        "starting a process": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    }
    refused = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            refused[name] = False
        except OSError as error:
            refused[name] = error.errno in (errno.EPERM, errno.EACCES)
    return refused


def _landlock(libc: ctypes.CDLL) -> int:
    """Forbids everything that Landlock can forbid; returns the interface's version, or 0."""
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    if version < 1:
        return 0
    rights = [(1 << _FILE_RIGHTS.get(version, _LATER_FILE_RIGHTS)) - 1]
    if version >= _NETWORK_RIGHTS_SINCE:
        rights.append(0b11)  # Binding and connecting TCP.
    if version >= _SCOPES_SINCE:
        rights.append(0b11)  # Abstract sockets and signals.
    attributes = struct.pack(f"={len(rights)}Q", *rights)
    ruleset = libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return 0
    try:
        return 0 if libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) else version
    finally:
        os.close(ruleset)


def _seccomp(libc: ctypes.CDLL) -> bool:
    program = b"".join(struct.pack("=HBBI", *step) for step in _program())
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    return bool(libc.syscall(_SECCOMP, _SET_MODE_FILTER, _ALL_THREADS, header) == 0)


def _program() -> list[tuple[int, int, int, int]]:
    """The filter's steps: (code, steps to skip if true, if false, operand)."""
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        refuse,
        # Without it the C library falls back to clone, whose flags can be looked at.
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_EQUAL, 0, 4, _CLONE),
        (_LOAD, 0, 0, _ARGUMENT),
        (_BITS_SET, 1, 0, _CLONE_THREAD),
        refuse,
        (_RETURN, 0, 0, _ALLOW),
    ]
    for number in (_KILL, _TGKILL):  # A process may only end itself, as abort() does.
        steps += [
            (_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _ARGUMENT),
            (_EQUAL, 1, 0, os.getpid()),
            refuse,
            (_RETURN, 0, 0, _ALLOW),
        ]
    for number in _REFUSED:
        steps += [(_EQUAL, 0, 1, number), refuse]
    return [*steps, (_RETURN, 0, 0, _ALLOW)]
