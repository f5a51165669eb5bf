import math

import numpy as np
import pytest
from serving_support.words import make_thresholds

from preprocessing.support.errors import UsageError
from serving.model.aggregation import probability
from serving.model.conformal import ConformalClips, conformal_clips
from serving.model.operating_points import OperatingPoints
from serving.model.rates import Rates
from serving.model.thresholds import conformal_thresholds, earlier_thresholds

# What the version before this one wrote beside a model: thresholds as P(fake) only.
OLD_CARD = {
    "operating_points": {
        "split": "val",
        "real_clips": 300,
        "fake_clips": 300,
        "points": [
            {"name": "eer", "threshold": 0.5373266447168217, "fpr": 0.31, "tpr": 0.69},
            {"name": "fpr_0.1", "threshold": 0.7718034118710107, "fpr": 0.1, "tpr": 0.39},
            {"name": "fpr_0.05", "threshold": 0.8346529012434543, "fpr": 0.05, "tpr": 0.27},
            {"name": "fpr_0.01", "threshold": 0.9200811742036105, "fpr": 0.01, "tpr": 0.08},
            {"name": "fpr_0.001", "threshold": 0.9509243543062011, "fpr": 0.0, "tpr": 0.03},
        ],
    }
}


def fitted(logits, labels, clusters=None, **rates):
    """The thresholds of clips, by default each of a person of its own."""
    clusters = np.arange(len(logits)) if clusters is None else clusters
    clips = conformal_clips(np.array(logits), np.array(labels), np.array(clusters))
    return conformal_thresholds(ConformalClips.from_dict(clips), Rates(**rates))


def test_each_class_is_ruled_out_at_its_own_rate():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 1000)
    logits = (rng.normal(size=2000) + labels).astype(np.float32)
    found = fitted(logits, labels, false_positive_rate=0.02, miss_rate=0.1)
    assert np.mean(logits[labels == 0] > found.fake_above_logit) == 0.019
    assert np.mean(logits[labels == 1] < found.real_below_logit) == 0.099
    assert found.real_below_logit < found.fake_above_logit
    bounds = (-99.0, found.real_below_logit, found.fake_above_logit, 99.0)
    words = ["real", "uncertain", "uncertain", "fake"]
    assert [found.verdict(logit) for logit in bounds] == words
    # With more false positives allowed, more is fake, and no more is real.
    more = fitted(logits, labels, false_positive_rate=0.1, miss_rate=0.1)
    assert more.fake_above_logit < found.fake_above_logit
    assert more.real_below_logit == found.real_below_logit


def test_words_change_just_beyond_the_thresholds():
    found = make_thresholds(2.0, -1.0)
    assert found.verdict(math.nextafter(2.0, 3.0)) == "fake"
    assert {found.verdict(logit) for logit in (2.0, 0.0, -1.0)} == {"uncertain"}
    assert found.verdict(math.nextafter(-1.0, -2.0)) == "real"


