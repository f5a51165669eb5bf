"""The memory without which a serving process does not get as far as answering.

With the starter, a server held 0.40 GB of its own (0.75 GB with files of libraries), a gateway 0.21
GB, and each of its workers 0.17 GB before the first film; larger models and films need more.
"""

from __future__ import annotations

from preprocessing.support.memory_limit import check_memory

_SERVER_MB, _GATEWAY_MB, _WORKER_MB = 512, 512, 256


def check_memory_for(server: bool = False, workers: int = 0) -> None:
    """Refuses to start in a container whose memory limit will not do.

    Args:
      server: whether the model server runs there.
      workers: number of the gateway's workers; 0 where no gateway runs there.

    Raises:
      UsageError: the limit is below what they need.
    """
    gateway = _GATEWAY_MB + workers * _WORKER_MB if workers else 0
    names = [name for name, runs in (("server", server), ("gateway", workers)) if runs]
    check_memory(server * _SERVER_MB + gateway, f"the {' with the '.join(names)}")
