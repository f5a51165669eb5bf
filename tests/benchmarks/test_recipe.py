"""The benchmark of recipes: both get the same chances, and its figures say what was measured."""

import cv2
import numpy as np
import pytest

from benchmarks import recipe
from benchmarks._recipe_picture import draw
from components.evaluation.metrics import calibration_error
from serving.model.aggregation import probability


def made(auc_shift, seed=0, count=400):
    """A Scored whose fakes lie `auc_shift` standard deviations above the reals."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    logits = rng.normal(0, 1, count) + auc_shift * labels
    history = [{"epoch": epoch, "val_auc": 0.5 + 0.1 * epoch * auc_shift} for epoch in (1, 2)]
    return recipe.Scored(labels, logits, labels[:100], logits[:100], history, 1.0)


@pytest.mark.parametrize("data", recipe.DATASETS)
def test_both_recipes_see_as_many_images_from_scratch_with_one_backbone(data):
    ours, other = (recipe.recipe(name, data, 5) for name in recipe.RECIPES)
    assert recipe.images_shown(ours) == recipe.images_shown(other)
    assert ours.training.epochs == other.training.epochs
    assert ours.model.backbone == other.model.backbone == "nasnet_mobile"
    assert ours.model.weights == other.model.weights == "none"
    assert ours.seed == other.seed == 5


def test_the_seeds_recipe_keeps_its_faults():
    other = recipe.recipe("seed", "hard", 1)
    assert (other.model.input, other.model.head) == ("unit_range", "flatten")
    training = other.training
    assert (training.batch_size, training.learning_rate) == (2, 1e-5)
    assert (training.batch_norm_momentum, training.recalibration_steps) == (0.9997, 0)
    assert (training.sampling, training.augmentation) == ("shuffled", "seed_recipe")
    assert (training.schedule, training.head_epochs) == ("constant", 0)


def test_figures_are_means_over_seeds_and_the_gain_is_on_the_hard_set():
    ours, other = [made(2.0, seed) for seed in (1, 2)], [made(0.0, seed) for seed in (3, 4)]
    found = recipe.figures({("hard", "ours"): ours, ("hard", "seed"): other})
    assert found["auc_of_ours_on_hard"].value == np.mean([run.auc for run in ours])
    gain = found["auc_gain_over_seed_recipe"]
    assert gain.value == found["auc_of_ours_on_hard"].value - found["auc_of_seed_on_hard"].value
    assert (gain.goal, gain.met) == (">= 0.10", True)
    error = found["expected_calibration_error"]
    assert error.goal == "<= 0.05"
    assert error.value == np.mean(
        [calibration_error(run.labels, probability(run.logits)) for run in ours]
    )
    assert not any("easy" in name for name in found)


def test_picture_shows_each_dataset(tmp_path):
    shifts = dict(zip(recipe.RECIPES, (2.0, 0.0), strict=True))
    runs = {(data, name): [made(shifts[name])] for data in ("hard", "easy") for name in shifts}
    draw(runs, tmp_path / "new" / "both.png")
    del runs["easy", "ours"], runs["easy", "seed"]
    draw(runs, tmp_path / "one.png")
    both, one = (cv2.imread(str(tmp_path / name)) for name in ("new/both.png", "one.png"))
    assert both.shape[0] == 2 * one.shape[0]
    # Blue is ours, red the other, both thinned with white; OpenCV has BGR.
    for color in ((180, 119, 31), (40, 39, 214)):
        thinned = 0.7 * np.array(color) + 0.3 * 255
        assert (np.abs(one - thinned).max(axis=2) < 10).sum() > 100
