"""The verdicts of real models on real clips, for `benchmarks.verdicts`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks._crops import Crops, demo_val_fraction, extract_crops, make_crops
from benchmarks._harness import Figure, media
from benchmarks._real_crops import SETS, make_records
from benchmarks._spliced import spliced_figures
from benchmarks._starter import restored
from benchmarks._training import train
from components.evaluation.scores import ExampleScorer, clip_tables
from components.trainer.config import image_size_of
from components.trainer.crop_store import CropStore
from components.trainer.nearest_crop_distance import NearestCropDistance
from components.trainer.reference_clips import facts_and_features, reference_crops
from pipeline.clip_scoring import score_clips
from pipeline.config import Config, load_config
from pipeline.score_table import any_clips
from preprocessing.datasets.demo_config import DemoConfig
from preprocessing.support.fingerprint import code_digest, settings_digest
from serving.model import card
from serving.model.aggregation import aggregate
from serving.model.familiarity import UNFAMILIAR
from serving.model.starter import starter_path
from serving.model.thresholds import FAKE, REAL, UNCERTAIN
from serving.model.verdict import DecisionRule

# Real footage, none of which the demo's model or the starter was trained on.
_FOOTAGE = ("faceforensics_mini", "dfdc_mini")
# Of the demo's shortest clips; windows are over all of them.
_ALL_FRAMES = 12


class Judged(NamedTuple):
    """Clips with what a model says of them.

    Attributes:
      labels: int [clips], 1 = fake.
      logits: float [clips].
      words: [clips].
      p_values: float [clips, 2], of "real" and "fake".
    """

    labels: np.ndarray
    logits: np.ndarray
    words: np.ndarray
    p_values: np.ndarray

    def figures(self, name: str) -> dict[str, Figure]:
        """Shares of answers, and how right they are."""
        answered = np.isin(self.words, (FAKE, REAL))
        right = (self.words == FAKE) == (self.labels == 1)
        real = self.labels == 0
        by_distance = risk_under_coverage(self.wrong(), np.abs(self.logits))
        by_p_values = risk_under_coverage(self.wrong(), self.confidence())
        unfamiliar = self.words == UNFAMILIAR
        # Behind all others.
        unfamiliar_last = risk_under_coverage(self.wrong(), self.confidence() - unfamiliar)
        figures = {
            "answered": answered.mean(),
            "unfamiliar": unfamiliar.mean(),
            "real_called_fake": (self.words[real] == FAKE).mean(),
            "fake_called_real": (self.words[~real] == REAL).mean(),
            "wrong_side_of_half": self.wrong().mean(),
            "aurc_by_distance_from_half": by_distance,
            "aurc_by_p_values": by_p_values,
            "aurc_with_unfamiliar_last": unfamiliar_last,
        }
        if unfamiliar.any():
            figures["wrong_side_of_half_of_unfamiliar"] = self.wrong()[unfamiliar].mean()
        if answered.any():
            figures["accuracy_among_answered"] = right[answered].mean()
        goals = {"real_called_fake": "<= 0.05"}
        return {
            f"starter_{name}_{key}": Figure(float(value), goals.get(key, ""))
            for key, value in figures.items()
        }

    def wrong(self) -> np.ndarray:
        """Whether each clip's score is on the wrong side of one half; bool [clips]."""
        return (self.logits > 0) != (self.labels == 1)

    def confidence(self) -> np.ndarray:
        """One minus the smaller p-value; float [clips]."""
        confident: np.ndarray = 1 - self.p_values.min(axis=1)
        return confident

    @classmethod
    def pooled(cls, parts: Sequence[Judged]) -> Judged:
        """The clips of several sets as one."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def risk_under_coverage(wrong: np.ndarray, confidence: np.ndarray) -> float:
    """Area under the curve of risk over coverage (Geifman and El-Yaniv, 2017).

    Args:
      wrong: bool [clips].
      confidence: float [clips]; clips of equal confidence are taken in together.

    Returns:
      The mean, over all numbers of clips that are answered, most confident first, of their share
      of wrong answers.
    """
    risks = pd.Series(wrong.astype(float)).groupby(confidence).transform("mean").to_numpy()
    risks = risks[np.argsort(-confidence, kind="stable")]
    return float(np.mean(np.cumsum(risks) / np.arange(1, len(risks) + 1)))


def starter_figures(output: Path) -> dict[str, Figure]:
    """Of the starter, on the crops that it was measured on, and on footage."""
    crops = {name: make_records(output, name, load_config("face_crops")) for name in SETS}
    return measure_starter(card.find_saved_model(starter_path()), crops, output)


def measure_starter(model: Path, crops: dict[str, Crops], output: Path) -> dict[str, Figure]:
    """As `starter_figures`, with records that are there.

    Args:
      model: the SavedModel.
      crops: of the sets that it was trained on.
      output: folder of the footage's scores.
    """
    rule = DecisionRule.of(card.read(model))
    scorer = ExampleScorer(model)
    figures: dict[str, Figure] = {}
    own: list[str] = []
    judged_sets: dict[str, Judged] = {}
    for name, part in crops.items():
        files = [str(file) for glob in part.files("test") for file in _glob(glob)]
        own += files
        judged_sets[name] = judged(rule, scorer.table(files, "score"))
    table, records = footage(model, _FOOTAGE[:1], output)
    judged_sets["faceforensics"] = judged(rule, table)
    # As they come to somebody who does not know what they are.
    judged_sets["pool"] = Judged.pooled(list(judged_sets.values()))
    for name, clips in judged_sets.items():
        figures |= clips.figures(name)
    by_p_values, by_distance = (
        figures[f"starter_pool_aurc_by_{order}"].value
        for order in ("p_values", "distance_from_half")
    )
    figures["starter_pool_aurc_over_that_by_distance"] = Figure(by_p_values / by_distance, "<= 1.0")
    graph = next(iter(crops.values())).transform_graph
    trained = [glob for part in crops.values() for glob in part.files("train")]
    aucs = told_apart(model, graph, trained, own, records)
    return figures | {f"starter_auc_foreign_{name}": Figure(auc) for name, auc in aucs.items()}


def demo_figures(output: Path) -> dict[str, Figure]:
    """Of the demo's model, which is trained where it is not there, see `demo_model`."""
    config = load_config("demo")
    size = image_size_of(config.model)
    crops = make_crops(output / "demo", DemoConfig(), config.extraction.frames_per_clip, size)
    model = demo_model(config, crops, output / "demo-model")
    return measure_demo(model, crops, output) | measure_spliced(model, output, size)


