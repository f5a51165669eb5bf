import itertools

import numpy as np
import pytest

from components.trainer.config import TrainingConfig
from components.trainer.crop_store import CropTable
from components.trainer.sampling import (
    PairedSampler,
    ShuffledSampler,
    build_sampler,
    find_partners,
)
from preprocessing.media.frame import middles
from preprocessing.support.errors import UsageError


def _table(rows) -> CropTable:
    """Rows of (label, clip, pair, frame) and optionally the left edge of the box."""
    rows = [(*row, 0) if len(row) == 4 else row for row in rows]
    labels, clips, pairs, frames, lefts = (np.array(column) for column in zip(*rows, strict=True))
    boxes = np.stack([lefts, lefts * 0, lefts + 10, lefts * 0 + 10], axis=1).astype(np.float32)
    names = np.array([str(i) for i in range(clips.max() + 1)], object)
    landmarks = np.zeros((len(rows), 5, 2), np.float32)
    return CropTable(labels, clips, pairs, frames * 0, frames, boxes, landmarks, names, names)


def _take(sampler, batches: int, start: int = 0) -> np.ndarray:
    return np.stack(list(itertools.islice(sampler.batches(start), batches)))


# Clip 0 has two fakes (1 and 2) at frame 0 and none at frame 1; clip 3 has no fake; the original
# of clip 4 is not there.
UNEVEN = _table(
    [
        (0, 0, 0, 0),
        (0, 0, 0, 1),
        (1, 1, 0, 0),
        (1, 2, 0, 0),
        (0, 3, 3, 0),
        (1, 4, -1, 0),
        (1, 4, -1, 1),
    ]
)
EVEN = _table([(0, i, i, 0) for i in range(20)] + [(1, 20 + i, i, 0) for i in range(20)])
REALS = _table([(0, i, i, 0) for i in range(5)])


def test_partners_are_fakes_of_the_same_original_and_frame():
    assert find_partners(UNEVEN) == {0: [2, 3]}


def test_of_several_faces_the_nearest_is_the_partner():
    table = _table([(0, 0, 0, 0, 10), (0, 0, 0, 0, 200), (1, 1, 0, 0, 195)])
    assert find_partners(table) == {1: [2]}


def test_frames_chosen_of_clips_of_unequal_length_are_pairs_all_the_same():
    whole, shorter = np.array(middles(300, 32)), 1 + np.array(middles(299, 32))
    table = _table([(0, 0, 0, n) for n in whole] + [(1, 1, 0, n) for n in shorter])
    assert find_partners(table) == {n: [32 + n] for n in range(32)}


@pytest.mark.parametrize(
    ("original", "fake", "pairs"),
    [
        ([0, 10, 20], [0, 10, 20], {0: 0, 10: 10, 20: 20}),
        ([1003, 1013, 1023], [1004, 1014], {1004: 1003, 1014: 1013}),
        ([0, 10, 20], [6, 17, 26], {6: 10, 17: 20}),
        ([0, 10, 20], [0, 4, 9, 10], {0: 0, 10: 10}),
        ([0, 10], [5], {5: 0}),
        ([0, 300, 600], [12, 313, 600], {12: 0, 600: 600}),
        ([150], [150], {150: 150}),
        ([150], [149], {}),
        ([7, 8, 9], [6, 8, 10], {8: 8}),
    ],
    ids=[
        "equal numbers",
        "each one later",
        "up to half a step",
        "equal before near",
        "in the middle the earlier",
        "far apart",
        "one frame",
        "one frame and no step",
        "next to each other",
    ],
)
def test_a_frame_goes_with_the_nearest_of_its_original(original, fake, pairs):
    table = _table([(0, 0, 0, n) for n in original] + [(1, 1, 0, n) for n in fake])
    partners = find_partners(table)
    assert {
        int(table.frames[number]): int(table.frames[real])
        for real, numbers in partners.items()
        for number in numbers
    } == pairs


def test_real_and_fake_crops_alternate_and_pairs_stand_together():
    batches = _take(PairedSampler(UNEVEN, 6, seed=1), 200)
    assert (UNEVEN.labels[batches[:, 0::2]] == 0).all()
    assert (UNEVEN.labels[batches[:, 1::2]] == 1).all()
    beside_0 = batches[:, 1::2][batches[:, 0::2] == 0]
    # As a unit of its own, crop 0 stands beside its fakes; lone fakes may stand beside it too.
    assert {2, 3} <= set(beside_0) <= {2, 3, 5, 6}
    assert np.isin(beside_0, [2, 3]).mean() > 0.5
    assert 0.4 < (beside_0[beside_0 < 4] == 2).mean() < 0.6


