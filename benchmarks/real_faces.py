"""Trains detectors on real face crops: the seed's recipe, the project's, and its ablations.

    python -m benchmarks.real_faces [--quick] [--output DIR] [--rows "ours,seed recipe"] [--seeds N]
                                    [--starter DIR]
    python -m benchmarks.real_faces --measure serving/starter
    python -m benchmarks.real_faces --refresh serving/starter/1

Trains on the crops of Celeb-DF v2 and DFDC in the folder that DEEPFAKE_TEST_MEDIA names. The row
`ours` is the preset `face_crops`; the row `short` is an eighth of its steps, and every other row
differs from `short` in what it is named after: they start from the same weights and see the same
number of images. Reported are Celeb-DF's test (persons that no split shares) and DFDC's val; the
epoch is chosen, and scores are calibrated, on Celeb-DF's val and on originals taken out of DFDC's
train. `--quick` trains `short` and the seed's recipe, or the rows it is told, on a third of DFDC's
originals, with one seed.

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
from typing import Any

# Before anything imports TensorFlow, which else prints pages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks._crops import Crops
from benchmarks._face_scores import Result, Scores
from benchmarks._harness import Figure, finish, parser
from benchmarks._real_crops import SETS, jittered, make_records, trivial_features
from benchmarks._training import logits_of, start, train, write_result
from pipeline.config import Config, load_config
from preprocessing.support.fingerprint import code_digest, settings_digest
from serving.model.aggregation import aggregate

# Of two epochs instead of four: each is measured on val, which takes about as long as 70 steps.
_STEPS = ("training.epochs=2", "training.steps_per_epoch=150")
_QUICK_EVERY = 3
# More than there are originals: where only val and test are needed.
_NO_TRAIN = 1 << 32
_OURS, _SHORT = "ours", "short"
_SEED = "seed recipe"
_ACROSS = {"trained on Celeb-DF": "celeb_df", "trained on DFDC": "dfdc"}
# Name of the row -> what it changes of the preset.
ROWS: dict[str, tuple[str, ...]] = {
    _OURS: (),
    _SHORT: _STEPS,
    _SEED: _STEPS,
    "without pseudo-fakes": (*_STEPS, "training.pseudo_fakes=none"),
    "without augmentation": (*_STEPS, "training.augmentation=none"),
    "with ImageNet's statistics": (*_STEPS, "training.batch_norm=freeze"),
    "without pairs": (*_STEPS, "training.pseudo_fakes=none", "training.sampling=weighted"),
    "from random weights": (*_STEPS, "model.weights=none"),
    **dict.fromkeys(_ACROSS, _STEPS),
}


def main() -> None:
    """Runs the benchmark, or one of its processes."""
    arguments = parser(str(__doc__).splitlines()[0])
    arguments.add_argument("--output", type=Path, default=Path("runs/benchmark-real-faces"))
    arguments.add_argument("--rows", help="only these, by commas")
    arguments.add_argument("--seeds", type=int, help="trainings of each row, usually 2, quick 1")
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
    usual = [_SHORT, _SEED] if options.quick else list(ROWS)
    rows = options.rows.split(",") if options.rows else usual
    if unknown := sorted(set(rows) - set(ROWS)):
        arguments.error(f"--rows: there is no row {unknown[0]!r}; rows are {', '.join(ROWS)}")
    if options.starter and _OURS not in rows:
        arguments.error(f"--starter exports the row {_OURS!r}, which --rows does not name")
    results: dict[str, list[Result]] = {}
    head = f"{'row':28}{'seed':>4}{'celeb crop':>12}{'clip':>8}{'95%':>14}{'dfdc clip':>11}"
    print(f"{head}{'95%':>14}{'ECE':>7}{'shown':>8}{'min':>5}")
    for seed in range(1, (options.seeds or (1 if options.quick else 2)) + 1):
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
        "expected_calibration_error_after_val": (
            lambda on: on["celeb_df"].clip_error_after_val,
            "<= 0.08",
        ),
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
    if {_SHORT, _SEED} <= results.keys():
        short, seed = (mean(row, lambda on: on["celeb_df"].clip_auc()) for row in (_SHORT, _SEED))
        values["gain_over_seed_recipe"] = Figure(short - seed, ">= 0.05")
    for row, name in _ACROSS.items():
        if row in results:
            (other,) = SETS.keys() - {name}
            auc = mean(row, lambda on, other=other: on[other].clip_auc())
            values[f"cross_dataset_auc_{name}_to_{other}"] = Figure(auc)
            specialist_auc = mean(row, lambda on, name=name: on[name].clip_auc())
            values[f"specialist_auc_{name}"] = Figure(specialist_auc)
    return values


def recipe(row: str, seed: int) -> Config:
    """The configuration of a row."""
    config = load_config("face_crops", [f"seed={seed}", *ROWS[row]])
    if row != _SEED:
        return config
    batch_size = load_config("seed_recipe").training.batch_size
    epochs = config.training.epochs
    return load_config(
        "seed_recipe",
        [
            f"seed={seed}",
            f"model.backbone={config.model.backbone}",
            f"model.weights={config.model.weights}",
            f"model.image_size={config.model.image_size}",
            f"training.epochs={epochs}",
            f"training.steps_per_epoch={_shown(config) // (epochs * batch_size)}",
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
    config = recipe(row, seed)
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
    config, folder = recipe(row, seed), _folder(Path(output), row, seed, quick)
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
    result = {
        "key": key,
        "minutes": minutes,
        "shown": _shown(config),
        "history": history,
        "on": {name: _score(folder / "model", crops[name], row == _OURS) for name in SETS},
    }
    write_result(folder, result)


def _shown(config: Config) -> int:
    """Images that a training of a configuration shows."""
    training = config.training
    return training.epochs * training.steps_per_epoch * training.batch_size


def _score(model: Path, crops: Crops, in_full: bool = True) -> dict[str, list]:
    """The columns of `Scores` as lists; those of `ours` alone only where asked for."""
    from components.trainer.crop_store import CropStore

    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"moved": [], "val_labels": [], "val_logits": []}
    with CropStore(crops.files("test"), "test") as store:
        columns |= {
            "labels": store.table.labels.tolist(),
            "clips": store.table.clips.tolist(),
            "clusters": store.table.clip_clusters.tolist(),
            "logits": logits_of(model, store).tolist(),
        }
        if in_full:
            moved = logits_of(model, store, lambda crop: jittered(crop, rng))
            columns["moved"] = moved.tolist()
    if in_full:
        with CropStore(crops.files("val"), "val") as store:
            table = store.table
            joined = aggregate(logits_of(model, store), table.clips, table.tracks)
            columns["val_labels"] = table.clip_labels[joined.clips].tolist()
            columns["val_logits"] = joined.logits.tolist()
    return columns


def _measure(model: Path, output: Path) -> None:
    """Measures a model that is there, such as the starter, on both sets' test."""
    from serving.model.card import find_saved_model

    folder = find_saved_model(model)
    on = {}
    for name in SETS:
        crops = make_records(output, name, load_config("face_crops"), _NO_TRAIN)
        on[name] = _scores(_score(folder, crops))
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
