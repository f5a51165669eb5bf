"""The project's recipe against the seed's, from scratch, on synthetic data that was not trained on.

    python -m benchmarks.recipe [--quick] [--data hard] [--output DIR] [--picture FILE]

Ours is preset `demo`, the other preset `seed_recipe` with the same backbone (NASNetMobile, 224
pixels) and random weights. Both go through the Trainer's own `run_fn`, see the same number of
images, keep their best of the same number of epochs, and are calibrated on the same val split.
Batches that ours only takes statistics from (recalibration) count as shown. Two datasets of one
generator: the demo's (easy), and a harder one whose fakes are as sharp as what surrounds them.

Every training is a process of its own, and its result is kept in the output folder: a benchmark
that was interrupted goes on, and one after a change of configuration or code trains anew.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks._calibration import chance_error
from benchmarks._crops import Crops, make_crops
from benchmarks._harness import Figure, finish, parser
from benchmarks._sharpness import two_energy_auc
from benchmarks._training import logits_of, start, train, write_result
from components.evaluation.metrics import calibration_error
from components.trainer.config import image_size_of
from pipeline.config import Config, load_config
from preprocessing.datasets.demo_config import DemoConfig
from preprocessing.support.fingerprint import code_digest, settings_digest
from preprocessing.support.section import Section
from serving.model.aggregation import aggregate, probability


class Dataset(Section):
    """What is made, how many frames of each clip are taken, and how long both recipes train."""

    demo: DemoConfig
    frames: int
    epochs: int


RECIPES = ("ours", "seed")
# Steps of an epoch of ours, and after it the batches that only statistics are taken from; fewer
# of these than the preset has, since they count as shown.
STEPS, RECALIBRATION_STEPS = 16, 4
# Many persons and few frames of each for the test: crops of one clip say the same about
# calibration, and with fewer clips the error of 15 bins is mostly chance, even for perfect scores
# (0.04 with 640 crops).
DATASETS = {
    "hard": Dataset(
        demo=DemoConfig(
            train_identities=200, val_identities=80, test_identities=400, difficulty="hard"
        ),
        frames=2,
        epochs=4,
    ),
    "easy": Dataset(
        demo=DemoConfig(train_identities=100, val_identities=20, test_identities=40),
        frames=4,
        epochs=3,
    ),
}


@dataclasses.dataclass(frozen=True)
class Scored:
    """One trained model on a test split.

    Attributes:
      labels: int [crops], 1 = fake.
      logits: float [crops], calibrated.
      clip_labels: int [clips].
      clip_logits: float [clips].
      history: `epoch` and `val_auc` of each epoch.
      seconds: that training and export took.
    """

    labels: np.ndarray
    logits: np.ndarray
    clip_labels: np.ndarray
    clip_logits: np.ndarray
    history: list[dict[str, float]]
    seconds: float

    @property
    def auc(self) -> float:
        """Of crops."""
        return float(roc_auc_score(self.labels, self.logits))

    @property
    def clip_auc(self) -> float:
        """Of clips."""
        return float(roc_auc_score(self.clip_labels, self.clip_logits))

    @property
    def error(self) -> float:
        """Expected calibration error per crop."""
        return calibration_error(self.labels, probability(self.logits))

    @property
    def clip_error(self) -> float:
        """Expected calibration error per clip."""
        return calibration_error(self.clip_labels, probability(self.clip_logits))


def main() -> None:
    """Measures, and prints what was found."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--output", type=Path, default=Path("runs/benchmark-recipe"))
    arguments.add_argument(
        "--data", choices=list(DATASETS), help="only this set (the figures need `hard`)"
    )
    arguments.add_argument("--picture", type=Path, help="default: recipes.png in the output folder")
    arguments.add_argument("--role", help="for the processes that the benchmark starts itself")
    arguments.add_argument("--job", type=json.loads)
    options = arguments.parse_args()
    if options.role:
        _ROLES[options.role](**options.job)
        return
    output = options.output.resolve()
    names = ["hard"] if options.quick else [options.data] if options.data else list(DATASETS)
    seeds = [1] if options.quick else [1, 2, 3]
    print(f"NASNetMobile from scratch, seeds {seeds}")
    for data in names:
        config = recipe("ours", data, 0)
        images, epochs = images_shown(config), config.training.epochs
        print(f"{data} set: {images} images shown to each recipe in {epochs} epochs", flush=True)
        (output / data).mkdir(parents=True, exist_ok=True)
        _start("make", output / data / "make.log", {"output": str(output), "data": data})
    runs: dict[tuple[str, str], list[Scored]] = {}
    print(f"\n{'data':6}{'recipe':8}{'seed':>4}{'AUC':>8}{'per clip':>10}{'ECE':>8}{'s':>6}")
    # Seed by seed and side by side, so that what is there when time runs out can be compared.
    for seed in seeds:
        for data in names:
            for name in RECIPES:
                scored = _scored(output, data, name, seed)
                runs.setdefault((data, name), []).append(scored)
                print(
                    f"{data:6}{name:8}{seed:>4}{scored.auc:>8.3f}{scored.clip_auc:>10.3f}"
                    f"{scored.error:>8.3f}{scored.seconds:>6.0f}",
                    flush=True,
                )
    from benchmarks._recipe_picture import draw

    picture = options.picture or output / "recipes.png"
    draw(runs, picture)
    project_runs = runs.get(("hard", "ours")) or runs["easy", "ours"]
    floor = np.mean([chance_error(run.logits) for run in project_runs])
    print(f"\nperfectly calibrated scores of the same spread: ECE {floor:.3f} on average")
    print(f"curves: {picture}")
    trivial = {
        f"auc_of_two_energies_on_{data}": Figure(
            float(_two_energies_file(output, data).read_text())
        )
        for data in names
    }
    finish("recipe", figures(runs) | trivial)