@pytest.mark.parametrize("logit", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_logits_that_are_not_finite_have_no_word(logit):
    with pytest.raises(ValueError, match="no verdict"):
        make_thresholds().verdict(logit)


def test_what_is_unlike_both_classes_is_uncertain():
    logits = [*np.linspace(-3, -1, 99), *np.linspace(2, 4, 99)]
    found = fitted(logits, np.repeat([0, 1], 99))
    assert found.verdict(-2.9) == "real"
    assert found.verdict(3.9) == "fake"
    assert {found.verdict(logit) for logit in (-0.9, 0.0, 1.9)} == {"uncertain"}
    # Above the highest real one by far, and below 5% of the fakes.
    assert found.fake_above_logit == pytest.approx(logits[99 + 4])


@pytest.mark.parametrize(("persons", "word"), [(21, "uncertain"), (98, "uncertain"), (99, "fake")])
def test_few_persons_call_nothing_fake(persons, word):
    labels = np.repeat([0, 1], [persons, 99])
    found = fitted(np.where(labels, 5.0, -5.0) + np.linspace(0, 1, len(labels)), labels)
    assert found.verdict(1e6) == word
    few = f"no clip is called fake, for {persons} clusters of real clips cannot show 1.0%"
    assert (few in found.text()) == (word == "uncertain")


def test_clips_of_one_person_are_one_witness():
    labels = np.repeat([0, 1], 400)
    logits = np.concatenate([np.linspace(-3, -1, 400), np.linspace(1, 3, 400)])
    assert fitted(logits, labels).verdict(9.0) == "fake"
    found = fitted(logits, labels, np.arange(800) // 8)
    assert (found.real_clips, found.real_clusters) == (400, 50)
    assert found.verdict(9.0) == "uncertain"
    assert "it takes 99, and theirs show 2.0% at least" in found.text()


def test_the_text_says_rates_thresholds_and_clips():
    assert make_thresholds(0.4978, -0.0101).text() == (
        "fake: above 0.622, where at most 1.0% of real clips are; real: below 0.497, where at most "
        "5.0% of fakes are; uncertain: else (for clips like those of validation: 400 real ones in "
        "300 and 200 fake ones in 100 clusters of persons)"
    )


def test_small_rates_are_told_in_full():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 3000)
    logits = rng.normal(size=6000) + labels
    text = fitted(logits, labels, false_positive_rate=0.0004, miss_rate=0.0015).text()
    assert "where at most 0.04% of real clips are" in text
    assert "where at most 0.15% of fakes are" in text
    few = fitted(logits[2700:3300], labels[2700:3300], false_positive_rate=0.0004).text()
    assert "300 clusters of real clips cannot show 0.04%: it takes 2499" in few
    assert "and theirs show 0.34% at least" in few
    points = OperatingPoints.from_dict(OLD_CARD["operating_points"])
    assert "0.1% of its real clips called fake" in earlier_thresholds(points, 0.001).text()


def test_blended_fakes_are_told_from_fakes():
    text = make_thresholds(0.4978, -0.0101).text(blended_fakes=True)
    assert "at most 5.0% of fakes blended from val's real clips are; uncertain" in text
    assert "400 real ones in 300 and 200 fakes blended from them in 100 clusters" in text
    few = fitted([1.0, 2.0], [1, 1]).text(blended_fakes=True)
    assert "for 2 clusters of fakes blended from val's real clips cannot show 5.0%" in few
    assert "for val has no real clip" in few


def test_a_class_that_val_lacks_is_said():
    found = fitted([1.0, 2.0], [1, 1])
    assert {found.verdict(logit) for logit in (-9.0, 0.0, 9.0)} == {"uncertain"}
    assert "no clip is called fake, for val has no real clip" in found.text()
    assert "no clip is called real, for 2 clusters of fake clips" in found.text()


def test_saturated_thresholds_are_told_as_logits():
    text = make_thresholds(50.5, -41.0).text()
    assert text.startswith("fake: above 1.000 (logit 50.5), where")
    assert "; real: below 0.000 (logit -41), where" in text


def test_clips_beyond_the_precision_of_probabilities_get_the_right_words():
    reals, fakes = np.linspace(38, 41, 100), np.linspace(60, 63, 100)
    found = fitted([*reals, *fakes], np.repeat([0, 1], 100))
    assert {found.verdict(logit) for logit in reals} == {"real"}
    assert {found.verdict(logit) for logit in fakes[5:]} == {"fake"}
    assert found.verdict(45.0) == "uncertain"
    assert (found.fake_above, found.real_below) == (1.0, 1.0)


def test_cards_with_probabilities_give_the_words_that_they_gave():
    found = earlier_thresholds(OperatingPoints.from_dict(OLD_CARD["operating_points"]), 0.01)
    points = {p["name"]: p["threshold"] for p in OLD_CARD["operating_points"]["points"]}
    assert (found.false_positive_rate, found.miss_rate) == (0.01, None)
    assert not found.guaranteed
    assert "nothing is promised for new clips" in found.text()
    assert found.fake_above == pytest.approx(points["fpr_0.01"], rel=1e-15)
    assert found.real_below == pytest.approx(points["eer"], rel=1e-15)
    for logit in np.linspace(-6, 6, 4001):
        score = float(probability(logit))
        before = "fake" if score > points["fpr_0.01"] else "uncertain"
        before = before if score > points["eer"] else "real"
        assert found.verdict(logit) == before


@pytest.mark.parametrize("saturated", ["eer", "fpr_0.01"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_cards_with_saturated_probabilities_give_no_word(saturated, value):
    """The comparison with 1.0 called every fake real; which logit it was is lost."""
    points = [
        {**point, "threshold": value} if point["name"] == saturated else point
        for point in OLD_CARD["operating_points"]["points"]
    ]
    assert earlier_thresholds(OperatingPoints(points=points, real_clips=300), 0.01) is None


@pytest.mark.parametrize("points", [None, OperatingPoints()], ids=["no section", "one class"])
def test_models_without_points_have_no_band(points):
    assert earlier_thresholds(points, 0.01) is None


def test_a_rate_that_an_earlier_card_has_not_is_refused():
    points = OperatingPoints.from_dict(OLD_CARD["operating_points"])
    with pytest.raises(UsageError, match=r"rate of 0.1, 0.05, 0.01, 0.001, and not for 0.02"):
        earlier_thresholds(points, 0.02)


@pytest.mark.parametrize("rate", [0.0, -0.1, 0.51, math.nan, math.inf])
@pytest.mark.parametrize("name", ["false_positive_rate", "miss_rate"])
def test_rates_that_cannot_be_are_refused(name, rate):
    with pytest.raises(UsageError, match=name):
        Rates().changed(**{name: rate})
