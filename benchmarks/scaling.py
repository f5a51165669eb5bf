"""Seconds and memory of every node of a run, by the number of face crops.

    python -m benchmarks.scaling [--quick] [--before CHECKOUT] [--picture FILE.png]

Runs the pipeline with the network `tiny` on 1, 2, 4, 8 and 16 thousand face crops of
`celeb_df_v2_faces` (in DEEPFAKE_TEST_MEDIA), each run a process of its own with an empty output.
Where a run has more crops than the set, crops come again, mirrored and encoded anew, as clips of
other names. Seconds of a node are those between its registration and its outcome in the metadata
store; peaks of memory are of the process that runs all nodes, from the start of a node to its end,
so a node that others ran before holds what they left behind. The exponent of growth is the slope of
the logarithm of seconds over the logarithm of crops. `--before` names a checkout of the version
that StatisticsGen and Transform are compared with, which runs on one and two thousand crops.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks._harness import Figure, finish, parser, peak_megabytes
from benchmarks._real_crops import folder_of
from preprocessing.faces.given_crops import encode_jpeg

_SET = "celeb_df"
_SIZES = (1000, 2000, 4000, 8000, 16000)
_QUICK_SIZES = (1000, 2000)
# Nodes of ours, whose memory has a goal; the others are TFX's.
_OURS = ("FaceExtractor", "Trainer", "ClipEvaluator", "ServingCheck", "Report")
# Of both versions.
_OVERRIDES = (
    "data.precropped=true",
    "model.backbone=tiny",
    "model.weights=none",
    "training.epochs=1",
    "training.batch_norm=momentum",
    "training.head_epochs=0",
    "evaluation.gate.min_accuracy=0.0",
    "evaluation.gate.min_auc=0.0",
    "evaluation.clip_gate.min_accuracy=0.0",
    "evaluation.clip_gate.min_auc=0.0",
)
_STARTS, _ENDS = re.compile(r"^(\w+) \.\.\.$"), re.compile(r"^(\w+) done in ")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run took.

    Attributes:
      data: folder of its data.
      crops: in it.
      seconds: by node.
      megabytes: peak by node; empty for a version that does not tell where a node begins.
    """

    data: Path
    crops: int
    seconds: dict[str, float]
    megabytes: dict[str, float]


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--before", type=Path, help="checkout of the version to compare with")
    arguments.add_argument("--picture", type=Path, help="PNG of the curves")
    options = arguments.parse_args()
    # Fails before anything is run where the set is not there.
    folder_of(_SET)
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for size in _QUICK_SIZES if options.quick else _SIZES:
            crops = _write_crops(work / f"data{size}", size)
            costs.append(_run(work / f"data{size}", work / f"out{size}", crops))
            _print(costs[-1])
        before = []
        for cost in costs[:2] if options.before else ():
            output = work / f"before{cost.crops}"
            print(f"\n{options.before}:", end="")
            before.append(_run(cost.data, output, cost.crops, options.before))
            _print(before[-1])
    if options.picture:
        from benchmarks._scaling_picture import draw

        draw(costs, options.picture)
        print(f"\ncurves: {options.picture}")
    finish("scaling", _figures(costs, before))


def _figures(costs: list[Cost], before: list[Cost]) -> dict[str, Figure]:
    crops = np.log([cost.crops for cost in costs])
    nodes = [node for node in costs[0].seconds if all(node in cost.seconds for cost in costs)]

    def exponent(seconds: list[float]) -> float:
        return float(np.polyfit(crops, np.log(seconds), 1)[0])

    exponents = {
        node: exponent([max(cost.seconds[node], 1e-3) for cost in costs]) for node in nodes
    }
    together = exponent([sum(cost.seconds.values()) for cost in costs])
    growth = {
        node: costs[-1].megabytes[node] / costs[0].megabytes[node] for node in costs[0].megabytes
    }
    ours = {node: value for node, value in growth.items() if node in _OURS}
    tfx = {node: value for node, value in growth.items() if node not in _OURS}
    figures = {
        "growth_exponent": Figure(together, "<= 1.05"),
        "growth_exponent_of_the_steepest_node": Figure(max(exponents.values()), "<= 1.05"),
        **{f"growth_exponent_{node}": Figure(value) for node, value in exponents.items()},
        "crops_of_the_largest_run_over_the_smallest": Figure(costs[-1].crops / costs[0].crops),
        "peak_memory_growth_16x": Figure(max(ours.values()), "<= 1.5"),
        "peak_memory_growth_of_tfx_nodes": Figure(max(tfx.values())),
        **{f"peak_megabytes_{node}": Figure(costs[-1].megabytes[node]) for node in growth},
    }
    for name, node in (("transform", "Transform"), ("statistics", "StatisticsGen")):
        seconds = _per_thousand(costs, node)
        figures[f"{name}_seconds_per_1000_crops"] = Figure(seconds)
        if not before:
            continue
        ratio = costs[0].seconds[node] / before[0].seconds[node]
        figures[f"{name}_seconds_of_the_smallest_run_over_before"] = Figure(ratio)
        seconds_before = _per_thousand(before, node)
        # Of two runs whose seconds are the node's start, the slope is noise.
        if seconds_before > 0:
            ratio = seconds / seconds_before
            figures[f"{name}_seconds_per_1000_crops_over_before"] = Figure(ratio, "<= 0.1")
    return figures