def figures(runs: dict[tuple[str, str], list[Scored]]) -> dict[str, Figure]:
    """The benchmark's figures, means over seeds; `runs` are by dataset and recipe."""
    means = {
        f"{level}_of_{name}_on_{data}": _mean(scored, level)
        for data in DATASETS
        for name in RECIPES
        if (scored := runs.get((data, name)))
        for level in ("auc", "clip_auc")
    }
    goals = {}
    if hard := runs.get(("hard", "ours")):
        gain = means["auc_of_ours_on_hard"] - means["auc_of_seed_on_hard"]
        goals = {
            "auc_gain_over_seed_recipe": Figure(gain, ">= 0.10"),
            "expected_calibration_error": Figure(_mean(hard, "error"), "<= 0.05"),
            "expected_calibration_error_per_clip": Figure(_mean(hard, "clip_error")),
        }
    return goals | {name: Figure(value) for name, value in means.items()}


def recipe(name: str, data: str, seed: int) -> Config:
    """The configuration of `ours` or `seed` for a dataset, with as many images shown."""
    common = [f"seed={seed}", f"training.epochs={DATASETS[data].epochs}", "training.patience=0"]
    config = load_config(
        "demo",
        [
            *common,
            f"training.steps_per_epoch={STEPS}",
            f"training.recalibration_steps={RECALIBRATION_STEPS}",
        ],
    )
    if name == "ours":
        return config
    batch_size = load_config("seed_recipe").training.batch_size
    steps = images_shown(config) // (config.training.epochs * batch_size)
    model = [f"model.backbone={config.model.backbone}", f"model.weights={config.model.weights}"]
    return load_config("seed_recipe", [*common, *model, f"training.steps_per_epoch={steps}"])


def images_shown(config: Config) -> int:
    """How many crops a training sees, those included that it takes only statistics from."""
    training = config.training
    steps = training.steps_per_epoch + training.recalibration_steps
    return training.epochs * steps * training.batch_size


def _mean(runs: list[Scored], measure: str) -> float:
    return float(np.mean([getattr(run, measure) for run in runs]))


def _scored(output: Path, data: str, name: str, seed: int) -> Scored:
    """Reads a training's result, or has it trained first."""
    config = recipe(name, data, seed)
    code = code_digest("benchmarks.recipe")
    sections = [config.model.to_dict(), config.training.to_dict(), DATASETS[data].to_dict()]
    key = settings_digest(*sections, seed, code)
    folder = output / data / f"{name}-{seed}"
    result = folder / "result.json"
    if not result.is_file() or json.loads(result.read_text())["key"] != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        job = {"output": str(output), "data": data, "name": name, "seed": seed, "key": key}
        _start("train", folder / "log.txt", job)
    values = json.loads(result.read_text())
    del values["key"]
    arrays: dict[str, Any] = {k: np.array(v) if k != "history" else v for k, v in values.items()}
    return Scored(**arrays)


# --- processes


def _make(output: str, data: str) -> None:
    """Makes crops, and measures how far one gets on them without a network."""
    crops = _crops(output, data)
    _two_energies_file(Path(output), data).write_text(f"{_two_energies(crops)}\n")


def _crops(output: str, data: str) -> Crops:
    size = image_size_of(recipe("ours", data, 0).model)
    return make_crops(Path(output) / data, DATASETS[data].demo, DATASETS[data].frames, size)


def _two_energies_file(output: Path, data: str) -> Path:
    return output / data / "auc_of_two_energies.txt"


def _two_energies(crops: Crops) -> float:
    from components.trainer.crop_store import CropStore

    sides: list[Any] = []
    for split in ("train", "test"):
        with CropStore(crops.files(split), split) as store:
            encoded = [
                np.frombuffer(crop, np.uint8) for crop in store.read(np.arange(len(store.table)))
            ]
            pixels = [cv2.imdecode(crop, cv2.IMREAD_COLOR) for crop in encoded]
            sides += [pixels, store.table.labels]
    return two_energy_auc(*sides)


def _train(output: str, data: str, name: str, seed: int, key: str) -> None:
    """Trains, scores the test split with the exported model, and writes the result."""
    config, crops = recipe(name, data, seed), _crops(output, data)
    folder = Path(output) / data / f"{name}-{seed}"
    began = time.monotonic()
    train(config, folder, crops.files("train"), crops.files("val"), crops.transform_graph)
    seconds = time.monotonic() - began
    scored = _score(folder / "model", crops.files("test"))
    with (folder / "logs" / "history.csv").open() as file:
        scored["history"] = [
            {"epoch": number, "val_auc": float(row["val_auc"])}
            for number, row in enumerate(csv.DictReader(file), start=1)
        ]
    write_result(folder, {"key": key, "seconds": seconds, **scored})
    shutil.rmtree(folder / "model")


def _score(model: Path, files: list[str]) -> dict[str, Any]:
    """Labels and calibrated logits of crops and clips, as lists."""
    from components.trainer.crop_store import CropStore

    with CropStore(files, "test") as store:
        table = store.table
        flat = logits_of(model, store)
    clips = aggregate(flat, table.clips, table.tracks)
    return {
        "labels": table.labels.tolist(),
        "logits": flat.tolist(),
        "clip_labels": table.clip_labels[clips.clips].tolist(),
        "clip_logits": clips.logits.tolist(),
    }


_ROLES: dict[str, Callable[..., None]] = {"make": _make, "train": _train}


def _start(role: str, log: Path, job: dict[str, Any]) -> None:
    start("benchmarks.recipe", ["--role", role, "--job", json.dumps(job)], log)


if __name__ == "__main__":
    main()
