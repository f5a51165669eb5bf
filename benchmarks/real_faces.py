"""Trains detectors on real face crops: the seed's recipe, the project's, and its ablations.

    python -m benchmarks.real_faces [--quick] [--output DIR] [--rows "ours,seed recipe"] [--seeds N]
                                    [--starter DIR]
    python -m benchmarks.real_faces --measure serving/starter
    python -m benchmarks.real_faces --refresh serving/starter/1

Trains on the crops of Celeb-DF v2 and DFDC in the folder that DEEPFAKE_TEST_MEDIA names. All rows
start from the same weights and see the same number of images. Reported are Celeb-DF's test (persons
that no split shares) and DFDC's val; the epoch is chosen, and scores are calibrated, on Celeb-DF's
val and on originals taken out of DFDC's train. `--quick` trains two rows on a third of DFDC's
originals for an eighth of the steps.

`--starter DIR` exports the row `ours` of the first seed there, as the model that answers where none
is named. `--measure DIR` trains nothing, and measures a model that is there; `--refresh DIR`
exports it anew, with the same weights and what this version keeps of its data.

Every training is a process of its own, and its result is kept in the output folder, so that a
benchmark that was interrupted goes on.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks._calibration import chance_error
from benchmarks._harness import Figure, finish, parser
from benchmarks._real_crops import SETS, jittered, make_records, trivial_features
from benchmarks._training import logits_of, start, train, write_result
from components.evaluation.intervals import measure_with_intervals
from components.evaluation.metrics import balanced_weights, calibration_error
from pipeline.config import Config, load_config
from preprocessing.support.fingerprint import code_digest, settings_digest
from serving.model.aggregation import aggregate, probability

_RESAMPLES = 500
_QUICK_STEPS, _QUICK_EVERY = 75, 3
# More than there are originals: where only val and test are needed.
_NO_TRAIN = 1 << 32
_OURS = "ours"
_SEED = "seed recipe"
_ACROSS = {"trained on Celeb-DF": "celeb_df", "trained on DFDC": "dfdc"}
# Name of the row -> what it changes of the preset.
ROWS: dict[str, tuple[str, ...]] = {
    _OURS: (),
    _SEED: (),
    "without pseudo-fakes": ("training.pseudo_fakes=none",),
    "without augmentation": ("training.augmentation=none",),
    "with ImageNet's statistics": ("training.batch_norm=freeze",),
    "without pairs": ("training.pseudo_fakes=none", "training.sampling=weighted"),
    "from random weights": ("model.weights=none",),
    **dict.fromkeys(_ACROSS, ()),
}


class Scores(NamedTuple):
    """A model on the test crops of a set.

    Attributes:
      labels: int [crops], 1 = fake.
      logits: float [crops], calibrated.
      moved: float [crops], of the crops as `jittered` cuts them.
      clips: int [crops].
    """

    labels: np.ndarray
    logits: np.ndarray
    moved: np.ndarray
    clips: np.ndarray

    def by_clip(self, moved: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits of the clips."""
        tracks = np.zeros(len(self.clips), np.int64)
        joined = aggregate(self.moved if moved else self.logits, self.clips, tracks)
        labels = np.zeros(self.clips.max() + 1, np.int64)
        labels[self.clips] = self.labels
        return labels[joined.clips], joined.logits

    @property
    def auc(self) -> float:
        """Per crop."""
        return float(roc_auc_score(self.labels, self.logits))

    def clip_auc(self, moved: bool = False) -> float:
        """Per clip."""
        return float(roc_auc_score(*self.by_clip(moved)))

    @property
    def clip_error(self) -> float:
        """Expected calibration error per clip."""
        labels, logits = self.by_clip()
        return calibration_error(labels, probability(logits))

    @property
    def balanced_clip_error(self) -> float:
        """The same of clips that weigh so that half of them are fake, as scores mean it."""
        labels, logits = self.by_clip()
        return calibration_error(labels, probability(logits), balanced_weights(labels))

    def clip_error_at_share(self) -> tuple[float, float]:
        """Calibration error per clip of scores that know these clips' share of fakes.

        Scores are probabilities where half of the clips are fake. By Bayes' rule their logits are
        moved by the logarithm of this set's odds of being fake.

        Returns:
          The error, and `chance_error` of the same scores.
        """
        labels, logits = self.by_clip()
        share = labels.mean()
        moved = logits + np.log(share / (1 - share))
        return calibration_error(labels, probability(moved)), chance_error(moved)

    def interval(self) -> tuple[float, float]:
        """95% of the AUC per clip, over resampled clips."""
        labels, logits = self.by_clip()
        auc = measure_with_intervals(labels, logits, np.arange(len(labels)), _RESAMPLES)["auc"]
        return auc.low, auc.high


