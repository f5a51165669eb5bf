"""The bootstrap's parts, each against its definition."""

import math

import numpy as np
import pandas as pd
import pytest

from components.evaluation import bootstrap
from components.evaluation.scores import clusters_of
from preprocessing.extraction import face_example as names


def clip(identity: str, pair: str, dataset: str = "made") -> dict[str, str]:
    return {names.IDENTITY: identity, names.PAIR_ID: pair, names.DATASET: dataset}


class TestClustersOf:
    def test_clips_of_one_target_person_are_drawn_together(self):
        table = pd.DataFrame(
            [
                clip("id1", "real/a.mp4"),
                clip("id1|id2", "real/b.mp4"),  # A fake of id1, with the face of id2.
                clip("id2", "real/c.mp4"),
                clip("id2|id1", "real/d.mp4"),
                clip("id10", "real/e.mp4"),
            ]
        )
        assert clusters_of(table).tolist() == [
            "made:id1",
            "made:id1",
            "made:id2",
            "made:id2",
            "made:id10",
        ]

    @pytest.mark.parametrize("unknown", ["", None])
    def test_unknown_persons_leave_a_fake_with_its_original(self, unknown):
        pairs = ["real/a.mp4", "real/a.mp4", "real/b.mp4"]
        table = pd.DataFrame([clip(unknown, pair) for pair in pairs])
        assert clusters_of(table).tolist() == [f"made:{pair}" for pair in pairs]

    def test_equal_names_in_two_datasets_are_two_persons(self):
        table = pd.DataFrame([clip("id1", "a", "first"), clip("id1", "a", "second")])
        assert len(set(clusters_of(table))) == 2


def rows(clusters, resamples: int, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(bootstrap.cluster_weights(np.array(clusters), resamples, seed)))


class TestClusterWeights:
    def test_as_many_clusters_are_drawn_as_there_are(self):
        weights = rows(["a"] * 5 + ["b"] + ["c"] * 2, 400)
        assert weights.shape == (400, 8)
        # All clips of a cluster are drawn equally often.
        assert (weights[:, :5] == weights[:, :1]).all()
        assert (weights[:, 6] == weights[:, 7]).all()
        drawn = weights[:, [0, 5, 6]]
        np.testing.assert_array_equal(drawn.sum(axis=1), 3)
        # Each cluster is drawn once on average, whatever its size, with a binomial's spread.
        np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.15)
        np.testing.assert_allclose(drawn.var(axis=0), 3 * (1 / 3) * (2 / 3), atol=0.15)

    def test_seeds_repeat_and_differ(self):
        np.testing.assert_array_equal(rows(range(9), 20, seed=3), rows(range(9), 20, seed=3))
        assert (rows(range(9), 20, seed=3) != rows(range(9), 20, seed=4)).any()

    @pytest.mark.parametrize("held", [1, 9, 10, 30, 1000])
    def test_no_more_rows_are_held_than_allowed(self, monkeypatch, held):
        whole = rows(range(10), 7)
        monkeypatch.setattr(bootstrap, "_CHUNK", held)
        parts = list(bootstrap.cluster_weights(np.arange(10), 7, 0))
        # One row of ten weights at least, else as many rows as fit.
        assert max(map(len, parts)) == min(7, max(1, held // 10))
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_resamples_have_the_measures_of_the_drawn_clips():
    labels = np.array([0, 1, 0, 1, 1])
    logits = np.array([-1.0, 2.0, 0.5, -0.5, 3.0])
    clusters = np.array(["a", "a", "b", "b", "c"])
    found = bootstrap.resample(labels, logits, clusters, 50, seed=2)
    weights = rows(clusters, 50, seed=2)
    right = np.array([1, 1, 0, 0, 1])
    np.testing.assert_allclose(found["accuracy"], weights @ right / weights.sum(axis=1))
    # Where c alone is drawn there is no real clip to rank against.
    alone = weights[:, :4].sum(axis=1) == 0
    assert alone.any()
    np.testing.assert_array_equal(np.isnan(found["auc"]), alone)
    np.testing.assert_array_equal(np.isnan(found["tpr_at_fpr_1pct"]), alone)
    np.testing.assert_array_equal(np.isnan(found["eer"]), alone)


def test_resamples_by_default():
    labels, logits = np.array([0, 1] * 10), np.linspace(-1, 1, 20)
    found = bootstrap.resample(labels, logits, np.arange(20))
    assert {len(values) for values in found.values()} == {1000}
    np.testing.assert_array_equal(
        found["auc"], bootstrap.resample(labels, logits, np.arange(20), 1000, seed=0)["auc"]
    )


def test_clips_that_are_not_drawn_count_for_nothing():
    labels, logits = np.array([1, 0, 1, 0]), np.array([5.0, 4.0, 1.0, -1.0])
    weights = np.array([[0.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 0.0]])
    found = bootstrap.weighted(labels, logits, weights)
    assert found["auc"].tolist() == [1, 0]
    assert found["average_precision"].tolist() == [1, 0.5]
    assert found["eer"].tolist() == [0, 1]
    assert found["accuracy"].tolist() == [1, 0.5]


def test_informative_clusters_are_those_of_the_rarer_class():
    # Class 0 comes from a, b and c; class 1 from a and d, though it has more clips.
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    clusters = np.array(["a", "b", "c", "a", "d", "d", "d"])
    assert bootstrap.informative_clusters(labels, clusters) == 2
    assert bootstrap.informative_clusters(np.zeros(3, int), np.array(["a", "b", "b"])) == 2


class TestInterval:
    # Uniform on [0, 1], so that an end of the interval is the share of draws beyond it.
    DRAWS = np.random.default_rng(0).permutation(np.linspace(0, 1, 100_001))

    @pytest.mark.parametrize(
        ("clusters", "level", "tail"),
        [
            # Student's quantile by tables, widened by sqrt(n / (n - 1)), through the normal
            # distribution: 10 clusters, t = 2.262157, Phi(-2.384529).
            (10, 0.95, 0.008551),
            (10, 0.90, 0.026665),  # t = 1.833113
            (2, 0.90, 0.0),  # t = 6.313752, Phi(-8.93)
            (100_000, 0.95, 0.025),
        ],
    )
    def test_levels_are_widened_for_few_clusters(self, clusters, level, tail):
        low, high, why = bootstrap.interval(self.DRAWS, clusters, level)
        assert low == pytest.approx(tail, abs=2e-5)
        assert high == pytest.approx(1 - tail, abs=2e-5)
        assert why == ""

    def test_the_level_is_95_percent(self):
        assert bootstrap.interval(self.DRAWS, 50) == bootstrap.interval(self.DRAWS, 50, 0.95)

    def test_draws_without_a_value_are_left_out(self):
        gaps = np.concatenate([self.DRAWS, np.full(1000, math.nan)])
        assert bootstrap.interval(gaps, 10) == bootstrap.interval(self.DRAWS, 10)

    @pytest.mark.parametrize("clusters", [0, 1])
    def test_one_cluster_gives_none(self, clusters):
        low, high, why = bootstrap.interval(self.DRAWS, clusters)
        assert math.isnan(low)
        assert math.isnan(high)
        assert why == "no interval: one class comes from one person or clip only"

    @pytest.mark.parametrize("draws", [[], [math.nan] * 5, [0.5] * 5])
    def test_draws_that_do_not_differ_give_none(self, draws):
        low, high, why = bootstrap.interval(np.array(draws), 10)
        assert math.isnan(low)
        assert math.isnan(high)
        assert why == "no interval: every resample gives this value"