def demo_model(config: Config, crops: Crops, folder: Path) -> Path:
    """Trains the demo's model.

    Args:
      config: of the demo.
      crops: of the demo.
      folder: of all of it; what an earlier call with the same settings and the same code has made
        there is kept, and anything else deleted.

    Returns:
      The SavedModel.
    """
    metadata = {
        "extraction": config.extraction.crop_settings(False).to_dict(),
        "image_size": image_size_of(config.model),
    }
    sections = [config.model.to_dict(), config.training.to_dict(), DemoConfig().to_dict()]
    code = code_digest("benchmarks._verdicts_real")
    key = settings_digest(*sections, metadata, config.seed, code)
    made_with, model = folder / "key.txt", folder / "model"
    if not made_with.is_file() or made_with.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made_with.write_text(key)
    if not (model / card.FILE).is_file():
        train(
            config, folder, crops.files("train"), crops.files("val"), crops.transform_graph,
            metadata,
        )  # fmt: skip
    return model


def measure_spliced(model: Path, output: Path, image_size: int) -> dict[str, Figure]:
    """Of clips of the demo with some forged frames.

    Args:
      model: the SavedModel, trained on the demo.
      output: its folder `demo` holds the demo; gets the crops of all frames of val and test.
      image_size: side of the network's input in pixels.
    """
    crops = extract_crops(
        output / "demo-frames", output / "demo" / "data", "demo", _ALL_FRAMES, image_size,
        demo_val_fraction(DemoConfig()), splits=("val", "test"),
    )  # fmt: skip
    scorer = ExampleScorer(model)
    val, test = (
        scorer.table([str(file) for glob in crops.files(split) for file in _glob(glob)], "score")
        for split in ("val", "test")
    )
    return spliced_figures(val, test, _ALL_FRAMES)


def measure_demo(model: Path, crops: Crops, output: Path) -> dict[str, Figure]:
    """As `demo_figures`, with a model that is there.

    Args:
      model: the SavedModel.
      crops: of the demo.
      output: folder of the footage's scores.
    """
    # What it would say if its data were not made.
    rule = DecisionRule.of(card.read(model))
    files = [str(file) for glob in crops.files("test") for file in _glob(glob)]
    own = judged(rule, ExampleScorer(model).table(files, "score"))
    table, records = footage(model, _FOOTAGE, output)
    foreign = judged(rule, table)
    answered = np.isin(foreign.words, (FAKE, REAL)).mean()
    aucs = told_apart(model, crops.transform_graph, crops.files("train"), files, records)
    return {
        "demo_footage_clips": Figure(len(foreign.words)),
        "demo_footage_answered": Figure(float(answered), "<= 0.05"),
        "demo_footage_uncertain": Figure(float((foreign.words == UNCERTAIN).mean())),
        "demo_own_unfamiliar": Figure(float((own.words == UNFAMILIAR).mean()), "<= 0.05"),
        **{f"demo_auc_foreign_{name}": Figure(auc) for name, auc in aucs.items()},
    }


