"""Frames a second of sampling through PyAV, against OpenCV, which it replaced.

    python -m benchmarks.decoding [--quick]

Each clip of `faceforensics_mini` and `dfdc_mini` (in DEEPFAKE_TEST_MEDIA; without it the demo's)
is sampled as extraction does it, 32 frames, by both in turn, in this process and with all cores.
The third column goes through the decoding child process, as extraction does.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import _opencv_sampling
from benchmarks._harness import Figure, clips, finish, media, parser, spread
from preprocessing.media.decoder import Decoder
from preprocessing.media.frame import Frame
from preprocessing.media.video import sample_frames

_FRAMES = 32
_SETS = ("faceforensics_mini", "dfdc_mini")


def main() -> None:
    """Measures, and prints what was found."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    with clips() as (name, paths):
        sets = {name: paths}
        for other in _SETS:
            if folder := media(other):
                sets[other] = sorted(folder.rglob("*.mp4"))
        _measure(sets, rounds=1 if options.quick else 3, most=6 if options.quick else 1000)


def _measure(sets: dict[str, list[Path]], rounds: int, most: int) -> None:
    totals = dict.fromkeys(("opencv", "pyav", "child"), 0.0)
    frames = 0
    differences: list[float] = []
    print(f"{'dataset':20}{'clips':>6}{'opencv':>9}{'pyav':>9}{'in child':>9}  frames a second")
    with Decoder() as decoder:
        ways: dict[str, Callable[[Path, int], Iterator[Frame]]] = {
            "opencv": _opencv_sampling.sample_frames,
            "pyav": sample_frames,
            "child": decoder.frames,
        }
        # The child starts with its first clip.
        first = next(path for paths in sets.values() for path in paths)
        collections.deque(decoder.frames(first, 1), maxlen=0)
        for name, paths in sets.items():
            chosen = spread(paths, most)
            set_seconds = dict.fromkeys(ways, 0.0)
            number = 0
            for turn, path in enumerate(chosen * rounds):
                order = list(ways) if turn % 2 else list(reversed(ways))
                frames_by_way = {}
                for way in order:
                    start = time.perf_counter()
                    frames_by_way[way] = [frame for frame in ways[way](path, _FRAMES)]
                    set_seconds[way] += time.perf_counter() - start
                number += len(frames_by_way["pyav"])
                if turn < len(chosen):
                    differences += _differences(
                        path, frames_by_way["opencv"], frames_by_way["pyav"]
                    )
            rates = [number / set_seconds[way] for way in ways]
            print(f"{name:20}{len(chosen):>6}" + "".join(f"{rate:>9.1f}" for rate in rates))
            frames += number
            for way in ways:
                totals[way] += set_seconds[way]
    finish(
        "decoding",
        {
            "opencv_frames_per_second": Figure(frames / totals["opencv"]),
            "pyav_frames_per_second": Figure(frames / totals["pyav"]),
            "pyav_over_opencv_rate": Figure(totals["opencv"] / totals["pyav"], ">= 1.0"),
            "pyav_in_child_over_opencv_rate": Figure(totals["opencv"] / totals["child"]),
            "mean_difference_in_grey_levels": Figure(float(np.mean(differences)), "<= 1"),
        },
    )


def _differences(path: Path, before: list[Frame], after: list[Frame]) -> list[float]:
    """Mean difference of each frame, in grey levels; both must have taken the same ones."""
    numbers = [[frame.index for frame in frames] for frames in (before, after)]
    if numbers[0] != numbers[1]:
        raise SystemExit(f"{path}: OpenCV gave the frames {numbers[0]}, PyAV {numbers[1]}")
    return [
        float(np.abs(first.pixels.astype(np.int16) - second.pixels).mean())
        for first, second in zip(before, after, strict=True)
    ]


if __name__ == "__main__":
    main()
