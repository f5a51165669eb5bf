import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from trainer_workbench import (
    MODEL,
    SIZE,
    TRAINING,
    history_rows,
    load_network,
    losses_by_mode,
    write_split,
)

from components.trainer.callbacks import Validation, warmup_constant, warmup_cosine
from components.trainer.config import ModelConfig
from components.trainer.crop_store import CropStore, CropTable
from components.trainer.export import Detector
from components.trainer.image_facts import FACTS
from components.trainer.model import build_model, network_of
from components.trainer.reference_clips import reference_crops
from components.transform.preprocessing import decode_images
from preprocessing.support import progress
from preprocessing.support.errors import UsageError
from serving.model import card
from serving.model.aggregation import probability

pytestmark = pytest.mark.integration


def _score(folder, crops) -> np.ndarray:
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return signature(image=tf.constant(crops))["score"].numpy()


def test_learns_what_training_is_about(workbench, trained):
    from sklearn.metrics import roc_auc_score

    crops, labels, _ = workbench.crops("test")
    scores = _score(trained, crops)
    assert roc_auc_score(labels, scores) > 0.95
    assert ((scores > 0.5) == labels).mean() > 0.85


def test_signatures_and_plain_python_agree(workbench, trained):
    crops, labels, records = workbench.crops("test")
    model = tf.saved_model.load(str(trained))
    default = model.signatures["serving_default"](image=tf.constant(crops))
    examples = model.signatures["serving_examples"](examples=tf.constant(records))
    assert set(default) == set(examples) == {"score", "logit", "appearance"}
    assert default["score"].shape == examples["logit"].shape == (len(crops),)
    for name in default:
        np.testing.assert_allclose(default[name], examples[name], atol=1e-5)
    np.testing.assert_allclose(default["score"], probability(default["logit"]), atol=1e-6)

    network = load_network(trained.parent / "logs", ModelConfig(**MODEL))
    pixels = decode_images(tf.constant(crops), SIZE)
    metadata = card.read(trained).to_dict()
    plain = (network(pixels)[:, 0] + metadata["offset"]) / metadata["temperature"]
    np.testing.assert_allclose(tf.sigmoid(plain), default["score"], atol=1e-5)

    features = model.signatures["transform_features"](examples=tf.constant(records))
    assert set(features) == {"image", "label"}
    np.testing.assert_allclose(features["image"], pixels, atol=1e-6)
    np.testing.assert_array_equal(features["label"], labels)


def test_the_signature_explain_tells_the_logit_by_place(workbench, trained):
    crops, _, _ = workbench.crops("test")
    model = tf.saved_model.load(str(trained))
    explained = model.signatures["explain"](image=tf.constant(crops))
    assert set(explained) == {"cells", "logit"}
    expected = model.signatures["serving_default"](image=tf.constant(crops))["logit"]
    np.testing.assert_allclose(explained["logit"], expected, atol=1e-5)
    np.testing.assert_allclose(np.mean(explained["cells"], (1, 2)), expected, atol=1e-4)
    assert np.std(explained["cells"], (1, 2)).min() > 0


def test_cells_of_a_mirrored_picture_are_mirrored(workbench):
    import tensorflow_transform as tft

    model = build_model(ModelConfig(**MODEL))
    mirrored = Detector(model, tft.TFTransformOutput(workbench.transform_graph), True)
    pixels = tf.random.stateless_uniform((3, SIZE, SIZE, 3), (1, 2), -1.0, 1.0)
    cells, others = (mirrored.network(view)[2] for view in (pixels, pixels[:, :, ::-1]))
    np.testing.assert_allclose(others, cells[:, :, ::-1], atol=1e-5)
    assert np.abs(others - cells).max() > 1e-4


def test_a_mirrored_score_is_the_mean_of_both_sides(workbench):
    import tensorflow_transform as tft

    model = build_model(ModelConfig(**MODEL))
    transform_output = tft.TFTransformOutput(workbench.transform_graph)
    plain, mirrored = (Detector(model, transform_output, mirror) for mirror in (False, True))
    pixels = tf.random.stateless_uniform((3, SIZE, SIZE, 3), (1, 2), -1.0, 1.0)
    sides = [plain.network(view)[0] for view in (pixels, pixels[:, :, ::-1])]
    assert np.abs(sides[0] - sides[1]).max() > 1e-4
    np.testing.assert_allclose(mirrored.network(pixels)[0], np.mean(sides, 0), atol=1e-5)


