"""How evenly splits divide classes, methods and clusters, held against definitions."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from split_clips import divide, fake, real, split_of

from preprocessing.datasets.clip import SPLITS, Clip


def tiny_set(rng: random.Random, persons: int) -> list[Clip]:
    """Few persons with zero to three clips of each class; both classes exist."""
    clips = []
    for person in (f"p{i}" for i in range(persons)):
        for number, kind in enumerate(rng.choice(["r", "r", "f", "rf", "rff", "rrr", "ffff"])):
            name, method = f"{person}-{number}", rng.choice(["swap", "reenact"])
            clips.append(real(name, person) if kind == "r" else fake(name, person, method=method))
    if len({clip.label for clip in clips}) == 1:
        clips.append(fake("extra", "p0") if clips[0].label == 0 else real("extra", "p0"))
    return clips


def all_qualities(clips, splits: np.ndarray) -> list[tuple[float, ...]]:
    """Faults and rounded distance of many divisions, by definition.

    Args:
      clips: one person each, p0, p1, ...
      splits: int [divisions, persons], numbers of `SPLITS`.

    Returns:
      For each division what train lacks, empty splits, what all splits lack, what test lacks, and
      the squared distance of clips, classes and methods from 70%, 15% and 15%; less is better.
    """
    strata = ["all", 0, 1, *sorted({clip.method for clip in clips})]
    counts = np.zeros((splits.shape[1], len(strata)))
    for clip in clips:
        for stratum in ("all", clip.label, clip.method):
            counts[int(clip.identities[0][1:]), strata.index(stratum)] += 1
    held = np.stack([(splits == split) @ counts for split in range(3)], axis=1)
    shares = held / counts.sum(axis=0) - np.array([0.7, 0.15, 0.15])[:, None]
    missing = (held[:, :, 1:3] == 0).sum(axis=2)
    empty = (held[:, :, 0] == 0).sum(axis=1)
    columns = missing[:, 0], empty, missing.sum(axis=1), missing[:, 2]
    return list(zip(*columns, np.round((shares**2).sum(axis=(1, 2)), 8), strict=True))


def numbered(divided, persons: int) -> np.ndarray:
    """The splits of p0, p1, ... as numbers."""
    splits = {clip.identities[0]: SPLITS.index(clip.split) for clip in divided}
    return np.array([splits.get(f"p{i}", 0) for i in range(persons)])


def every_division(persons: int) -> np.ndarray:
    return np.array(list(itertools.product(range(3), repeat=persons)))


@pytest.mark.parametrize("seed", range(20))
def test_tiny_sets_get_the_best_division_there_is(seed):
    rng = random.Random(seed)
    persons = rng.choice([2, 3, 4, 5, 6])
    clips = tiny_set(rng, persons)
    (reached,) = all_qualities(clips, numbered(divide(clips), persons)[None])
    assert reached == min(all_qualities(clips, every_division(persons)))


@pytest.mark.parametrize("seed", range(20))
def test_eight_clusters_lack_no_class_that_they_could_have(seed):
    """Seven and fewer are tried out in full; from eight on, moves mend a greedy division."""
    clips = tiny_set(random.Random(seed), 8)
    (reached,) = all_qualities(clips, numbered(divide(clips), 8)[None])
    assert reached[:3] == min(all_qualities(clips, every_division(8)))[:3]


@pytest.mark.parametrize(("persons", "seed"), [(8, 0), (8, 1), (30, 2), (30, 3), (200, 4)])
def test_no_move_of_one_cluster_improves_a_division(persons, seed):
    clips = tiny_set(random.Random(seed), persons)
    reached = numbered(divide(clips), persons)
    moves = np.repeat(reached[None], 3 * persons + 1, axis=0)
    for number, (person, split) in enumerate(itertools.product(range(persons), range(3))):
        moves[number, person] = split
    qualities = all_qualities(clips, moves)
    assert qualities[-1] == min(qualities)


def test_test_gets_both_classes_rather_than_val():
    clips = [make(f"{p}", p) for p in ("a", "b") for make in (real, fake)] + [fake("c", "c")]
    splits = split_of(divide(clips))
    assert splits["fake/c.mp4"] == "val"
    assert sorted({splits["real/a.mp4"], splits["real/b.mp4"]}) == ["test", "train"]


@pytest.mark.parametrize("protocol", ["identity", "clip"])
def test_each_method_comes_near_the_fractions(protocol):
    # A person has fakes of one method only, so balanced classes do not balance methods.
    clips = []
    for i in range(250):
        clips.append(real(str(i), f"p{i}"))
        clips.append(fake(str(i), f"p{i}", source=clips[-1].path, method="abcde"[i % 5]))
    counts = Counter((c.method, c.split) for c in divide(clips, protocol, val=0.2, test=0.2))
    for method in "abcde":
        assert [counts[method, split] for split in SPLITS] == pytest.approx([30, 10, 10], abs=1)


def test_big_clusters_are_divided_like_small_ones():
    # More clusters than single moves are tried for. Train must not take all the big ones.
    clips = [
        make(f"{p}-{i}", f"big{p}") for p in range(10) for i in range(20) for make in (real, fake)
    ]
    clips += [make(f"{p}", f"small{p}") for p in range(300) for make in (real, fake)]
    divided = divide(clips, val=0.2, test=0.2)
    splits = {clip.identities[0]: clip.split for clip in divided}
    big = Counter(split for person, split in splits.items() if person.startswith("big"))
    assert [big[split] for split in SPLITS] == [6, 2, 2]
    for label in (0, 1):
        counts = Counter(clip.split for clip in divided if clip.label == label)
        assert [counts[split] for split in SPLITS] == pytest.approx([300, 100, 100], abs=1)


def test_a_set_without_clips():
    for protocol in ("identity", "clip", "official"):
        assert divide([], protocol) == ()


def test_a_fraction_of_zero_still_gives_val_a_clip_of_each_class():
    clips = [make(f"{p}", f"p{p}") for p in range(40) for make in (real, fake)]
    counts = Counter((clip.split, clip.label) for clip in divide(clips, val=0.0, test=0.25))
    assert [counts["val", label] for label in (0, 1)] == [1, 1]
