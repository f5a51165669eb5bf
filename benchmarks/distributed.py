"""Extraction by several workers: their rate, the memory of driver and workers, equal parts.

    python -m benchmarks.distributed [--quick] [--prism PROGRAM]

Without Prism (see docs/scaling.md) Beam's own job server measures the memory, and the rate of two
workers is left out; without Slurm that of two nodes is. Workers and nodes are pinned to a core
each, and so is the one that they are compared with. The part of a worker is timed from its first
finished clip on, without imports and networks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks import _slurm
from benchmarks._harness import (
    Figure,
    clips,
    finish,
    free_ports,
    parser,
    peak_megabytes,
    pinned,
    spread,
)
from pipeline.beam_runner import beam_args
from preprocessing.datasets.clip import Clip
from preprocessing.faces.crop_settings import CropSettings
from preprocessing.manifest.build import build_manifest
from preprocessing.manifest.parts import division

_POOL = "apache_beam.runners.worker.worker_pool_main"
_SERVICE = "apache_beam.runners.portability.local_job_service_main"
# https://www.kaggle.com/c/deepfake-detection-challenge/data: 119,154 clips of ten seconds, 471 GB.
_DFDC_CLIPS, _DFDC_BYTES = 119_154, 471e9


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--prism", default=shutil.which("prism"), help="the runner's program")
    arguments.add_argument("--role", help="for the processes that the benchmark starts itself")
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--output", type=Path)
    arguments.add_argument("--text", default="")
    options = arguments.parse_args()
    if options.role:
        print(json.dumps(_extract(options.data, options.output, options.text)), flush=True)
        return
    figures = _parts() | _of_a_clip(20_000 if options.quick else 200_000)
    with tempfile.TemporaryDirectory() as folder:
        figures |= _memory(Path(folder), options.prism, 60 if options.quick else 300)
        if options.prism:
            figures |= _two_workers(Path(folder), options.prism, 6 if options.quick else 24)
        else:
            print("\nno prism: the rate of two workers is not measured")
        if reason := _slurm.reason_not_to_run():
            print(f"\n{reason}: the rate of two nodes is not measured")
        else:
            figures |= _two_nodes(Path(folder), 6 if options.quick else 24)
    finish("distributed", figures)


def _extract(data: Path, output: Path, text: str) -> dict[str, float]:
    """Fills the face store; returns this process' peak of memory in MB, and counts."""
    from preprocessing.extraction.dataset_extraction import fill_face_store

    precropped = not list(data.rglob("*.mp4"))
    manifest = build_manifest(data, "folder", "identity", 0.2, 0.2, seed=1)
    settings = CropSettings(precropped=precropped, frames_per_clip=16)
    texts = [text] if text else []
    summary = fill_face_store(
        Path(manifest.root),
        manifest.clips,
        settings,
        output / "report",
        output / "face-store",
        beam_args=beam_args(texts, "FaceExtractor"),
    )
    return {
        "clips": summary["clips"],
        "crops": summary["crops"],
        "driver": peak_megabytes(os.getpid()),
    }


# --- parts


