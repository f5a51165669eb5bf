"""Splits by a dataset's own lists: what is followed, what is filled in."""

from collections import Counter

import pytest
from split_clips import divide, fake, faults, real, split_of

from preprocessing.datasets.clip import SPLITS
from preprocessing.manifest.leaks import leaks
from preprocessing.support.errors import UsageError


def test_lists_are_followed():
    clips = [
        make(f"{split}{i}", f"{split}{i}", official_split=split)
        for split in SPLITS
        for i in range(3)
        for make in (real, fake)
    ]
    assert all(clip.split == clip.official_split for clip in divide(clips, "official"))


def test_without_lists_it_is_refused():
    with pytest.raises(UsageError) as caught:
        divide([real("a"), fake("b")], "official")
    assert str(caught.value) == (
        "data.split=official: the dataset has no official lists here; use data.split=identity, "
        "or put the lists where the dataset has them"
    )


def test_the_seed_chooses_val_and_divides_strangers():
    listed = [
        make(f"{i}", f"p{i}", official_split="test" if i < 4 else "train")
        for i in range(30)
        for make in (real, fake)
    ]
    strangers = [make(f"s{i}", f"s{i}") for i in range(30) for make in (real, fake)]
    for clips in (listed, [c for c in listed if c.official_split == "test"] + strangers):
        assert len({divide(clips, "official", seed=seed) for seed in range(4)}) == 4
        assert divide(clips, "official", seed=3) == divide(clips, "official", seed=3)


def test_val_is_carved_out_of_train_by_identity():
    clips = [
        make(f"{i}", f"p{i}", official_split="test" if i < 4 else "train")
        for i in range(24)
        for make in (real, fake)
    ]
    divided = divide(clips, "official", val=0.25)
    counts = Counter((clip.split, clip.label) for clip in divided)
    assert counts == {
        (split, label): n
        for split, n in (("train", 14), ("val", 6), ("test", 4))
        for label in (0, 1)
    }
    assert leaks(divided).clean


def test_val_is_carved_by_clip_where_all_persons_hang_together():
    clips = [real(str(i), "p", official_split="train") for i in range(10)]
    clips += [fake(str(i), "p", source=f"real/{i}.mp4", official_split="train") for i in range(10)]
    clips += [real("t", "q", official_split="test"), fake("t", "q", official_split="test")]
    divided = divide(clips, "official", val=0.2)
    assert faults(divided) == (0, 0, 0, 0)
    report = leaks(divided)
    assert report.train_val_identities == ("p",)
    assert not report.divided_groups


def test_unlisted_clips_follow_their_kin():
    clips = [real(s, s, official_split=s) for s in SPLITS]
    clips += [fake(s, s, official_split=s) for s in SPLITS]
    clips += [fake("late", "test", method="late"), real("late", "test")]
    divided = split_of(divide(clips, "official"))
    assert divided["fake/late.mp4"] == divided["real/late.mp4"] == "test"


def test_unlisted_clips_follow_most_of_their_kin():
    listed = {"train": 1, "val": 1, "test": 3}
    clips = [
        real(f"{split}{i}", "p", official_split=split)
        for split, number in listed.items()
        for i in range(number)
    ]
    clips += [real(s, s, official_split=s) for s in SPLITS]
    assert split_of(divide([*clips, fake("late", "p")], "official"))["fake/late.mp4"] == "test"
    # The list divides this person evenly: train, where nothing unseen is lost.
    clips += [real("q1", "q", official_split="train")]
    clips += [real("q2", "q", official_split="test")]
    assert split_of(divide([*clips, fake("late", "q")], "official"))["fake/late.mp4"] == "train"


def test_lists_of_val_alone_need_no_carving():
    clips = [real(s, s, official_split=s) for s in ("val", "test")]
    assert split_of(divide(clips, "official")) == {
        "real/val.mp4": "val",
        "real/test.mp4": "test",
    }


def test_carving_leaves_train_at_least_half():
    # 15% of all 120 clips would be 18 of train's 20.
    clips = [real(f"t{i}", f"t{i}", official_split="test") for i in range(50)]
    clips += [fake(f"t{i}", f"t{i}", official_split="test") for i in range(50)]
    clips += [
        make(f"{i}", f"p{i}", official_split="train") for i in range(10) for make in (real, fake)
    ]
    counts = Counter((c.split, c.label) for c in divide(clips, "official"))
    assert [counts["train", 0], counts["val", 0]] == [5, 5]
    assert [counts["train", 1], counts["val", 1]] == [5, 5]


def test_carving_by_identity_is_kept_where_both_ways_give_val_both_classes():
    # Two persons with many clips each: by clip, val would share persons with train.
    clips = [
        make(f"{p}{i}", p, official_split="test" if p == "t" else "train")
        for p in ("a", "b", "c", "t")
        for i in range(8)
        for make in (real, fake)
    ]
    divided = divide(clips, "official", val=0.2)
    assert len({clip.split for clip in divided if clip.identities == ("a",)}) == 1
    assert leaks(divided).clean


def test_without_train_nothing_is_carved():
    clips = [real(str(i), f"p{i}", official_split="test") for i in range(4)]
    assert set(split_of(divide(clips, "official")).values()) == {"test"}


def test_unlisted_strangers_are_divided_by_identity():
    clips = [real(s, s, official_split=s) for s in SPLITS]
    actors = [make(f"{i}", f"actor{i % 10}") for i in range(40) for make in (real, fake)]
    divided = divide(clips + actors, "official", val=0.2, test=0.2)
    counts = Counter(clip.split for clip in divided if clip.identities[0].startswith("actor"))
    assert counts == {"train": 48, "val": 16, "test": 16}
    assert leaks(divided).clean