def test_one_pass_shows_every_real_and_every_lone_fake():
    sampler = PairedSampler(UNEVEN, 2, seed=1)
    assert sampler.steps_per_pass == 5
    for start in (0, 5):
        assert {0, 1, 4, 5, 6} <= set(_take(sampler, 5, start).ravel())


def test_passes_and_seeds_differ_and_equal_seeds_agree():
    first = _take(PairedSampler(EVEN, 4, seed=1), 20)
    np.testing.assert_array_equal(first, _take(PairedSampler(EVEN, 4, seed=1), 20))
    assert (first != _take(PairedSampler(EVEN, 4, seed=2), 20)).any()
    assert (first[:10] != first[10:]).any()
    assert (EVEN.pairs[first[:, 1::2]] == EVEN.clips[first[:, 0::2]]).all()


@pytest.mark.parametrize(
    "sampler",
    [
        PairedSampler(UNEVEN, 6, seed=1),
        PairedSampler(UNEVEN, 6, seed=1, share=0.5),
        ShuffledSampler(UNEVEN, 3, seed=1),
        ShuffledSampler(UNEVEN, 16, seed=1, weighted=True),
    ],
    ids=["paired", "pseudo-fakes", "shuffled", "weighted"],
)
def test_a_late_start_continues_as_if_nothing_had_happened(sampler):
    """Batch sizes that no pass is a multiple of, and one above the number of crops."""
    whole = _take(sampler, 25)
    for start in (1, 2, 7, 13):
        np.testing.assert_array_equal(_take(sampler, 12, start), whole[start : start + 12])


def test_with_pseudo_fakes_only_no_fake_is_used_nor_needed():
    for table in (UNEVEN, REALS):
        sampler = PairedSampler(table, 4, seed=1, share=1.0)
        assert sampler.steps_per_pass == -(-sum(table.labels == 0) // 2)
        batches = _take(sampler, 50)
        np.testing.assert_array_equal(batches[:, 1::2], -1 - batches[:, 0::2])
        assert set(batches[:, 0::2].ravel()) == set(np.flatnonzero(table.labels == 0))


def test_a_share_of_the_pairs_gets_pseudo_fakes():
    pairs = _take(PairedSampler(EVEN, 4, seed=1, share=0.3), 1000).reshape(-1, 2)
    pseudo = pairs[:, 1] < 0
    assert 0.25 < pseudo.mean() < 0.35
    np.testing.assert_array_equal(pairs[pseudo, 1], -1 - pairs[pseudo, 0])
    assert (EVEN.labels[pairs[~pseudo, 1]] == 1).all()


def test_shuffled_shows_every_crop_once_a_pass_across_batches():
    sampler = ShuffledSampler(UNEVEN, 3, seed=1)
    assert sampler.steps_per_pass == 3
    assert sampler.weights is None
    shown = _take(sampler, 7).ravel()
    passes = shown.reshape(3, 7)
    assert (np.sort(passes, axis=1) == np.arange(7)).all()
    assert (passes[0] != passes[1]).any()


def test_weights_make_classes_equal_and_their_mean_one():
    sampler = ShuffledSampler(UNEVEN, 3, seed=1, weighted=True)
    weights = sampler.weights[UNEVEN.labels]
    assert weights.mean() == pytest.approx(1.0)
    sums = [weights[UNEVEN.labels == label].sum() for label in (0, 1)]
    assert sums[0] == pytest.approx(sums[1])
    # There are fewer real crops.
    assert sampler.weights[0] > sampler.weights[1]


def test_the_configuration_chooses_the_sampler():
    def made(table=UNEVEN, **values):
        return build_sampler(table, TrainingConfig(batch_size=4, **values), seed=1)

    assert made().paired
    assert not made(sampling="shuffled").paired
    assert made(sampling="shuffled").weights is None
    assert made(sampling="weighted").weights is not None
    assert (_take(made(), 20) >= 0).all()
    assert (_take(made(pseudo_fakes="self_blended"), 20)[:, 1::2] < 0).all()
    some = _take(made(pseudo_fakes="self_blended", pseudo_fake_share=0.5), 20)[:, 1::2] < 0
    assert 0 < some.mean() < 1


def test_what_cannot_be_trained_on_is_refused():
    def build(table, **values):
        build_sampler(table, TrainingConfig(batch_size=4, **values), seed=1)

    with pytest.raises(UsageError, match=r"none of the 5 crops .* fake.*self_blended"):
        build(REALS)
    with pytest.raises(UsageError, match="fake"):
        build(REALS, pseudo_fakes="self_blended", pseudo_fake_share=0.5)
    fakes = _table([(1, i, -1, 0) for i in range(5)])
    with pytest.raises(UsageError, match=r"none of the 5 crops .* real"):
        build(fakes, pseudo_fakes="self_blended")
