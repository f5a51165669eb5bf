"""Beam arguments of work on this machine; without Beam, so that a configuration can hold them."""

from __future__ import annotations

# Named in full: short names mean other runners in other versions of Beam.
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
# TFX packs itself for remote workers at each start of a Beam node, 42 MB in the temporary folder
# that nothing deletes, unless the arguments say where the workers have it from. Those on this
# machine have it already; the runner does not read the value.
NOT_PACKED = "--sdk_container_image=none"


def local_args(workers: int = 1) -> list[str]:
    """The arguments for a number of worker processes; 1 works in this process.

    >>> local_args(2)[-2:]
    ['--direct_running_mode=multi_processing', '--direct_num_workers=2']
    """
    if workers == 1:
        return [RUNNER, NOT_PACKED]
    mode = ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    return [RUNNER, NOT_PACKED, *mode]
