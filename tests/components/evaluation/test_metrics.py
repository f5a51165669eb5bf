"""Measures against scikit-learn, intervals against known truth."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from components.evaluation import bootstrap
from components.evaluation.catalogue import MEASURES, NEED_BOTH_CLASSES
from components.evaluation.intervals import measure_with_intervals
from components.evaluation.metrics import (
    calibration_bin,
    calibration_error,
    equal_error_rate,
    measure,
)
from serving.model.aggregation import probability

# What the names promise, not what the code computes them at.
TPR_AT = {"tpr_at_fpr_1pct": 0.01, "tpr_at_fpr_0.1pct": 0.001}


def drawn(seed: int, size: int = 400, distance: float = 1.2, ties: bool = False):
    """Labels and logits; with `ties`, many of them equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    logits = rng.normal(size=size) + distance * labels
    return labels, np.round(logits, 1) if ties else logits


def expected(labels, logits, weights=None) -> dict[str, float]:
    """The measures by scikit-learn, or by their definition in plain Python."""
    scores = probability(logits)
    weights = np.ones(len(labels)) if weights is None else weights
    fpr, tpr, _ = sk.roc_curve(labels, logits, sample_weight=weights, drop_intermediate=False)
    grid = np.linspace(0, 1, 2_000_001)
    crossing = grid[np.argmin(np.abs(1 - np.interp(grid, fpr, tpr) - grid))]
    edges = np.linspace(0, 1, 16)
    error = balanced = 0.0
    halves = weights / np.array([weights[labels == label].sum() for label in (0, 1)])[labels] / 2
    for low, high in itertools.pairwise(edges):
        inside = (scores >= low) & ((scores < high) | (high == 1))
        error += abs(np.sum(weights[inside] * (scores[inside] - labels[inside])))
        balanced += abs(np.sum(halves[inside] * (scores[inside] - labels[inside])))
    return {
        "accuracy": sk.accuracy_score(labels, scores > 0.5, sample_weight=weights),
        "auc": sk.roc_auc_score(labels, scores, sample_weight=weights),
        "average_precision": sk.average_precision_score(labels, scores, sample_weight=weights),
        "log_loss": sk.log_loss(labels, scores, sample_weight=weights),
        "brier": sk.brier_score_loss(labels, scores, sample_weight=weights),
        "eer": crossing,
        "calibration_error": error / weights.sum(),
        "balanced_calibration_error": balanced,
        **{name: tpr[fpr <= limit + 1e-12].max() for name, limit in TPR_AT.items()},
    }


