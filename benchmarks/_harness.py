"""Common parts of the benchmarks: clips, the table, and the JSON object on the last line."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from preprocessing.media.container import VIDEO_ENDINGS


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
      value: what was measured.
      goal: what it should be, as in ">= 5" or "<= 1.1"; empty for a number without a goal.
    """

    value: float
    goal: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if not self.goal:
            return None
        relation, number = self.goal.split()
        return self.value >= float(number) if relation == ">=" else self.value <= float(number)


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with `--quick`."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--quick", action="store_true", help="a few minutes, less exact")
    return arguments


def media(name: str) -> Path | None:
    """A dataset in the folder that DEEPFAKE_TEST_MEDIA names; None where it is not there."""
    root = os.environ.get("DEEPFAKE_TEST_MEDIA", "")
    folder = Path(root) / name
    return folder if root and folder.is_dir() else None


@contextlib.contextmanager
def clips() -> Iterator[tuple[str, list[Path]]]:
    """Names and lists the videos to measure on.

    Those of `faceforensics_mini` in the folder that DEEPFAKE_TEST_MEDIA names; without it the
    demo's, made for the occasion.
    """
    if folder := media("faceforensics_mini"):
        yield folder.name, _videos(folder)
        return
    from preprocessing.datasets.demo import make_demo_data
    from preprocessing.datasets.demo_config import DemoConfig

    with tempfile.TemporaryDirectory() as folder_of_demo:
        make_demo_data(Path(folder_of_demo), DemoConfig())
        yield "demo", _videos(Path(folder_of_demo))


def spread(items: list, count: int) -> list:
    """`count` of the items, evenly spread."""
    count = min(count, len(items))
    return [items[(2 * part + 1) * len(items) // (2 * count)] for part in range(count)]


def peak_megabytes(process: int) -> float:
    """Most memory that a process ever held, in MB; 0 of one that is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


def pinned(core: int | None) -> list[str]:
    """What goes before a command to keep its process on a core; nothing without one."""
    return [] if core is None else ["taskset", "--cpu-list", str(core)]


def free_ports(count: int) -> list[int]:
    """Ports of the loopback device that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listening in sockets:
            listening.bind(("127.0.0.1", 0))
        return [listening.getsockname()[1] for listening in sockets]


def finish(name: str, figures: Mapping[str, Figure]) -> None:
    """Prints the table of figures and, as the last line, the JSON object."""
    width = max(len(figure) for figure in figures)
    verdicts = {True: "met", False: "MISSED", None: ""}
    print(f"\n{'figure':{width}}  {'value':>10}  {'goal':>8}")
    for key, figure in figures.items():
        line = f"{key:{width}}  {figure.value:>10.4g}  {figure.goal:>8}  {verdicts[figure.met]}"
        print(line.rstrip())
    values = {
        key: {"value": round(figure.value, 4), **({"goal": figure.goal} if figure.goal else {})}
        for key, figure in figures.items()
    }
    print(json.dumps({"benchmark": name, "figures": values}), flush=True)


def _videos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_ENDINGS)