def _parts() -> dict[str, Figure]:
    """Largest part over the mean of 64, in bytes and in clips (which all last ten seconds)."""
    draw = np.random.default_rng(1)
    sizes = draw.lognormal(0.0, 0.6, _DFDC_CLIPS)
    sizes *= _DFDC_BYTES / sizes.sum()
    # A real clip stands with its fakes: five in six clips are fake.
    originals = draw.integers(0, _DFDC_CLIPS // 6, _DFDC_CLIPS)
    pairs = np.bincount(originals, weights=sizes)
    lengths = np.bincount(originals)
    number = division({str(pair): int(size) for pair, size in enumerate(pairs)}, 64)
    part = np.array([number[str(pair)] - 1 for pair in range(len(pairs))])
    imbalances = []
    for name, loads in (("bytes", pairs), ("seconds of film", 10 * lengths)):
        of_parts = np.bincount(part, weights=loads)
        imbalances.append(of_parts.max() / of_parts.mean())
        print(f"64 parts of {_DFDC_CLIPS} clips: largest over mean {imbalances[-1]:.4f} in {name}")
    return {"part_imbalance": Figure(float(max(imbalances)), "<= 1.2")}


# --- what a clip takes where it is only listed


def _of_a_clip(count: int) -> dict[str, Figure]:
    """Bytes of memory of a listed clip, and of the pipeline that a job server gets for it."""
    import apache_beam as beam

    before = _resident()
    listed = [_clip(number) for number in range(count)]
    memory = (_resident() - before) / count
    pipeline = beam.Pipeline()
    _ = pipeline | beam.Create(listed[:10_000])
    job = pipeline.to_runner_api().ByteSize() / 10_000
    print(f"a listed clip: {memory:.0f} bytes of memory, {job:.0f} bytes of a job")
    return {"bytes_of_memory_per_clip": Figure(memory), "bytes_of_job_per_clip": Figure(job)}


def _clip(number: int) -> Clip:
    """As those of FaceForensics++."""
    name, other = f"{number:07d}", f"{number + 1:07d}"
    return Clip(
        f"manipulated_sequences/Deepfakes/c23/videos/{name}_{other}.mp4",
        1,
        dataset="faceforensics",
        method="Deepfakes",
        identities=(name, other),
        source=f"original_sequences/youtube/c23/videos/{name}.mp4",
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        split="train",
    )


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- memory


def _memory(folder: Path, prism: str | None, few: int) -> dict[str, Figure]:
    """Peaks for ten times as many clips, each of which is a picture of a crop."""
    peaks: list[dict[str, float]] = []
    for count in (few, 10 * few):
        data = folder / f"pictures{count}"
        _write_pictures(data, count)
        with _server(folder, prism) as job_port, _pool() as (pool, port):
            with _Watched(pool) as watched:
                answer = _answer(_start(data, folder / f"out{count}", _text(job_port, port)))
            peaks.append({**answer, "worker": watched.megabytes})
        print(
            f"{count:>5} clips: driver {peaks[-1]['driver']:.0f} MB, worker "
            f"{peaks[-1]['worker']:.0f} MB, {peaks[-1]['crops']} crops",
            flush=True,
        )
    return {
        f"{name}_memory_growth_10x_clips": Figure(peaks[1][name] / peaks[0][name], "<= 1.2")
        for name in ("driver", "worker")
    }


def _write_pictures(folder: Path, count: int) -> None:
    import cv2

    draw = np.random.default_rng(2)
    for number in range(count):
        label = folder / ("fake" if number % 2 else "real")
        label.mkdir(parents=True, exist_ok=True)
        picture = draw.integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(label / f"p{number}.png"), picture)


class _Watched:
    """The largest peak of memory of a pool's workers in MB; a context manager."""

    def __init__(self, pool: int):
        self._pool = pool
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.megabytes = 0.0

    def __enter__(self) -> _Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            for worker in _children(self._pool):
                self.megabytes = max(self.megabytes, peak_megabytes(worker))


def _children(process: int) -> list[int]:
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


# --- two workers


def _two_workers(folder: Path, prism: str, count: int) -> dict[str, Figure]:
    """Clips a second of two pools with half of the clips each, against one process with all."""
    halves = [folder / f"half{part}" for part in range(2)]
    for number, path in enumerate(_write_clips(folder / "all", count)):
        label = halves[number % 2] / path.parent.name
        label.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, label)
    cores = sorted(os.sched_getaffinity(0))[:2]
    _answer(_start(folder / "all", folder / "one", "", cores[0]))
    with _server(folder, prism) as job_port, contextlib.ExitStack() as stack:
        drivers = []
        for data, core in zip(halves, cores, strict=True):
            _, port = stack.enter_context(_pool(core))
            drivers.append(_start(data, folder / f"of-{data.name}", _text(job_port, port)))
        for driver in drivers:
            _answer(driver)
    one = _rate(_finished(folder / "one"))
    two = sum(_rate(_finished(folder / f"of-{data.name}")) for data in halves)
    print(f"one process {one:.3f}, two workers {two:.3f} clips a second")
    return {
        "local_one_clips_per_second": Figure(one),
        "prism_two_workers_over_local_one": Figure(two / one),
    }