def test_score_of_a_crop_does_not_depend_on_its_batch(workbench, trained):
    crops, _, _ = workbench.crops("test")
    together = _score(trained, crops[:5])
    alone = [_score(trained, [crop])[0] for crop in crops[:5]]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_fresh_process_without_our_code_scores_the_same(workbench, trained, tmp_path):
    crops, _, _ = workbench.crops("test")
    np.save(tmp_path / "crops.npy", np.array(crops, object), allow_pickle=True)
    program = f"""
import sys
import numpy as np
import tensorflow as tf
crops = np.load({str(tmp_path / "crops.npy")!r}, allow_pickle=True)
signature = tf.saved_model.load({str(trained)!r}).signatures["serving_default"]
np.save({str(tmp_path / "scores.npy")!r}, signature(image=tf.constant(crops))["score"].numpy())
for name in ("tfx", "tensorflow_transform", "components", "preprocessing"):
    assert name not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, timeout=300)
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), _score(trained, crops), atol=1e-6)


def test_only_the_network_and_the_places_of_crops_are_exported(workbench, trained):
    stored = tf.train.load_checkpoint(str(trained / "variables" / "variables"))
    shapes = stored.get_variable_to_shape_map()
    points = shapes.pop("familiarity/points/.ATTRIBUTES/VARIABLE_VALUE")
    crops, _, _ = workbench.crops("train")
    # Numbers by which no picture could be made again.
    assert points[0] == len(crops)
    assert points[1] <= 32 + len(FACTS)
    elements = sum(
        int(np.prod(shape)) for name, shape in shapes.items() if shape and "familiarity" not in name
    )
    network = build_model(ModelConfig(**MODEL)).count_params()
    # Adam's state would triple it.
    assert elements < 1.2 * network


def test_metadata_stands_beside_the_model(trained):
    metadata = card.read(trained).to_dict()
    assert metadata["extraction"] == {"margin": 1.3, "frames_per_clip": 2}
    assert metadata["input_size"] == SIZE
    assert metadata["positive_class"] == "fake"
    assert metadata["backbone"] == "tiny"
    assert metadata["seed"] == 3
    assert metadata["code"] == "0123"
    assert metadata["training"]["epochs"] == TRAINING["epochs"]
    assert metadata["libraries"]["tensorflow"] == tf.__version__
    assert metadata["temperature"] > 0
    assert metadata["offset"] != 0
    assert card.read(trained.parent).to_dict() == metadata


def test_calibration_is_fitted_on_the_clips_of_val_and_exported_for_crops(workbench, trained):
    """What was fitted on clips gives the same clip scores when the graph applies it to crops."""
    from components.trainer.calibration import Calibration, fit_calibration
    from preprocessing.extraction import face_example as names
    from serving.model.aggregation import aggregate
    from serving.model.conformal import ConformalClips, conformal_clips
    from serving.model.familiarity import clip_appearance
    from serving.model.windows import window_maxima

    crops, labels, records = workbench.crops("val")
    metadata = card.read(trained).to_dict()
    exported = Calibration(metadata["temperature"], metadata["offset"])
    signature = tf.saved_model.load(str(trained)).signatures["serving_default"]
    outputs = signature(image=tf.constant(crops))
    calibrated = outputs["logit"].numpy().astype(np.float64)
    raw = calibrated * exported.temperature - exported.offset
    features = [tf.train.Example.FromString(record).features.feature for record in records]
    clips = np.array([feature[names.CLIP_ID].bytes_list.value[0] for feature in features])
    tracks = np.array([feature[names.TRACK_ID].int64_list.value[0] for feature in features])
    joined = aggregate(raw, clips, tracks)
    of_clip = dict(zip(clips, labels, strict=True))
    clip_labels = np.array([of_clip[clip] for clip in joined.clips])

    fitted = fit_calibration(joined.logits, clip_labels)
    assert fitted.temperature == pytest.approx(exported.temperature, rel=1e-2)
    assert fitted.offset == pytest.approx(exported.offset, abs=1e-2)
    of_crops = fit_calibration(raw, labels)
    assert abs(of_crops.temperature / exported.temperature - 1) > 2e-2, "crops would tell otherwise"

    scores = aggregate(calibrated, clips, tracks)
    np.testing.assert_allclose(scores.logits, exported(joined.logits), atol=1e-6)
    assert metadata["calibration"] == {
        "split": "val",
        "unit": "clip",
        "real": int((clip_labels == 0).sum()),
        "fake": int((clip_labels == 1).sum()),
        "blended_fakes": False,
        "prior": 0.5,
        "shares_split_with": ["epoch", "conformal", "windows", "familiarity"],
    }

    # A person is not known here: a fake and its original are a cluster.
    clusters = np.array([clip.partition(b"/")[2] for clip in scores.clips])
    expected = ConformalClips.from_dict(conformal_clips(scores.logits, clip_labels, clusters))
    stored = card.read(trained)
    for name in ("real", "fake"):
        ours, theirs = getattr(stored.conformal, name), getattr(expected, name)
        assert ours.values == pytest.approx(theirs.values, abs=1e-3)
        assert ours.clusters == theirs.clusters == len(set(clusters))
    windows = window_maxima(outputs["logit"].numpy(), clips, tracks)[clip_labels == 0]
    assert stored.windows.real.values == pytest.approx(sorted(windows), abs=1e-3)
    # Two frames of a clip are looked at.
    assert stored.windows.least_crops == 2
    distances, facts = clip_appearance(outputs["appearance"].numpy(), clips, tracks)
    assert stored.familiarity.distances.values == pytest.approx(sorted(distances), abs=1e-4)
    assert set(stored.familiarity.distances.cluster_sizes) == {2}
    for fact, column in zip(stored.familiarity.facts, facts.T, strict=True):
        assert (fact.low <= column).mean() >= 0.9
        assert (column <= fact.high).mean() >= 0.9


def test_history_and_curves(trained):
    rows = history_rows(trained.parent)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "val_loss", "val_auc", "val_clip_auc", "learning_rate"} <= set(rows[0])
    assert float(rows[1]["learning_rate"]) < float(rows[0]["learning_rate"]) < 1e-2
    assert (trained.parent / "logs" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_same_seed_gives_the_same_model(workbench, trained, tmp_path):
    crops, _, _ = workbench.crops("test")
    again = workbench.train(tmp_path)
    np.testing.assert_allclose(_score(again, crops), _score(trained, crops), atol=1e-3)


def test_batch_norm_statistics_have_arrived(workbench, trained):
    """Training mode and inference mode see the same network after recalibration."""
    crops, labels, _ = workbench.crops("train")
    network = load_network(trained.parent / "logs", ModelConfig(**MODEL))
    training, inference = losses_by_mode(network, [(crops, labels)])
    assert abs(training - inference) < 0.1


def test_fine_tuning_goes_through_both_phases(workbench, trained, tmp_path):
    weights = tmp_path / "tiny.weights.h5"
    # With its features all layers learn at once, so that theirs is the best epoch.
    source = network_of(load_network(trained.parent / "logs", ModelConfig(**MODEL)))
    source.save_weights(weights)
    events = []
    progress.set_sink(events.append)
    try:
        folder = workbench.train(
            tmp_path,
            model={"weights": str(weights)},
            training={
                "batch_norm": "freeze",
                "head_epochs": 1,
                "head_learning_rate": 1e-6,
                "epochs": 1,
                "steps_per_epoch": 12,
                "ema_momentum": 0.5,
                "clip_norm": 1.0,
                "weight_decay": 1e-3,
            },
        )
    finally:
        progress.set_sink(None)
    assert [row["phase"] for row in history_rows(tmp_path)] == ["head", "all layers"]
    tuned = network_of(load_network(folder.parent / "logs", ModelConfig(**MODEL)))
    for before, after in zip(source.variables, tuned.variables, strict=True):
        kept = "bn" in before.path
        assert np.array_equal(before, after) == kept, before.path

    lines = [event.text() for event in events if event.stage == "train"]
    assert any("head epoch 1/1" in line for line in lines)
    assert any("all layers epoch 1/1, loss" in line and "val AUC" in line for line in lines)
    assert not tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer")


def test_training_goes_on_from_a_model_of_this_pipeline(workbench, trained, tmp_path):
    """Its features are as good for a new head; a few steps cannot have taught them."""
    training = {
        "batch_norm": "freeze",
        "head_epochs": 1,
        "head_learning_rate": 0.1,
        "epochs": 1,
        "steps_per_epoch": 3,
        "learning_rate": 1e-6,
    }
    folder = workbench.train(tmp_path / "on", {"weights": str(trained)}, training)
    of_both = [card.read(each).validation["clip_auc"] for each in (trained, folder)]
    assert min(of_both) > 0.9
    workbench.train(tmp_path / "anew", {}, {**training, "batch_norm": "momentum"})
    losses = [float(history_rows(tmp_path / name)[0]["val_loss"]) for name in ("on", "anew")]
    assert losses[0] < 0.4 < losses[1]


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ({"backbone": "resnet"}, {}, "model.backbone: 'resnet' is not known"),
        ({"weights": "absent.h5"}, {}, "absent.h5 is not there"),
        ({"image_size": 48}, {}, "give both the same model.image_size"),
        ({}, {"augmentation": "storng"}, "did you mean 'strong'"),
        ({}, {"batch_norm": "freeze"}, "set it to momentum"),
        ({}, {"batch_size": 7}, "odd"),
        ({}, {"batch_size": 4000}, "4000 is more than the [0-9]+ crops"),
    ],
)
def test_what_cannot_work_is_refused_at_once(workbench, tmp_path, model, training, message):
    with pytest.raises(UsageError, match=message):
        workbench.train(tmp_path, model, training)
    assert not (tmp_path / "Format-Serving").exists()


def test_a_class_missing_from_train_is_refused(workbench, tmp_path):
    write_split(tmp_path, "train", clips=2, seed=0, labels=(1,))
    write_split(tmp_path, "val", clips=2, seed=0)
    with pytest.raises(UsageError, match="none of the 4 crops of the train split is real"):
        workbench.train(tmp_path / "out", records=tmp_path)


def test_val_without_a_real_crop_is_refused_where_all_fakes_are_made_of_real_ones(
    workbench, tmp_path
):
    write_split(tmp_path, "train", clips=4, seed=0)
    write_split(tmp_path, "val", clips=2, seed=0, labels=(1,))
    training = {"pseudo_fakes": "self_blended", "pseudo_fake_share": 1.0}
    with pytest.raises(UsageError, match="the val split holds no real crop"):
        workbench.train(tmp_path / "out", training=training, records=tmp_path)


@pytest.mark.parametrize("with_fakes", [False, True])
def test_appearance_is_that_of_the_crops_that_are_trained_on(workbench, with_fakes):
    files = [str(workbench.records / "Split-train" / "*")]
    with CropStore(files, "train") as store:
        numbers = reference_crops(store, with_fakes)
        labels = store.table.labels[numbers]
        assert set(labels) == ({0, 1} if with_fakes else {0})
        assert len(numbers) == (len(store.table) if with_fakes else (store.table.labels == 0).sum())


def test_without_a_class_in_val_the_lowest_loss_decides(workbench, tmp_path):
    """Four clips of which one is real can be trained on; what they cannot is be judged by AUC."""
    write_split(tmp_path, "train", clips=2, seed=0)
    write_split(tmp_path, "val", clips=2, seed=0, labels=(1,))
    folder = workbench.train(tmp_path / "out", records=tmp_path)
    metadata = card.read(folder).to_dict()
    assert math.isnan(metadata["validation"]["clip_auc"])
    assert (metadata["temperature"], metadata["offset"]) == (1.0, 0.0)
    assert "windows" not in metadata
    assert metadata["calibration"]["shares_split_with"] == ["epoch", "conformal", "familiarity"]
    losses = [float(row["val_loss"]) for row in history_rows(tmp_path / "out")]
    assert metadata["validation"]["loss"] == pytest.approx(min(losses), abs=1e-4)


def test_rate_rises_then_falls_to_zero():
    rates = [warmup_cosine(step, 100, 1e-3, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3 / 11)
    assert rates[10] == max(rates) == 1e-3
    assert all(a < b for a, b in itertools.pairwise(rates[:11]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert 0 < rates[-1] < 1e-6
    assert warmup_cosine(0, 1, 1e-3, 0.1) == 1e-3


def test_a_constant_rate_rises_as_well_and_stays():
    rates = [warmup_constant(step, 100, 1e-3, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([warmup_cosine(s, 100, 1e-3, 0.1) for s in range(10)])
    assert set(rates[10:]) == {1e-3}
    assert warmup_constant(0, 100, 1e-3, 0.0) == 1e-3


def test_validation_scores_clips_by_their_highest_track():
    labels = np.array([0, 0, 1, 1, 1])
    table = CropTable(
        labels=labels,
        clips=np.array([0, 0, 1, 1, 1]),
        pairs=labels * 0,
        tracks=np.array([0, 0, 0, 1, 1]),
        frames=labels * 0,
        boxes=np.zeros((5, 4), np.float32),
        landmarks=np.zeros((5, 5, 2), np.float32),
        clip_names=np.array([b"a", b"b"], object),
        clip_clusters=np.array(["a", "b"]),
    )
    found = Validation.of(np.array([-1.0, 2.0, -3.0, 1.0, 1.5]), table)
    assert (found.clip_auc, found.clip_accuracy) == (1.0, 0.5)
    assert found.auc == pytest.approx(2 / 6)
    assert found.accuracy == pytest.approx(3 / 5)


def test_metadata_is_json_for_people_too(trained):
    text = (trained / card.FILE).read_text()
    assert json.loads(text)
    assert "\n" in text