@pytest.mark.parametrize("ties", [False, True])
def test_measures_agree_with_an_independent_computation(ties):
    labels, logits = drawn(3, ties=ties)
    found = {name: one.value for name, one in measure(labels, logits).items()}
    assert set(found) == set(MEASURES)
    assert found == pytest.approx(expected(labels, logits), abs=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_resampled_measures_are_those_of_weighted_scores(ties):
    labels, logits = drawn(5, size=120, ties=ties)
    weights = np.random.default_rng(1).integers(0, 4, (6, 120)).astype(float)
    found = bootstrap.weighted(labels, logits, weights)
    for number, row in enumerate(weights):
        one = {name: float(found[name][number]) for name in MEASURES}
        assert one == pytest.approx(expected(labels, logits, row), abs=1e-6)


def test_rates_of_false_alarms_are_those_of_the_names():
    # 2,000 real clips; fake number k has k real ones above it, for k from 0 to 39.
    labels = np.repeat([0, 1], [2000, 40])
    logits = np.concatenate([np.arange(1.0, 2001), 2000.5 - np.arange(40)])
    found = measure(labels, logits)
    # 1% allows 20 false alarms, 0.1% allows 2.
    assert found["tpr_at_fpr_1pct"].value == 21 / 40
    assert found["tpr_at_fpr_0.1pct"].value == 3 / 40
    drawn = bootstrap.weighted(labels, logits, np.ones((1, 2040)))
    assert drawn["tpr_at_fpr_1pct"].tolist() == [21 / 40]
    assert drawn["tpr_at_fpr_0.1pct"].tolist() == [3 / 40]


@pytest.mark.parametrize(("reals", "noted"), [(99, True), (100, False), (999, True), (1000, False)])
def test_a_rate_below_one_clip_is_noted(reals, noted):
    name = "tpr_at_fpr_1pct" if reals < 500 else "tpr_at_fpr_0.1pct"
    labels = np.repeat([0, 1], [reals, 5])
    note = measure(labels, np.arange(reals + 5.0))[name].note
    assert note == (f"with {reals} real ones it is the rate without any false alarm" * noted)


def test_a_score_of_one_half_is_not_called_fake():
    assert measure(np.array([0, 1]), np.zeros(2))["accuracy"].value == 0.5
    assert measure(np.array([0, 0, 1]), np.array([0.0, -1.0, 1.0]))["accuracy"].value == 1
    drawn = bootstrap.weighted(np.array([0, 1]), np.zeros(2), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert drawn["accuracy"].tolist() == [1, 0]


def test_calibration_has_15_bins_of_equal_width():
    edges = np.arange(1, 15) / 15
    assert calibration_bin(edges - 1e-9).tolist() == list(range(14))
    assert calibration_bin(edges + 1e-9).tolist() == list(range(1, 15))
    # A score of 1 has no bin of its own.
    assert calibration_bin(np.array([0.0, 1.0])).tolist() == [0, 14]
    # Bins of one and of three clips: (1 * |0.5 - 1| + 3 * |0.9 - 2/3|) / 4.
    scores, labels = np.array([0.5, 0.88, 0.9, 0.92]), np.array([1, 1, 0, 1])
    assert calibration_error(labels, scores) == pytest.approx(0.3)


@pytest.mark.parametrize("reals", [1000, 4000, 16000])
def test_balanced_calibration_does_not_depend_on_the_share_of_fakes(reals):
    """Scores that are probabilities where half of all are fake, among fewer fakes."""
    rng = np.random.default_rng(4)
    # Logarithms of the ratio of two normal densities at -1 and 1.
    logits = 2 * np.concatenate([rng.normal(-1, 1, reals), rng.normal(1, 1, 1000)])
    labels = np.repeat([0, 1], [reals, 1000])
    found = measure(labels, logits)
    assert found["balanced_calibration_error"].value < 0.03
    assert (found["calibration_error"].value > 0.1) == (reals > 1000)
    one_class = measure(np.ones(5, int), np.ones(5))["balanced_calibration_error"]
    assert math.isnan(one_class.value)
    assert one_class.note


@pytest.mark.parametrize(
    ("fpr", "tpr", "rate"),
    [
        ([0, 0.2, 1], [0, 0.6, 1], 1 / 3),  # On the line from (0.2, 0.6) to (1, 1).
        ([0, 0.3, 1], [0, 0.7, 1], 0.3),  # At a point of the curve.
        ([0, 0, 1], [0, 1, 1], 0),
        ([0, 1, 1], [0, 0, 1], 1),
        ([0.1, 1], [0.95, 1], 0.1),  # The curve begins beyond the line.
    ],
)
def test_the_equal_error_rate_is_where_the_curve_crosses(fpr, tpr, rate):
    assert equal_error_rate(np.array(fpr), np.array(tpr)) == pytest.approx(rate)


def test_a_perfect_and_a_reversed_ranking():
    labels = np.array([0, 0, 1, 1])
    perfect = measure(labels, np.array([-2.0, -1.0, 1.0, 2.0]))
    assert (perfect["auc"].value, perfect["eer"].value, perfect["accuracy"].value) == (1, 0, 1)
    reversed_ = measure(labels, np.array([2.0, 1.0, -1.0, -2.0]))
    assert (reversed_["auc"].value, reversed_["eer"].value, reversed_["accuracy"].value) == (
        0,
        1,
        0,
    )


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_only_what_it_can_tell(label):
    found = measure_with_intervals(
        np.full(40, label), np.random.default_rng(0).normal(size=40), np.arange(40), 100
    )
    for name in NEED_BOTH_CLASSES:
        assert math.isnan(found[name].value)
        assert math.isnan(found[name].low)
        assert found[name].note == f"no {'real' if label else 'fake'} one: both classes are needed"
    for name in set(MEASURES) - set(NEED_BOTH_CLASSES):
        assert found[name].low <= found[name].value <= found[name].high


def test_scores_that_are_no_numbers_measure_nothing():
    found = measure(np.array([0, 1, 1]), np.array([0.0, np.nan, np.inf]))
    assert set(found) == set(MEASURES)
    assert {one.note for one in found.values()} == {"2 of 3 scores are not numbers"}
    assert all(math.isnan(one.value) for one in found.values())


def test_nothing_measures_nothing():
    assert measure(np.empty(0, int), np.empty(0))["accuracy"].note == "nothing was scored"


def test_few_real_ones_are_noted_where_they_limit_a_rate():
    found = measure(*drawn(2, size=60))
    assert "real ones" in found["tpr_at_fpr_1pct"].note
    assert found["auc"].note == ""


def test_without_resamples_there_is_no_interval_and_no_word_about_it():
    labels, logits = drawn(2, size=300)
    found = measure_with_intervals(labels, logits, np.arange(300), 0)
    expected = measure(labels, logits)
    assert list(found) == list(expected)
    for name, row in expected.items():
        assert dataclasses.astuple(found[name]) == pytest.approx(
            dataclasses.astuple(row), nan_ok=True, abs=0, rel=0
        )


def test_no_score_needs_no_resample():
    none = np.empty(0, int)
    assert measure_with_intervals(none, none, none, 10)["auc"].note == "nothing was scored"


def test_intervals_are_those_of_the_seed_and_of_the_clusters():
    labels, logits = drawn(2, size=60)
    clusters = np.arange(60) // 3
    found = measure_with_intervals(labels, logits, clusters, 100)["auc"]
    assert found == measure_with_intervals(labels, logits, clusters, 100, seed=0)["auc"]
    assert found != measure_with_intervals(labels, logits, clusters, 100, seed=1)["auc"]
    draws = bootstrap.resample(labels, logits, clusters, 100, 0)["auc"]
    informative = bootstrap.informative_clusters(labels, clusters)
    assert (found.low, found.high, found.note) == bootstrap.interval(draws, informative)


def test_a_note_on_the_value_stands_before_that_on_the_interval():
    labels = np.array([0] * 20 + [1] * 20)
    found = measure_with_intervals(labels, np.arange(40.0), np.arange(40), 50)["tpr_at_fpr_1pct"]
    assert found.note == (
        "with 20 real ones it is the rate without any false alarm; "
        "no interval: every resample gives this value"
    )


def test_confident_mistakes_cost_without_a_limit():
    found = measure(np.array([0, 1]), np.array([800.0, -800.0]))
    assert found["log_loss"].value == pytest.approx(800)


def coverage(make, trials: int = 500) -> float:
    """Share of trials whose 95% interval of AUC holds the true value."""
    hits = 0
    for trial in range(trials):
        labels, logits, clusters, true = make(np.random.default_rng([11, trial]))
        draws = bootstrap.resample(labels, logits, clusters, 300, seed=trial)["auc"]
        informative = bootstrap.informative_clusters(labels, clusters)
        low, high, _ = bootstrap.interval(draws, informative)
        hits += low <= true <= high
    return hits / trials


@pytest.mark.parametrize(("clips", "distance"), [(30, 1.5), (80, 1.0)])
def test_intervals_hold_the_known_auc_as_often_as_they_say(clips, distance):
    def make(rng):
        labels = np.repeat([0, 1], clips)
        logits = rng.normal(size=2 * clips) + distance * labels
        return labels, logits, np.arange(2 * clips), stats.norm.cdf(distance / math.sqrt(2))

    assert 0.92 <= coverage(make) <= 0.98


def persons(by_person: bool):
    """30 persons with 4 real and 4 fake clips each; each person's clips are off by the same."""

    def make(rng):
        labels = np.tile(np.repeat([0, 1], 4), 30)
        person = np.repeat(np.arange(30), 8)
        shift = rng.normal(size=(30, 2))
        logits = rng.normal(size=240) + 1.5 * labels + shift[person, labels]
        # Of a real and a fake clip of different persons; few pairs are of the same one.
        true = stats.norm.cdf(1.5 / math.sqrt(2 * (1 + 1)))
        return labels, logits, person if by_person else np.arange(240), true

    return make


def test_intervals_over_persons_hold_where_those_over_clips_do_not():
    assert 0.92 <= coverage(persons(by_person=True)) <= 0.98
    assert coverage(persons(by_person=False)) < 0.87


def test_no_interval_is_given_where_resampling_tells_nothing():
    labels, logits = np.array([0, 0, 1, 1]), np.array([-2.0, -1.0, 1.0, 2.0])
    perfect = measure_with_intervals(labels, logits, np.arange(4), 200)["auc"]
    assert perfect.value == 1
    assert math.isnan(perfect.low)
    assert "every resample gives this value" in perfect.note
    single = measure_with_intervals(*drawn(1, 40), np.zeros(40), 200)["auc"]
    assert math.isnan(single.low)
    assert "one person or clip" in single.note


def test_intervals_are_the_same_every_time_and_do_not_depend_on_chunks(monkeypatch):
    labels, logits = drawn(4, 100)
    clusters = np.arange(100) // 2
    first = bootstrap.resample(labels, logits, clusters, 64)["eer"]
    monkeypatch.setattr(bootstrap, "_CHUNK", 100 * 64 // 4)
    np.testing.assert_array_equal(first, bootstrap.resample(labels, logits, clusters, 64)["eer"])