class Result(NamedTuple):
    """A training.

    Attributes:
      on: name of the set -> its scores.
      minutes: that it took.
      shown: images.
      history: val AUC per clip of each epoch.
    """

    on: dict[str, Scores]
    minutes: float
    shown: int
    history: list[float]


def main() -> None:
    """Runs the benchmark, or one of its processes."""
    arguments = parser(str(__doc__).splitlines()[0])
    arguments.add_argument("--output", type=Path, default=Path("runs/benchmark-real-faces"))
    arguments.add_argument("--rows", help="only these, by commas")
    arguments.add_argument("--seeds", type=int, default=2, help="trainings of each row")
    arguments.add_argument("--starter", type=Path, help="export the row `ours` there")
    arguments.add_argument("--measure", type=Path, help="only measure this model")
    arguments.add_argument("--refresh", type=Path, help="only export this version anew")
    arguments.add_argument("--job", type=json.loads, help="for the processes it starts itself")
    options = arguments.parse_args()
    if options.job:
        _train(**options.job)
        return
    if options.refresh:
        from benchmarks._starter import refresh

        every = [
            make_records(options.output.resolve(), name, load_config("face_crops")) for name in SETS
        ]
        refresh(options.refresh, options.refresh, every)
        return
    if options.measure:
        _measure(options.measure, options.output.resolve())
        return
    rows = options.rows.split(",") if options.rows else list(ROWS)
    if unknown := sorted(set(rows) - set(ROWS)):
        arguments.error(f"--rows: there is no row {unknown[0]!r}; rows are {', '.join(ROWS)}")
    if options.quick:
        rows = [_OURS, _SEED]
    results: dict[str, list[Result]] = {}
    head = f"{'row':28}{'seed':>4}{'celeb crop':>12}{'clip':>8}{'95%':>14}{'dfdc clip':>11}"
    print(f"{head}{'95%':>14}{'ECE':>7}{'shown':>8}{'min':>5}")
    for seed in range(1, (1 if options.quick else options.seeds) + 1):
        for row in rows:
            result = _result(options.output.resolve(), row, seed, options.quick)
            results.setdefault(row, []).append(result)
            print(_line(row, seed, result), flush=True)
    from benchmarks._real_faces_picture import draw

    picture = options.output / "real_faces.png"
    draw(results, picture)
    print(f"\ncurves: {picture}")
    if options.starter:
        from benchmarks._starter import place

        model = _folder(options.output, _OURS, 1, options.quick) / "model"
        place(model, options.starter, results[_OURS][0])
    finish("real_faces", figures(results) | _trivial(options.output.resolve(), options.quick))


