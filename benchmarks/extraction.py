"""Face extraction against the loop that people write, two workers against one, and memory.

    python -m benchmarks.extraction [--quick] [--facenet PYTHON]

The plain loop reads the frames with OpenCV and gives each sampled one to mtcnn's `detect_faces`.
That loop without a detector and this project's decoder alone, which gives the same frames, show
what of it is decoding. All sides take the same clips in turn, in one process. What may be started
once (imports, networks, graph tracing, Beam's workers) is done before and not counted.
facenet-pytorch takes part where an environment that holds it is named; see benchmarks/_facenet.py.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import apache_beam as beam
import cv2
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks._harness import Figure, clips, finish, parser, peak_megabytes, spread
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.faces.face_cropper import FaceCropper
from preprocessing.media.frame import middles
from preprocessing.support.beam_args import RUNNER

_LEAST_OVERLAP = 0.5


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--role", help="for the processes that the benchmark starts itself")
    arguments.add_argument("--paths", nargs="*", type=Path)
    arguments.add_argument("--workers", type=int)
    arguments.add_argument("--facenet", help="a Python that can import facenet_pytorch")
    options = arguments.parse_args()
    if options.role:
        print(json.dumps(_ROLES[options.role](options)), flush=True)
        return
    with clips() as (name, paths), tempfile.TemporaryDirectory() as folder:
        print(f"{len(paths)} clips of {name}, {os.cpu_count()} cores")
        figures = _against_plain_loop(
            spread(paths, 3 if options.quick else 12),
            16 if options.quick else 32,
            options.facenet,
        )
        figures |= _fakes_of_one_original(paths, 16 if options.quick else 32)
        figures |= _two_workers(spread(paths, 2), rounds=1 if options.quick else 2)
        figures |= _memory(paths[0], Path(folder), frames=60 if options.quick else 300)
    if not options.facenet:
        print("\nfacenet-pytorch is not compared: name an environment that holds it (--facenet)")
    finish("extraction", figures)


def _settings(frames: int = 32) -> CropSettings:
    return CropSettings(frames_per_clip=frames)


# --- the plain loop


def _read(path: Path, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Sampled frames of a clip, BGR uint8 [height, width, 3], each with its number."""
    capture = cv2.VideoCapture(str(path))
    numbers = set(middles(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), count))
    number = 0
    while numbers:
        ok, frame = capture.read()
        if not ok:
            return
        if number in numbers:
            numbers.remove(number)
            yield number, frame
        number += 1