def judged(rule: DecisionRule, crops: pd.DataFrame) -> Judged:
    """Joins crops to clips, and puts them into words."""
    _, clips = clip_tables(crops)
    logits = clips["logit"].to_numpy(float)
    words = [
        rule.verdict(logit, rule.familiarity_of_distance(distance))
        for logit, distance in zip(logits, clips["distance"], strict=True)
    ]
    ranks = [rule.p_values(logit) for logit in logits]
    p_values = np.array([(rank.real, rank.fake) for rank in ranks if rank])
    return Judged(clips["label"].to_numpy(int), logits, np.array(words), p_values)


def footage(
    model: Path, names: Sequence[str], output: Path
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Scores of real clips as `deepfake score` has them, and the records of their faces."""
    tables: list[pd.DataFrame] = []
    records: list[str] = []
    for name in names:
        root = media(name)
        if root is None:
            raise SystemExit(f"there is no {name} in the folder that DEEPFAKE_TEST_MEDIA names")
        work = output / f"footage-{model.parent.parent.name}-{name}"
        clips, _ = any_clips(root, work.with_suffix(".hashes.json"), (work,))
        scored = score_clips(model, clips, str(root), work)
        fakes = scored.crops["clip_id"].map(lambda clip, root=root: _is_fake(root, clip))
        tables.append(scored.crops.assign(label=fakes.astype(int)))
        records += scored.records
    return pd.concat(tables, ignore_index=True), tuple(records)


def told_apart(
    model: Path,
    transform_graph: Path,
    trained: Sequence[str],
    own: Sequence[str],
    foreign: Sequence[str],
) -> dict[str, float]:
    """AUC of telling foreign clips from its own, by two distances to the training's crops.

    Args:
      model: the SavedModel.
      transform_graph: of its image size.
      trained: globs of training records.
      own: of clips of the same data that it was not trained on.
      foreign: of clips of other data.

    Returns:
      By the nearest of a sample of crops, and by Gaussians of the two classes with one covariance
      (Mahalanobis' distance; Lee et al., 2018) over the same coordinates and sample.
    """
    detector = restored(model, transform_graph)
    with CropStore(trained, "train") as store:
        numbers = reference_crops(store)
        labels = store.table.labels[numbers]
        facts, features = zip(*facts_and_features(detector, store, numbers), strict=True)
    familiarity = NearestCropDistance(np.concatenate(features), np.concatenate(facts))
    points = familiarity.points.numpy()
    means = np.stack([points[labels == label].mean(axis=0) for label in (0, 1)])
    within = points - means[labels]
    precision = np.linalg.pinv(within.T @ within / len(within))
    distances: dict[str, list[np.ndarray]] = {"nearest_neighbour": [], "gaussians": []}
    for files in (own, foreign):
        with CropStore(files, "test") as store:
            table = store.table
            seen = list(facts_and_features(detector, store, np.arange(len(table))))
            places = [familiarity.coordinates(f, x).numpy() for x, f in seen]
            near = [familiarity.distances(f, x).numpy() for x, f in seen]
            away = np.concatenate(places)[:, None] - means
            gauss = np.einsum("ncd,de,nce->nc", away, precision, away).min(axis=1)
            for name, values in (("nearest_neighbour", np.concatenate(near)), ("gaussians", gauss)):
                distances[name].append(aggregate(values, table.clips, table.tracks).logits)
    return {
        name: float(roc_auc_score(np.repeat([0, 1], list(map(len, parts))), np.concatenate(parts)))
        for name, parts in distances.items()
    }


def _glob(pattern: str) -> list[Path]:
    return sorted(Path(pattern).parent.glob(Path(pattern).name))


def _is_fake(root: Path, clip: str) -> bool:
    """Of FaceForensics++ by its folder, of DFDC by its list."""
    listed = root / Path(clip).parent / "metadata.json"
    if listed.is_file():
        return bool(pd.read_json(listed, orient="index")["label"][Path(clip).name] == "FAKE")
    return "manipulated" in clip