def figures(results: dict[str, list[Result]]) -> dict[str, Figure]:
    """The benchmark's figures, means over seeds."""

    def mean(row: str, measure: Any) -> float:
        return float(np.mean([measure(result.on) for result in results[row]]))

    def at_share(on: dict[str, Scores]) -> tuple[float, float]:
        return on["celeb_df"].clip_error_at_share()

    measures = {
        "celeb_df_auc_per_clip": (lambda on: on["celeb_df"].clip_auc(), ">= 0.94"),
        "celeb_df_auc_per_crop": (lambda on: on["celeb_df"].auc, ">= 0.90"),
        "dfdc_auc_per_clip": (lambda on: on["dfdc"].clip_auc(), ">= 0.85"),
        "expected_calibration_error": (lambda on: on["celeb_df"].clip_error, "<= 0.08"),
        "balanced_calibration_error": (lambda on: on["celeb_df"].balanced_clip_error, ""),
        "expected_calibration_error_at_share": (
            lambda on: on["celeb_df"].clip_error_at_share()[0],
            "",
        ),
        "expected_calibration_error_by_chance": (
            lambda on: on["celeb_df"].clip_error_at_share()[1],
            "",
        ),
        "margin_shift_auc_loss": (
            lambda on: on["celeb_df"].clip_auc() - on["celeb_df"].clip_auc(moved=True),
            "<= 0.02",
        ),
    }
    values = {}
    if _OURS in results:
        values = {
            name: Figure(mean(_OURS, measure_of), goal)
            for name, (measure_of, goal) in measures.items()
        }
    if {_OURS, _SEED} <= results.keys():
        gain = values["celeb_df_auc_per_clip"].value - mean(
            _SEED, lambda on: on["celeb_df"].clip_auc()
        )
        values["gain_over_seed_recipe"] = Figure(gain, ">= 0.05")
    for row, name in _ACROSS.items():
        if row in results:
            (other,) = SETS.keys() - {name}
            auc = mean(row, lambda on, other=other: on[other].clip_auc())
            values[f"cross_dataset_auc_{name}_to_{other}"] = Figure(auc)
            specialist_auc = mean(row, lambda on, name=name: on[name].clip_auc())
            values[f"specialist_auc_{name}"] = Figure(specialist_auc)
    return values


def recipe(row: str, seed: int, quick: bool) -> Config:
    """The configuration of a row."""
    steps = _QUICK_STEPS if quick else load_config("face_crops").training.steps_per_epoch
    common = [f"seed={seed}", f"training.steps_per_epoch={steps}"]
    config = load_config("face_crops", [*common, *ROWS[row]])
    if row != _SEED:
        return config
    batch_size = load_config("seed_recipe").training.batch_size
    total = steps * config.training.epochs * config.training.batch_size
    epochs = config.training.epochs
    return load_config(
        "seed_recipe",
        [
            f"seed={seed}",
            f"model.backbone={config.model.backbone}",
            f"model.weights={config.model.weights}",
            f"model.image_size={config.model.image_size}",
            f"training.epochs={epochs}",
            f"training.steps_per_epoch={total // (epochs * batch_size)}",
            "training.patience=0",
        ],
    )


def _line(row: str, seed: int, result: Result) -> str:
    celeb, dfdc = result.on["celeb_df"], result.on["dfdc"]
    ends = ["{:.3f}-{:.3f}".format(*scores.interval()) for scores in (celeb, dfdc)]
    return (
        f"{row:28}{seed:>4}{celeb.auc:>12.3f}{celeb.clip_auc():>8.3f}{ends[0]:>14}"
        f"{dfdc.clip_auc():>11.3f}{ends[1]:>14}{celeb.clip_error:>7.3f}{result.shown:>8}"
        f"{result.minutes:>5.0f}"
    )


def _folder(output: Path, row: str, seed: int, quick: bool) -> Path:
    return output.resolve() / ("quick" if quick else "full") / f"{row.replace(' ', '-')}-{seed}"


def _result(output: Path, row: str, seed: int, quick: bool) -> Result:
    """Reads a training's result, or has it trained first."""
    config = recipe(row, seed, quick)
    sections = [config.model.to_dict(), config.training.to_dict(), config.extraction.to_dict()]
    key = settings_digest(*sections, seed, quick, code_digest("benchmarks.real_faces"))
    folder = _folder(output, row, seed, quick)
    file = folder / "result.json"
    if not file.is_file() or json.loads(file.read_text())["key"] != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        job = {"output": str(output), "row": row, "seed": seed, "quick": quick, "key": key}
        start("benchmarks.real_faces", ["--job", json.dumps(job)], folder / "log.txt")
    values = json.loads(file.read_text())
    on = {name: _scores(columns) for name, columns in values["on"].items()}
    return Result(on, values["minutes"], values["shown"], values["history"])


