"""Records of face crops a second, against a loop that merely decodes the same files.

    python -m benchmarks.crops [--quick]

The crops of `celeb_df_v2_faces` (in DEEPFAKE_TEST_MEDIA) become records by the product's own
extraction: listing, hashing, splitting, the face store, shards, report and contact sheet included,
imports left out. They are taken as they come (`crop_by=box`), which needs no picture but its
header, and with the place of each face measured (`crop_by=landmarks`, the preset `face_crops`). The
loop is `cv2.imread`. Each is a process of its own on one core, in turn, and counts the CPU time of
all its threads and children, which other work on the machine changes least.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks._harness import Figure, finish, media, parser, spread
from preprocessing.support.errors import UsageError
from preprocessing.support.quiet import quiet

_SET = "celeb_df_v2_faces"
_WAYS = ("imread", "box", "landmarks")


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--way", choices=_WAYS, help="of a process that this one starts")
    arguments.add_argument("--list", type=Path, help="likewise: the list of its crops")
    options = arguments.parse_args()
    folder = media(_SET)
    if folder is None:
        raise UsageError(f"there is no {_SET} in the folder that DEEPFAKE_TEST_MEDIA names")
    if options.way:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(json.dumps(_seconds(options.way, folder, options.list)))
        return
    with tempfile.TemporaryDirectory() as work:
        chosen = Path(work) / "clips.csv"
        crops = _write_list(folder, chosen, clips=200 if options.quick else 10_000)
        rates = _measure(chosen, crops, turns=1 if options.quick else 3)
    finish(
        "crops",
        {
            "crops": Figure(crops),
            "crops_per_cpu_second": Figure(rates["box"]),
            "crops_over_plain_decode_rate": Figure(rates["box"] / rates["imread"], ">= 0.5"),
            "measured_crops_over_plain_decode_rate": Figure(rates["landmarks"] / rates["imread"]),
        },
    )


def _write_list(folder: Path, path: Path, clips: int) -> int:
    """Writes the list of some clips, evenly spread; returns the number of their crops."""
    with (folder / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = set(spread(sorted({row["clip"] for row in rows}), clips))
    rows = [row for row in rows if row["clip"] in names]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def _measure(chosen: Path, crops: int, turns: int) -> dict[str, float]:
    """Crops a second of CPU time by way, the median of the turns."""
    rates: dict[str, list[float]] = {way: [] for way in _WAYS}
    print(f"{'way':12}{'CPU s':>9}{'clock s':>9}{'crops a CPU second':>20}")
    for turn in range(turns):
        for way in _WAYS if turn % 2 else reversed(_WAYS):
            command = [
                sys.executable,
                "-m",
                "benchmarks.crops",
                "--way",
                way,
                "--list",
                str(chosen),
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{way}: {done.stderr[-3000:]}")
            cpu, wall = json.loads(done.stdout.splitlines()[-1])
            rates[way].append(crops / cpu)
            print(f"{way:12}{cpu:9.1f}{wall:9.1f}{rates[way][-1]:20.0f}", flush=True)
    return {way: statistics.median(values) for way, values in rates.items()}


def _seconds(way: str, folder: Path, chosen: Path) -> tuple[float, float]:
    """CPU time and time by the clock of one way, after its imports."""
    if way == "imread":
        import cv2

        with chosen.open(newline="") as file:
            files = [str(folder / row["path"]) for row in csv.DictReader(file)]
        # From the disk for nobody.
        sizes = [len(Path(file).read_bytes()) for file in files]
        before = _now()
        decoded = sum(cv2.imread(file) is not None for file in files)
        after = _now()
        if decoded != len(sizes):
            raise RuntimeError(f"{len(sizes) - decoded} crops cannot be decoded")
    else:
        with tempfile.TemporaryDirectory() as output, quiet():
            before, after = _extract(way, folder, chosen, output)
    return after[0] - before[0], after[1] - before[1]


def _extract(
    way: str, folder: Path, chosen: Path, output: str
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The times before and after an extraction of all listed crops."""
    # Imported before the clock runs, as it imports them where they are needed.
    import tensorflow  # noqa: F401

    import preprocessing.extraction.dataset_extraction  # noqa: F401
    from pipeline.config import load_config
    from pipeline.extraction import extract_all
    from preprocessing.extraction import extraction_report

    overrides = [f"data.dir={json.dumps(str(folder))}", f"data.list={json.dumps(str(chosen))}"]
    overrides += [f"output={json.dumps(output)}", f"extraction.crop_by={way}"]
    config = load_config("face_crops", overrides)
    before = _now()
    extract_all(config)
    after = _now()
    crops = extraction_report.read(f"{output}/faces").summary["crops"]
    if not crops:
        raise RuntimeError("no crop became a record")
    return before, after


def _now() -> tuple[float, float]:
    """CPU time of this process and its children that have ended, and the clock."""
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return cpu, time.perf_counter()


if __name__ == "__main__":
    main()
