"""Parts of a dataset, for jobs that share its work: which clips are whose.

Every job sees the same folder and finds the same division, without asking the others.
"""

from __future__ import annotations

import dataclasses
import heapq
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from preprocessing.datasets.clip import Clip
from preprocessing.manifest.hashes import files_of
from preprocessing.support.errors import UsageError

# How many parts there are, where a scheduler does not say it.
COUNT = "DEEPFAKE_PARTS"
_SLURM_INDEX, _SLURM_FIRST = "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN"
_SLURM_COUNT, _SLURM_STEP = "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_STEP"
_KUBERNETES_INDEX = "JOB_COMPLETION_INDEX"


@dataclasses.dataclass(frozen=True)
class Part:
    """One of several parts of a dataset.

    Attributes:
      number: from 1 to `count`.
      count: how many parts there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str]) -> Part:
        """Reads `--part`.

        Args:
          text: `3/8`, or `auto`: what the task of a Slurm job array or of an indexed Kubernetes
            job is told by its environment. The number of parts is `DEEPFAKE_PARTS`, whose tasks
            count from 0; without it, that of Slurm's array.
          environment: as `os.environ`.

        Raises:
          UsageError: it is neither, or the environment tells no part.
        """
        if text == "auto":
            return cls._of_environment(environment)
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match:
            raise UsageError(f"--part {text}: give a part as 3/8, or auto in a job array")
        return cls._checked(int(match[1]), int(match[2]), f"--part {text}")

    @classmethod
    def _of_environment(cls, environment: Mapping[str, str]) -> Part:
        for name in (_SLURM_INDEX, _KUBERNETES_INDEX):
            if environment.get(name):
                break
        else:
            raise UsageError(
                f"--part auto: neither {_SLURM_INDEX} (a Slurm job array) nor {_KUBERNETES_INDEX} "
                "(an indexed Kubernetes job) is set; give the part as 3/8"
            )
        index = _whole(environment, name)
        if environment.get(COUNT):
            count = _whole(environment, COUNT)
            told = f"{name}={index} with {COUNT}={count}"
            return cls._checked(index + 1, count, f"--part auto: {told}, which counts from 0")
        if name == _KUBERNETES_INDEX:
            raise UsageError(
                f"--part auto: Kubernetes does not tell a task how many there are; set {COUNT} to "
                "the job's completions"
            )
        first, step = _whole(environment, _SLURM_FIRST, 0), _whole(environment, _SLURM_STEP, 1)
        count = _whole(environment, _SLURM_COUNT, 0)
        where = f"--part auto: {name}={index} of {count} tasks from {first} in steps of {step}"
        return cls._checked((index - first) // max(1, step) + 1, count, where)

    @classmethod
    def _checked(cls, number: int, count: int, where: str) -> Part:
        if not 1 <= number <= count:
            raise UsageError(f"{where}: part {number} of {count} does not exist")
        return cls(number, count)

    @property
    def name(self) -> str:
        """For files and folders, as in `3-of-8`."""
        return f"{self.number}-of-{self.count}"

    def of(self, root: Path, clips: Sequence[Clip]) -> list[Clip]:
        """The clips of this part, in the order given.

        Fakes stay with their originals, whose boxes they may be cut by. The bytes of the parts are
        as equal as handing out the largest pair first makes them (Graham, "Bounds on
        multiprocessing timing anomalies", 1969): the time to decode a clip grows with them.

        Args:
          root: the dataset's folder.
          clips: all of its clips.
        """
        pairs: dict[str, list[Clip]] = defaultdict(list)
        for clip in clips:
            pairs[clip.source or clip.path].append(clip)
        sizes = {
            pair: sum(_bytes(root, clip) for clip in members) for pair, members in pairs.items()
        }
        mine = {
            pair for pair, number in division(sizes, self.count).items() if number == self.number
        }
        return [clip for clip in clips if (clip.source or clip.path) in mine]


def division(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Divides named work into parts of nearly equal size.

    Args:
      sizes: of each piece of work; a piece of no size counts as 1.
      count: of parts.

    Returns:
      For each piece the number of its part, from 1. It depends on nothing but the arguments.
    """
    loads = [(0, number) for number in range(1, count + 1)]
    parts = {}
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        load, number = loads[0]
        heapq.heapreplace(loads, (load + max(1, size), number))
        parts[name] = number
    return parts


def _bytes(root: Path, clip: Clip) -> int:
    try:
        return sum((root / path).stat().st_size for path in files_of(root, clip))
    except OSError:  # Hashing names it.
        return 0


def _whole(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "")
    if not text and default is not None:
        return default
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"--part auto: {name}={text!r} is no whole number") from error