def _per_thousand(costs: list[Cost], node: str) -> float:
    """Seconds of a thousand more crops; a node's start is no part of them."""
    thousands = [cost.crops / 1000 for cost in costs]
    return float(np.polyfit(thousands, [cost.seconds[node] for cost in costs], 1)[0])


def _print(cost: Cost) -> None:
    print(f"\n{cost.crops} crops{'':12}{'seconds':>10}{'peak MB':>10}")
    for node, seconds in cost.seconds.items():
        print(f"{node:24}{seconds:>10.1f}{cost.megabytes.get(node, 0):>10.0f}")
    print(f"{'together':24}{sum(cost.seconds.values()):>10.1f}", flush=True)


# --- data


def _write_crops(folder: Path, least: int) -> int:
    """Writes at least so many crops as `train/real/CLIP_frame_N_face_M.jpg`; returns how many."""
    written = 0
    for turn, clip in _clips():
        if written >= least:
            break
        for row in clip:
            path = folder / row["split"] / row["label"] / f"r{turn}-{Path(row['path']).name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_content(folder_of(_SET) / row["path"], turn))
            written += 1
    return written


def _clips() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """The clips of the set in an order drawn by lot, again and again, with the number of the turn.

    Any beginning of it has about the whole's shares of splits and labels.
    """
    with (folder_of(_SET) / "clips.csv").open(newline="", encoding="utf-8") as file:
        rows_of: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in csv.DictReader(file):
            rows_of[row["clip"]].append(row)
    clips = [rows_of[name] for name in sorted(rows_of)]
    rng = np.random.default_rng(0)
    turn = 0
    while True:
        for number in rng.permutation(len(clips)):
            yield turn, clips[number]
        turn += 1


def _content(path: Path, turn: int) -> bytes:
    """A crop's bytes, which no other turn gives again."""
    stored = path.read_bytes()
    if not turn:
        return stored
    pixels = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    turned = pixels[:, ::-1] if turn % 2 else pixels
    return encode_jpeg(np.ascontiguousarray(turned), 95 - turn)


# --- runs


def _run(data: Path, output: Path, crops: int, checkout: Path | None = None) -> Cost:
    """Runs the pipeline; of another version where a checkout is given."""
    command = [sys.executable, "-c", "import sys; from pipeline.cli import main; sys.exit(main())"]
    command += ["run", "--preset", "folder", "--data", str(data), "--output", str(output)]
    for override in _OVERRIDES:
        command += ["--set", override]
    log = output.with_suffix(".log")
    process = subprocess.Popen(
        command,
        cwd=checkout or Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
        env={**os.environ, "PYTHONPATH": str(checkout or Path(__file__).parents[1])},
    )
    assert process.stdout is not None  # noqa: S101, as it was asked for.
    megabytes, lines = {}, []
    node = ""
    for line in process.stdout:
        lines.append(line)
        if begun := _STARTS.match(line):
            node = begun[1]
            _forget_peak(process.pid)
        elif (ended := _ENDS.match(line)) and ended[1] == node:
            megabytes[node] = peak_megabytes(process.pid)
    if process.wait():
        raise SystemExit("".join(lines[-20:]) + log.read_text()[-3000:])
    return Cost(data, crops, _seconds(output), megabytes)


def _forget_peak(process: int) -> None:
    # Linux' proc(5): 5 sets the peak of the resident set to what is resident now.
    Path(f"/proc/{process}/clear_refs").write_text("5")


def _seconds(output: Path) -> dict[str, float]:
    """Of each node, from the metadata store, where all versions have it."""
    (store,) = output.rglob("metadata.sqlite")
    with sqlite3.connect(store) as database:
        rows = database.execute(
            "SELECT Type.name, last_update_time_since_epoch - create_time_since_epoch "
            "FROM Execution JOIN Type ON Type.id = Execution.type_id ORDER BY Execution.id"
        ).fetchall()
    return {
        name.rpartition(".")[2]: milliseconds / 1000
        for name, milliseconds in rows
        if not name.endswith("Resolver")
    }


if __name__ == "__main__":
    main()
