"""From crops to clips, the ranges of val's clips, and what is called unusual, by hand."""

import numpy as np
import pytest

from serving.model.familiarity import (
    FEATURES,
    ClipFamiliarity,
    Familiarity,
    clip_appearance,
    familiarity_section,
    rank_familiarity,
)


def test_the_track_furthest_out_decides_and_facts_are_means_over_all_crops():
    # Distance, and two facts. Clip a has tracks 0 and 1, clip b has one.
    crops = np.array([[1, 10, 0], [3, 20, 0], [9, 30, 3], [4, 7, 1]], float)
    clips, tracks = np.array(["a", "a", "a", "b"]), np.array([0, 0, 1, 0])
    distances, facts = clip_appearance(crops, clips, tracks)
    assert distances.tolist() == [9, 4]
    assert facts.tolist() == [[20, 1], [7, 1]]


def test_the_range_of_a_fact_holds_95_percent_of_the_clips():
    facts = np.stack([np.arange(101.0), np.arange(101.0) / 7], axis=1)
    written = familiarity_section(
        np.arange(101.0), facts, np.arange(101), ("brightness", "contrast")
    )
    read = Familiarity.from_dict(written)
    assert read.split == "val"
    assert read.distances.values == tuple(range(101))
    brightness, contrast = read.facts
    assert (brightness.name, brightness.low, brightness.high) == ("brightness", 2.5, 97.5)
    # To three digits after the point.
    assert (contrast.name, contrast.low, contrast.high) == ("contrast", 0.357, 13.929)
    with pytest.raises(ValueError, match="zip"):
        familiarity_section(np.arange(101.0), facts, np.arange(101), ("brightness",))


@pytest.fixture(scope="module")
def known():
    """99 clips of as many persons: at 5%, distances above 94 are unfamiliar."""
    facts = np.stack([np.arange(99.0)], axis=1)
    return Familiarity.from_dict(
        familiarity_section(np.arange(99.0), facts, np.arange(99), ("brightness",))
    )


def test_a_clip_is_unfamiliar_where_at_most_the_rate_lies_as_far_out(known):
    low, high = known.facts[0].low, known.facts[0].high
    within = np.array([50.0])
    usual = rank_familiarity(known, 94.0, np.array([500.0]), 0.05)
    assert (usual.distance, usual.facts) == (94.0, ())
    assert usual.p_value == pytest.approx(0.06)
    far = rank_familiarity(known, 94.5, within, 0.05)
    assert (far.p_value, far.distance, far.facts) == (pytest.approx(0.05), 94.5, (FEATURES,))
    for end in (low, high):
        assert rank_familiarity(known, 200.0, np.array([end]), 0.05).facts == (FEATURES,)
    for value in (low - 0.1, high + 0.1):
        (phrase,) = rank_familiarity(known, 200.0, np.array([value]), 0.05).facts
        assert phrase == f"brightness {value:.3g}, where 95% of val's clips have 2.45 to 95.5"
    # Ten persons cannot show 5%.
    few = Familiarity(distances=first_persons(known, 10), facts=known.facts)
    assert rank_familiarity(few, 1e9, within, 0.05).facts == ()


def first_persons(known, count):
    values = known.distances.values[:count]
    return type(known.distances)(values=values, cluster_sizes=(1,) * count)


def test_plain_values():
    answer = ClipFamiliarity(0.5, 2.0, ("a",)).as_dict()
    assert answer == {"p_value": 0.5, "distance": 2.0, "facts": ["a"]}
