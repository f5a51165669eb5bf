"""P-values and thresholds against sums by hand."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_support.words import CARD

from preprocessing.support.errors import UsageError
from serving.model.card import ModelCard
from serving.model.conformal import ConformalClips, ReferenceClips, conformal_clips


def test_a_p_value_is_the_weight_of_what_lies_as_far_out():
    # Person a has three clips, b one: each clip of a weighs a third of b's.
    clips = ReferenceClips.of(np.array([1.0, 2.0, 3.0, 2.5]), np.array(list("aaab")))
    assert clips.clusters == 2
    assert clips.cluster_sizes == (3, 3, 1, 3)
    for value, weight in ((3.5, 0), (3.0, 1 / 3), (2.5, 4 / 3), (2.0, 5 / 3), (0.0, 2)):
        assert clips.p_high(value) == pytest.approx((1 + weight) / 3)
    for value, weight in ((0.5, 0), (1.0, 1 / 3), (2.0, 2 / 3), (2.5, 5 / 3), (9.0, 2)):
        assert clips.p_low(value) == pytest.approx((1 + weight) / 3)


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=30),
    st.floats(0.01, 0.5),
)
def test_thresholds_say_what_p_values_say(clips, rate):
    values, clusters = np.array(clips).T
    reference = ReferenceClips.of(values, clusters)
    high, low = reference.highest_kept(rate), reference.lowest_kept(rate)
    for value in np.arange(-1.0, 11.0, 0.5):
        assert (high is not None and value > high) == (reference.p_high(value) <= rate + 1e-9)
        assert (low is not None and value < low) == (reference.p_low(value) <= rate + 1e-9)


@pytest.mark.parametrize(
    ("persons", "rate", "shown"),
    [(21, 0.01, False), (98, 0.01, False), (99, 0.01, True), (18, 0.05, False), (19, 0.05, True)],
)
def test_a_rate_is_claimed_only_where_the_persons_can_show_it(persons, rate, shown):
    values = np.arange(float(persons))
    assert (ReferenceClips.of(values, values).highest_kept(rate) is not None) == shown
    # Ten clips a person are no more persons.
    many = ReferenceClips.of(np.tile(values, 10), np.tile(values, 10))
    assert many.clusters == persons
    assert (many.highest_kept(rate) is not None) == shown


def test_no_clip_rules_nothing_out():
    none = ReferenceClips.of(np.empty(0), np.empty(0))
    assert (none.p_high(9.0), none.p_low(-9.0)) == (1.0, 1.0)
    assert (none.highest_kept(0.5), none.lowest_kept(0.5)) == (None, None)
    assert none.clusters == 0
    assert none.smallest_rate == math.inf


def test_classes_are_kept_apart_and_read_back():
    logits, labels = np.array([1.5, -2.0, 0.25, 3.0]), np.array([1, 0, 0, 1])
    written = ModelCard.from_dict(
        {**CARD, "conformal": conformal_clips(logits, labels, np.array(["a", "a", "b", "b"]))}
    ).to_json()
    clips = ModelCard.from_dict(json.loads(written)).conformal
    assert clips.real.values == (-2.0, 0.25)
    assert clips.fake.values == (1.5, 3.0)
    assert clips.real.clusters == clips.fake.clusters == 2
    # For people: a list of numbers takes a line.
    assert re.search(r'"values": \[ ?-2\.0, 0\.25 ?\]', written)


def test_values_are_those_of_float32():
    logit = np.float32(0.1) + np.float32(0.2)
    (value,) = ReferenceClips.of(np.array([logit], np.float64), np.array([0])).values
    assert np.float32(value) == logit
    assert len(repr(value)) < 12


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ({"values": [1.0, 2.0], "cluster_sizes": [1]}, "cluster_sizes: 1 of 2 values"),
        ({"values": [2.0, 1.0], "cluster_sizes": [1, 1]}, "values: they must be finite and sorted"),
        ({"values": [math.nan], "cluster_sizes": [1]}, "values: they must be finite and sorted"),
        ({"values": [1.0], "cluster_sizes": [0]}, "cluster_sizes: 0 is below 1"),
        ({"values": ["1"], "cluster_sizes": [1]}, "'1' is not a number"),
    ],
)
def test_damaged_clips_are_refused(clips, message):
    good = {"values": [1.0], "cluster_sizes": [1]}
    with pytest.raises(UsageError, match=message):
        ConformalClips.from_dict({"real": clips, "fake": good})