def _plain_loop(detector: Any, path: Path, count: int) -> dict[int, list[list[float]]]:
    """The boxes [x1, y1, x2, y2] of each sampled frame, by number of the frame."""
    boxes_by_frame: dict[int, list[list[float]]] = {}
    for number, frame in _read(path, count):
        faces = detector.detect_faces(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        boxes = [face["box"] for face in faces]
        boxes_by_frame[number] = [[x, y, x + width, y + height] for x, y, width, height in boxes]
    return boxes_by_frame


def _against_plain_loop(paths: list[Path], frames: int, facenet: str | None) -> dict[str, Figure]:
    from mtcnn import MTCNN

    from preprocessing.faces.detector import FaceDetector, overlap
    from preprocessing.faces.search import FaceSearch
    from preprocessing.media.decoder import Decoder

    settings = _settings(frames)
    cropper, plain = FaceCropper(settings), MTCNN()
    search = FaceSearch(FaceDetector(settings.min_face_size, settings.min_face_score))
    cropper.crops(paths[0])
    _plain_loop(plain, paths[0], 1)
    decoder = Decoder()
    collections.deque(decoder.frames(paths[0], 1), maxlen=0)
    totals = {"plain": 0.0, "opencv": 0.0, "decoding": 0.0, "ours": 0.0}
    sampled = faces = faces_found = frames_with_face = frames_matched = 0
    differences = []
    head = f"{'frames':>7}{'plain s':>9}{'opencv s':>9}{'decode s':>9}{'ours s':>8}"
    head += f"{'faces':>7}{'found':>7}"
    print(f"\n{'clip':34}{head}")
    for turn, path in enumerate(paths):
        seconds = {}
        for side in totals if turn % 2 else reversed(totals):
            start = time.perf_counter()
            if side == "plain":
                expected = _plain_loop(plain, path, frames)
            elif side == "opencv":
                collections.deque(_read(path, frames), maxlen=0)
            elif side == "decoding":
                collections.deque(decoder.frames(path, frames), maxlen=0)
            else:
                cropper.crops(path)
            seconds[side] = time.perf_counter() - start
            totals[side] += seconds[side]
        sampled += len(expected)
        clip_faces = clip_faces_found = 0
        for frame, _, detected in search.faces(decoder.frames(path, frames)):
            height, width = frame.pixels.shape[:2]
            # The plain loop's boxes end at the border.
            limits = np.tile([width, height], 2)
            boxes = np.array([face.box for face in detected]).reshape(-1, 4).clip(0, limits)
            for box in np.array(expected[frame.index], float).reshape(-1, 4):
                overlaps = overlap(box, boxes)
                clip_faces += 1
                if len(overlaps) and overlaps.max() >= _LEAST_OVERLAP:
                    clip_faces_found += 1
                    differences.append(np.abs(boxes[overlaps.argmax()] - box).mean())
            frames_with_face += bool(expected[frame.index])
            frames_matched += bool(expected[frame.index]) and bool(detected)
        faces, faces_found = faces + clip_faces, faces_found + clip_faces_found
        print(
            f"{'/'.join(path.parts[-4:-3] + path.parts[-1:])[-33:]:34}{len(expected):>7}"
            f"{seconds['plain']:>9.2f}{seconds['opencv']:>9.2f}{seconds['decoding']:>9.2f}"
            f"{seconds['ours']:>8.2f}"
            f"{clip_faces:>7}{clip_faces_found:>7}",
            flush=True,
        )
    decoder.close()
    others = {}
    if facenet:
        seconds = sum(answer["seconds"] for answer in _facenet(facenet, paths, frames))
        others["facenet_pytorch_frames_per_second"] = Figure(sampled / seconds)
        others["speedup_over_facenet_pytorch"] = Figure(seconds / totals["ours"])
    return {
        "plain_loop_frames_per_second": Figure(sampled / totals["plain"]),
        "frames_per_second": Figure(sampled / totals["ours"]),
        "decoded_frames_per_second": Figure(sampled / totals["decoding"]),
        "extraction_over_decode_rate": Figure(totals["decoding"] / totals["ours"], ">= 0.70"),
        "extraction_over_opencv_reading": Figure(totals["opencv"] / totals["ours"]),
        "speedup_over_plain_loop": Figure(totals["plain"] / totals["ours"], ">= 5"),
        "plain_loop_faces": Figure(faces),
        "recall_of_plain_loop_faces": Figure(faces_found / max(1, faces), ">= 0.98"),
        "share_of_frames_with_their_face": Figure(
            frames_matched / max(1, frames_with_face), ">= 0.98"
        ),
        "mean_box_difference_in_pixels": Figure(float(np.mean(differences or [0.0]))),
        **others,
    }


def _fakes_of_one_original(paths: list[Path], frames: int) -> dict[str, Figure]:
    """Fakes whose original was searched before, in clips a second, over one whose was not.

    Of FaceForensics++, whose fakes are called by their original: 253_183.mp4 of 253.mp4.
    """
    fakes_of: dict[str, list[Path]] = {}
    for path in paths:
        name, underscore, _ = path.stem.partition("_")
        if underscore:
            fakes_of.setdefault(name, []).append(path)
    known = [(path, fakes_of.get(path.stem, [])) for path in paths]
    original, fakes = max(known, key=lambda pair: len(pair[1]))
    if len(fakes) < 2:
        return {}
    cropper = FaceCropper(_settings(frames))
    cropper.crops(original)  # The first clip takes longer.
    seconds = []
    for fake in fakes:
        start = time.perf_counter()
        cropper.crops(fake, original, key=original)
        seconds.append(time.perf_counter() - start)
    print(f"\nfakes of {original.name}: " + ", ".join(f"{second:.2f} s" for second in seconds))
    return {
        "fakes_of_a_known_original_over_unknown": Figure(float(seconds[0] / np.mean(seconds[1:])))
    }


def _facenet(python: str, paths: list[Path], frames: int) -> list[dict[str, Any]]:
    """What facenet-pytorch takes for, and finds in, the same frames."""
    clips = []
    for path in paths:
        length = int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))
        clips.append([str(path), middles(length, frames)])
    done = subprocess.run(
        [python, str(Path(__file__).parent / "_facenet.py")],
        input=json.dumps({"clips": clips}),
        capture_output=True,
        text=True,
        # The project's own packages must not be found by the other environment.
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    if done.returncode:
        raise SystemExit(f"{python} does not run facenet-pytorch:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- two workers


@dataclasses.dataclass(frozen=True)
class _Work:
    worker: int
    begin: float
    end: float
    cpu: float


class _Crop(beam.DoFn):
    """Extracts a clip and tells who did it, when, and with how much CPU time."""

    def __init__(self, settings: CropSettings):
        self._settings = settings
        self._cropper: FaceCropper | None = None

    def process(self, path: str) -> Iterator[_Work]:
        if self._cropper is None:
            from preprocessing.extraction.face_extraction import _limit_threads

            _limit_threads(1)
            self._cropper = FaceCropper(self._settings, threads=1)
            self._cropper.crops(path)
        begin, cpu = time.time(), _cpu_seconds()
        self._cropper.crops(path)
        yield _Work(os.getpid(), begin, time.time(), _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """CPU time that this process and the decoders it runs have taken."""
    seconds = time.process_time()
    for child in _children():
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def _children() -> list[str]:
    """Processes that any thread of this one has started."""
    lists = Path("/proc/self/task").glob("*/children")
    return [child for children in lists for child in children.read_text().split()]


def _work(options: Any) -> list[dict[str, float]]:
    """Lets Beam's worker processes extract clips; one worker is pinned to one core."""
    if options.workers == 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    runner = PipelineOptions(
        [
            RUNNER,
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={options.workers}",
        ]
    )
    paths = [str(path) for path in options.paths] * (4 * options.workers)
    with tempfile.TemporaryDirectory() as folder:
        with beam.Pipeline(options=runner) as pipeline:
            _ = (
                pipeline
                | beam.Create(paths)
                | beam.Reshuffle()
                | beam.ParDo(_Crop(_settings()))
                | beam.combiners.ToList()
                | beam.Map(_write, f"{folder}/work.json")
            )
        return json.loads(Path(folder, "work.json").read_text())


def _write(work: list[_Work], path: str) -> None:
    Path(path).write_text(json.dumps([dataclasses.asdict(item) for item in work]))


def _rate(work: list[dict[str, float]]) -> float:
    """Clips a second while all workers were at work."""
    workers = {item["worker"] for item in work}
    spans = [[item for item in work if item["worker"] == worker] for worker in workers]
    begin = max(min(item["begin"] for item in span) for span in spans)
    end = min(max(item["end"] for item in span) for span in spans)
    done = sum(
        max(0.0, min(end, item["end"]) - max(begin, item["begin"])) / (item["end"] - item["begin"])
        for item in work
    )
    return done / (end - begin)


def _two_workers(paths: list[Path], rounds: int) -> dict[str, Figure]:
    rates: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, list[float]] = {1: [], 2: []}
    print()
    for _ in range(rounds):
        for workers in rates:
            work = _start("work", "--workers", str(workers), "--paths", *map(str, paths))
            rates[workers].append(_rate(work))
            cpu[workers].append(float(np.mean([item["cpu"] for item in work])))
            print(
                f"{len({item['worker'] for item in work})} worker processes: "
                f"{rates[workers][-1]:.3f} clips/s, {cpu[workers][-1]:.2f} s of CPU time a clip",
                flush=True,
            )
    print("(imports, networks and each worker's first clip excluded)")
    return {
        "two_worker_speedup": Figure(float(np.mean(rates[2]) / np.mean(rates[1])), ">= 1.7"),
        # What it would be if nothing else ran on the machine.
        "two_worker_speedup_by_cpu_time": Figure(float(2 * np.mean(cpu[1]) / np.mean(cpu[2]))),
    }


# --- memory


def _memory(path: Path, folder: Path, frames: int) -> dict[str, Figure]:
    peaks = {}
    for name, repeats in {"short": 1, "long": 10}.items():
        _lengthen(path, folder / f"{name}.mp4", frames, repeats)
        peaks[name] = _start("peak", "--paths", str(folder / f"{name}.mp4"))
        print(f"{frames * repeats:>5} frames: {peaks[name]['crops']} crops, ", end="")
        print(f"peak {peaks[name]['process']:.0f} MB and {peaks[name]['decoder']:.0f} MB (decoder)")
    totals = {name: peak["process"] + peak["decoder"] for name, peak in peaks.items()}
    return {"memory_growth_10x_clip": Figure(totals["long"] / totals["short"], "<= 1.1")}


def _lengthen(source: Path, target: Path, frames: int, repeats: int) -> None:
    """Writes the first frames of a clip `repeats` times, as one clip."""
    capture = cv2.VideoCapture(str(source))
    pictures = [frame for _ in range(frames) if (frame := capture.read()[1]) is not None]
    size = pictures[0].shape[1::-1]
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter_fourcc(*"mp4v"), 25, size)
    for number in range(frames * repeats):
        writer.write(pictures[number % len(pictures)])
    writer.release()


def _peak(options: Any) -> dict[str, float]:
    """Megabytes that extracting a clip takes at most, here and in the decoder's process."""
    cropper = FaceCropper(_settings())
    crops, _ = cropper.crops(options.paths[0])
    (child,) = _children()
    return {
        "crops": len(crops),
        "process": peak_megabytes(os.getpid()),
        "decoder": peak_megabytes(int(child)),
    }


# --- processes


_ROLES = {"work": _work, "peak": _peak}


def _start(role: str, *arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.extraction", "--role", role, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    # By its full name: Beam's workers cannot import what is defined in __main__.
    from benchmarks import extraction

    extraction.main()