def _write_clips(data: Path, count: int) -> list[Path]:
    """Copies clips into the folder, as a dataset of two classes; returns their files."""
    files = []
    with clips() as (name, paths):
        chosen = spread(paths, count)
        print(f"\n{len(chosen)} clips of {name}")
        for number, path in enumerate(chosen):
            # Labels are of no consequence here; names of one clip would be one.
            files.append(data / ("fake" if number % 4 < 2 else "real") / f"c{number}.mp4")
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, files[-1])
    return files


def _finished(output: Path) -> list[float]:
    """When each clip was finished, by its file in the face store."""
    return sorted(path.stat().st_mtime for path in (output / "face-store").rglob("*.tfrecord"))


def _rate(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0])


# --- two nodes


def _two_nodes(folder: Path, count: int) -> dict[str, Figure]:
    """Clips a second of two tasks of the job array on two nodes, against one task on one of them.

    Each node has a core of its own. A task is timed from its first finished clip to its last, and
    writes into a folder of its own, so that its clips can be told.
    """
    data = folder / "array"
    _write_clips(data, count)
    cores = sorted(os.sched_getaffinity(0))[:2]
    rates = []
    with (
        tempfile.TemporaryDirectory() as state,
        _slurm.Slurm(Path(state), dict(zip(_slurm.NODES, cores, strict=True))) as slurm,
    ):
        for parts in (1, 2):
            jobs = {}
            for part in range(parts):
                output = folder / f"node{part}of{parts}"
                variables = {"DATA": str(data), "OUTPUT": str(output), "DEEPFAKE_PARTS": str(parts)}
                # As many CPUs as a node has: one task a node.
                job = slurm.submit(f"--array={part}", "--cpus-per-task=2", **variables)
                jobs[job] = output
            for job in jobs:
                said = slurm.wait(job, 3600)
                if "JobState=COMPLETED" not in said:
                    raise RuntimeError(f"a task of the array failed: {said}")
            rates.append(sum(_rate(_finished(output)) for output in jobs.values()))
    print(f"one node {rates[0]:.3f}, two nodes {rates[1]:.3f} clips a second")
    return {"two_slurm_nodes_over_one": Figure(rates[1] / rates[0], ">= 1.8")}


# --- processes


def _start(data: Path, output: Path, text: str, core: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.distributed", "--role", "extract"]
    command += ["--data", str(data), "--output", str(output), "--text", text]
    return subprocess.Popen(
        [*pinned(core), *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _answer(driver: subprocess.Popen[str]) -> dict[str, Any]:
    said = driver.communicate()[0]
    if driver.returncode:
        raise RuntimeError(f"the extraction ended with status {driver.returncode}")
    return json.loads(said.splitlines()[-1])


@contextlib.contextmanager
def _server(folder: Path, prism: str | None) -> Iterator[int]:
    """A job server; gives its port."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", _SERVICE, f"-p={port}", f"--staging_dir={folder / 'staging'}"]
    if prism:
        command = [prism, f"--job_port={port}", "--serve_http=false", "--log_level=error"]
    with _running(command, port):
        yield port


@contextlib.contextmanager
def _pool(core: int | None = None) -> Iterator[tuple[int, int]]:
    """A pool of workers; gives the number of its process and its port."""
    (port,) = free_ports(1)
    command = [*pinned(core), sys.executable, "-m", _POOL, f"--service_port={port}"]
    with _running(command, port) as process:
        yield process, port


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[int]:
    # Pools start `python`.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        command,
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            with socket.socket() as client:
                if client.connect_ex(("localhost", port)) == 0:
                    break
            if process.poll() is not None:
                raise RuntimeError(f"{command} failed")
            time.sleep(0.1)
        yield process.pid
    finally:
        workers = _children(process.pid)
        process.kill()
        process.wait()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def _text(job_port: int, pool_port: int) -> str:
    return (
        f"runner=portable,job_endpoint=localhost:{job_port},environment_type=EXTERNAL,"
        f"environment_config=localhost:{pool_port}"
    )


if __name__ == "__main__":
    # By its full name: Beam's workers cannot import what is defined in __main__.
    from benchmarks import distributed

    distributed.main()
