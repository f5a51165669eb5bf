"""Ports of the loopback device."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def refusing_port(shared: bool = False) -> Iterator[int]:
    """A port that refuses connections: it is held meanwhile, and nobody listens at it.

    Args:
      shared: a server of this user may listen at it, if it sets SO_REUSEPORT.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