def _scores(columns: dict[str, list]) -> Scores:
    return Scores(**{name: np.array(values) for name, values in columns.items()})


def _train(output: str, row: str, seed: int, quick: bool, key: str) -> None:
    """Trains, scores both sets' test with the exported model, and writes the result."""
    config, folder = recipe(row, seed, quick), _folder(Path(output), row, seed, quick)
    every = _QUICK_EVERY if quick else 1
    crops = {
        name: make_records(
            Path(output), name, load_config("face_crops"), every if name == "dfdc" else 1
        )
        for name in SETS
    }
    chosen = [_ACROSS[row]] if row in _ACROSS else list(SETS)
    began = time.monotonic()
    train(
        config,
        folder,
        [glob for name in chosen for glob in crops[name].files("train")],
        [glob for name in chosen for glob in crops[name].files("val")],
        crops[chosen[0]].transform_graph,
        {
            "extraction": config.extraction.crop_settings(True).to_dict(),
            "image_size": config.model.image_size,
            "label": {"0": "real", "1": "fake"},
            "data": {"layout": "list", "split": "official"},
        },
    )
    minutes = (time.monotonic() - began) / 60
    with (folder / "logs" / "history.csv").open(encoding="utf-8") as file:
        history = [float(line["val_clip_auc"]) for line in csv.DictReader(file)]
    training = config.training
    result = {
        "key": key,
        "minutes": minutes,
        "shown": training.epochs * training.steps_per_epoch * training.batch_size,
        "history": history,
        "on": {name: _score(folder / "model", crops[name].files("test")) for name in SETS},
    }
    write_result(folder, result)


def _score(model: Path, files: list[str]) -> dict[str, list]:
    """The columns of `Scores` as lists."""
    from components.trainer.crop_store import CropStore

    rng = np.random.default_rng(0)
    with CropStore(files, "test") as store:
        return {
            "labels": store.table.labels.tolist(),
            "clips": store.table.clips.tolist(),
            "logits": logits_of(model, store).tolist(),
            "moved": logits_of(model, store, lambda crop: jittered(crop, rng)).tolist(),
        }


def _measure(model: Path, output: Path) -> None:
    """Measures a model that is there, such as the starter, on both sets' test."""
    from serving.model.card import find_saved_model

    folder = find_saved_model(model)
    on = {}
    for name in SETS:
        crops = make_records(output, name, load_config("face_crops"), _NO_TRAIN)
        on[name] = _scores(_score(folder, crops.files("test")))
        low, high = on[name].interval()
        print(
            f"{name}: AUC per clip {on[name].clip_auc():.3f} ({low:.3f} to {high:.3f}), per crop "
            f"{on[name].auc:.3f}"
        )
    measured = figures({_OURS: [Result(on, 0.0, 0, [])]})
    finish("real_faces", {f"starter_{name}": figure for name, figure in measured.items()})


def _trivial(output: Path, quick: bool) -> dict[str, Figure]:
    """The best AUC per crop of a feature that needs no network, either way round."""
    from components.trainer.crop_store import CropStore

    values_by_name = {}
    for name in SETS:
        every = _QUICK_EVERY if quick and name == "dfdc" else 1
        crops = make_records(output, name, load_config("face_crops"), every)
        with CropStore(crops.files("test"), "test") as store:
            values = np.array(
                [trivial_features(crop) for crop in store.read(np.arange(len(store.table)))]
            )
            aucs = [roc_auc_score(store.table.labels, column) for column in values.T]
        values_by_name[f"trivial_feature_auc_{name}"] = Figure(
            max(max(auc, 1 - auc) for auc in aucs)
        )
    return values_by_name


if __name__ == "__main__":
    main()
