"""Time of `deepfake predict` on one short clip, against the least that TensorFlow needs for it.

    python -m benchmarks.cold_start [--quick] [--model DIR]

The floor is a process that imports TensorFlow, loads the model in a session and runs its signature
once on the clip's crops, which it is given. Against it stands the whole command: its own imports,
the card, decoding in a child process, the detector, and the same model. Both are started in turn,
as processes of their own, and counted from start to end; the first pair is not counted, since it
finds the files in no cache. CPU time, children included, is what other work on the machine changes
least.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks._harness import Figure, finish, parser
from preprocessing.support.quiet import quiet
from serving.model import card, starter

FRAMES = 4
_FLOOR = """
import pathlib, sys
import tensorflow as tf
model, *files = sys.argv[1:]
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], model)
    signature = meta.signature_def["serving_default"]
    crops = [pathlib.Path(file).read_bytes() for file in files]
    feeds = {signature.inputs["image"].name: crops}
    print(session.run(signature.outputs["score"].name, feeds))
"""


class Seconds(NamedTuple):
    """What a process took.

    Attributes:
      wall: by the clock.
      cpu: of all its threads and children.
    """

    wall: float
    cpu: float


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--model", default=str(starter.FOLDER), help="the starter by default")
    options = arguments.parse_args()
    model = card.find_saved_model(options.model)
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder))
        crops = cut_crops(model, clip, Path(folder))
        predict = [str(Path(sys.executable).with_name("deepfake")), "predict", str(clip)]
        commands = {
            "floor": [sys.executable, "-c", _FLOOR, str(model), *map(str, crops)],
            "predict": [*predict, "--model", str(model)],
        }
        figures = measure(commands, turns=3 if options.quick else 9)
    finish("cold_start", figures)


def make_clip(folder: Path) -> Path:
    """A clip of 4 frames with one face, of the demo's data."""
    import cv2

    from preprocessing.datasets.demo import FPS, make_demo_data
    from preprocessing.datasets.demo_config import DemoConfig
    from preprocessing.media.decoder import Decoder

    make_demo_data(
        folder / "data", DemoConfig(train_identities=1, val_identities=1, test_identities=1)
    )
    source = min((folder / "data" / "Celeb-real").glob("*.mp4"))
    with Decoder() as decoder:
        frames = [frame.pixels for frame in decoder.frames(source, FRAMES)]
    path = folder / "clip.mp4"
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height))
    for pixels in frames:
        writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def cut_crops(model: Path, clip: Path, folder: Path) -> list[Path]:
    """Files with the crops that `predict` scores."""
    from preprocessing.faces.face_cropper import FaceCropper

    with quiet():
        cropper = FaceCropper(card.read(model).answer_settings())
    try:
        crops, _ = cropper.crops(clip)
    finally:
        cropper.close()
    if len(crops) != FRAMES:
        raise RuntimeError(f"{len(crops)} faces in {FRAMES} frames")
    files = [folder / f"{number}.jpg" for number in range(len(crops))]
    for file, crop in zip(files, crops, strict=True):
        file.write_bytes(crop.jpeg)
    return files


def measure(commands: dict[str, list[str]], turns: int) -> dict[str, Figure]:
    """All figures.

    Args:
      commands: of the two sides.
      turns: of each that count.
    """
    rows: list[dict[str, Seconds]] = []
    print(f"{os.cpu_count()} cores\n{'floor s':>9}{'CPU s':>8}{'predict s':>11}{'CPU s':>8}")
    for turn in range(turns + 1):
        row = {side: run(command) for side, command in commands.items()}
        floor, predict = row["floor"], row["predict"]
        print(
            f"{floor.wall:>9.1f}{floor.cpu:>8.1f}{predict.wall:>11.1f}{predict.cpu:>8.1f}"
            f"{'' if turn else '  not counted'}",
            flush=True,
        )
        rows.append(row)
    counted = rows[1:]
    ratios = [row["predict"].wall / row["floor"].wall for row in counted]
    by_cpu = [row["predict"].cpu / row["floor"].cpu for row in counted]
    return {
        # Of runs that are neighbours: what else the machine does is much the same for both.
        "predict_over_floor": Figure(statistics.median(ratios), "<= 1.25"),
        "predict_over_floor_by_cpu_time": Figure(statistics.median(by_cpu)),
        "floor_seconds": Figure(statistics.median(row["floor"].wall for row in counted)),
        "predict_seconds": Figure(statistics.median(row["predict"].wall for row in counted)),
    }


def run(command: list[str]) -> Seconds:
    """Runs a command to its end, which must be a good one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main()
