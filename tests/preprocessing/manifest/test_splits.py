"""Splits: nothing leaks, everything is balanced as far as it can be, always the same way."""

import dataclasses
import os
import random
import subprocess
import sys
from collections import Counter

import pytest
from split_clips import divide, fake, real, split_of

from preprocessing.datasets.clip import SPLITS, Clip
from preprocessing.manifest.clusters import EMPTY_SHA256, clusters
from preprocessing.manifest.leaks import LeakReport, leaks
from preprocessing.support.errors import UsageError


def swap_graph(rng: random.Random) -> list[Clip]:
    """A random dataset: persons, their clips, swaps among them, frames and copied files."""
    persons = [f"p{i}" for i in range(rng.randint(2, 40))]
    reals = [
        real(f"{person}-{i}", person, sha256=f"r{person}{i}")
        for person in persons
        for i in range(rng.randint(1, 4))
    ]
    fakes = []
    for i in range(rng.randint(1, 60)):
        target, donor = rng.choice(reals), rng.choice(persons[: rng.randint(1, len(persons))])
        fakes.append(
            fake(
                str(i),
                *(target.identities[0], donor)[: rng.randint(0, 2)],
                source=rng.choice([target.path, "real/absent.mp4", ""]),
                group=rng.choice(["", "", f"g{rng.randint(0, 5)}"]),
                sha256=rng.choice([f"f{i}", f"f{rng.randint(0, 60)}", EMPTY_SHA256]),
                method=rng.choice(["swap", "reenact"]),
            )
        )
    clips = reals + fakes
    rng.shuffle(clips)
    return clips


@pytest.mark.parametrize("seed", range(60))
def test_identity_never_leaks(seed):
    clips = swap_graph(random.Random(seed))
    divided = divide(clips, seed=seed)
    # By hand first, so that the report is not its own judge.
    for read in (
        lambda clip: clip.identities,
        lambda clip: [clip.source or clip.path, clip.path],
        lambda clip: [clip.group],
        lambda clip: [clip.sha256] if clip.sha256 != EMPTY_SHA256 else [],
    ):
        where: dict[str, set[str]] = {}
        for clip in divided:
            for value in read(clip):
                where.setdefault(value, set()).add(clip.split)
        assert all(len(splits) == 1 for splits in where.values())
    layout_groups = {clip.path: clip.group for clip in clips}
    where = {}
    for clip in divided:
        if layout_groups[clip.path]:
            where.setdefault(layout_groups[clip.path], set()).add(clip.split)
    assert all(len(splits) == 1 for splits in where.values())
    assert leaks(divided).clean
    assert Counter(c.path for c in divided) == Counter(c.path for c in clips)


def test_clip_divides_the_clips_of_a_person():
    clips = [make(str(i), "p") for i in range(20) for make in (real, fake)]
    assert {clip.split for clip in divide(clips, "clip")} == set(SPLITS)
    assert {clip.group for clip in divide(clips, "clip")} == {clip.path for clip in clips}


@pytest.mark.parametrize("seed", range(20))
def test_clip_keeps_target_group_and_copies_together(seed):
    divided = divide(swap_graph(random.Random(seed)), "clip", seed=seed)
    report = leaks(divided)
    assert not report.test_fakes_of_pool_clips
    assert not report.pool_fakes_of_test_clips
    assert not report.divided_groups
    assert not report.copies


def test_order_of_the_listing_does_not_matter():
    for protocol in ("identity", "clip"):
        clips = swap_graph(random.Random(5))
        expected = divide(clips, protocol)
        for seed in range(5):
            random.Random(seed).shuffle(clips)
            assert divide(clips, protocol) == expected


def test_other_processes_divide_alike():
    code = (
        "from preprocessing.datasets.clip import Clip\n"
        "from preprocessing.manifest.splits import assign\n"
        "clips = [Clip(f'{k}/{i}.mp4', k, 'd', 'm', (f'p{i % 9}',)) for i in range(40)"
        " for k in (0, 1)]\n"
        "for p in ('identity', 'clip'):\n"
        "    print([c.split for c in assign(clips, p, .2, .2, 3)])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "12345")
    }
    assert len(outputs) == 1


def test_the_seed_chooses_another_division():
    clips = [real(str(i), f"p{i}") for i in range(30)] + [fake(str(i), f"p{i}") for i in range(30)]
    assert len({divide(clips, seed=seed) for seed in range(5)}) == 5


@pytest.mark.parametrize("protocol", ["identity", "clip"])
def test_classes_and_methods_come_near_the_fractions(protocol):
    clips = []
    for i in range(200):
        clips.append(real(str(i), f"p{i}"))
        if i % 2:
            clips += [
                fake(f"{i}-{m}", f"p{i}", source=clips[-1].path, method=m) for m in ("a", "b", "c")
            ]
    divided = divide(clips, protocol, val=0.1, test=0.2)
    for of in (lambda clip: clip.label, lambda clip: clip.method):
        total = Counter(map(of, divided))
        for split, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
            held = Counter(of(clip) for clip in divided if clip.split == split)
            for stratum, n in total.items():
                assert held[stratum] / n == pytest.approx(share, abs=0.02)


def test_few_clusters_are_balanced_too():
    # Four big clusters and five small ones: what went to test first must not starve train.
    clips = []
    for i in range(4):
        clips += [real(f"{i}{k}", f"p{i}") for k in range(2)]
        clips += [fake(f"{i}{k}", f"p{i}") for k in range(8)]
    clips += [real(f"a{i}{k}", f"a{i}") for i in range(5) for k in range(1 + i // 3)]
    for seed in range(5):
        counts = Counter((clip.split, clip.label) for clip in divide(clips, seed=seed))
        assert [counts[split, 1] for split in SPLITS] == [16, 8, 8]
        assert counts["train", 0] >= 9
        assert min(counts["val", 0], counts["test", 0]) >= 2


def test_a_single_real_clip_is_for_training():
    clips = [real("r"), fake("a"), fake("b"), fake("c")]
    for protocol in ("identity", "clip"):
        divided = split_of(divide(clips, protocol))
        assert divided["real/r.mp4"] == "train"
        assert sorted(divided.values()) == ["test", "train", "train", "val"]


def test_a_chain_of_swaps_is_one_component():
    clips = [fake(f"{i}", f"p{i}", f"p{i + 1}") for i in range(10)] + [real("p20", "p20")]
    names = clusters(clips, persons=True)
    assert set(names[:10]) == {"p0"}
    assert names[10] == "p20"


def test_empty_files_have_nothing_in_common():
    clips = [real(str(i), sha256=EMPTY_SHA256) for i in range(5)]
    assert len(set(clusters(clips, persons=True))) == 5
    assert leaks(
        [dataclasses.replace(c, split=s) for c, s in zip(clips, SPLITS, strict=False)]
    ).clean


def test_fakes_of_one_absent_original_stay_together():
    clips = [fake(str(i), source="real/absent.mp4") for i in range(4)]
    clips += [real(str(i)) for i in range(8)]
    splits = split_of(divide(clips, "clip"))
    assert len({splits[f"fake/{i}.mp4"] for i in range(4)}) == 1


def test_groups_are_named_after_their_cluster():
    clips = [real("a", "id10"), real("b", "id2"), fake("c", "id10", "id2"), real("d"), real("e")]
    groups = {clip.path: clip.group for clip in divide(clips)}
    assert groups["real/a.mp4"] == groups["real/b.mp4"] == groups["fake/c.mp4"] == "id2"
    assert groups["real/d.mp4"] == "real/d.mp4"


@pytest.mark.parametrize(
    ("val", "test"), [(0.5, 0.5), (0.9, 0.2), (-0.1, 0.2), (0.2, -0.1), (1.0, 0.0)]
)
def test_fractions_must_leave_something_for_training(val, test):
    with pytest.raises(UsageError) as caught:
        divide([real("a")], val=val, test=test)
    assert str(caught.value) == (
        f"data.val_fraction={val} and data.test_fraction={test} leave nothing for training; "
        "both together must stay below 1"
    )


def test_an_unknown_protocol():
    with pytest.raises(UsageError, match=r"^data.split=random is not known; it may be official, "):
        divide([real("a")], "random")


def test_result_is_sorted_by_path_and_label():
    # One file can be listed under both labels; the check of the manifest refuses it later.
    clips = [fake("b", "p"), real("a", "q"), Clip("fake/b.mp4", 0, "folder", "real", ("p",))]
    divided = divide(clips)
    assert [(clip.path, clip.label) for clip in divided] == [
        ("fake/b.mp4", 0),
        ("fake/b.mp4", 1),
        ("real/a.mp4", 0),
    ]


def test_the_name_of_a_cluster_is_its_first_person_then_group_then_path():
    clips = [
        fake("a", "id10", "id9", group="z"),
        real("b", group="z"),
        real("d", group="y", sha256="1"),
        real("c", group="x", sha256="1"),
        real("f", sha256="2"),
        real("e", sha256="2"),
        real("g", source="real/e.mp4"),
    ]
    assert clusters(clips, persons=True) == ["id9"] * 2 + ["x"] * 2 + ["real/e.mp4"] * 3
    assert clusters(clips, persons=False) == ["z"] * 2 + ["x"] * 2 + ["real/e.mp4"] * 3


def test_a_group_names_a_cluster_before_a_path_that_sorts_before_it():
    clips = [real("m", sha256="9"), real("n", group="zz", sha256="9")]
    assert clusters(clips, persons=False) == ["zz", "zz"]
    assert clusters(clips[::-1], persons=True) == ["zz", "zz"]


def test_a_group_a_person_a_content_and_a_path_of_the_same_text_tie_nothing():
    clips = [
        real("a", group="n"),
        real("b", "k", "n"),
        real("c", sha256="n"),
        Clip("n", 0, "folder", "real", group="m"),
    ]
    assert clusters(clips, persons=True) == ["n", "k", "real/c.mp4", "m"]


def test_names_that_are_not_text_are_divided_too():
    clips = [real(f"caf\udce9{i}", f"p{i}") for i in range(12)]
    assert {clip.split for clip in divide(clips)} == set(SPLITS)


class TestLeaks:
    def test_each_kind_is_found(self):
        clips = [
            real("a", "id0", split="train", sha256="1"),
            real("b", "id1", split="test", sha256="1"),
            fake("a", "id0", "id1", split="test", source="real/a.mp4", sha256="2"),
            fake("b", "id1", "id2", split="val", source="real/b.mp4", sha256="3"),
            fake("c", "id2", split="train", sha256="4", group="g"),
            real("d", "id3", split="train", sha256="4"),
            real("e", split="test", sha256="5", group="g"),
        ]
        report = leaks(clips)
        assert report == LeakReport(
            test_identities=2,
            shared_identities=("id0", "id1"),
            train_val_identities=("id2",),
            test_fakes=1,
            test_fakes_of_pool_clips=("fake/a.mp4",),
            pool_fakes_of_test_clips=("fake/b.mp4",),
            divided_groups=("g",),
            copies=(("real/a.mp4", "real/b.mp4"),),
            contradictions=(("fake/c.mp4", "real/d.mp4"),),
            unknown_persons=1,
        )
        assert not report.clean
        assert str(report).splitlines() == [
            "2 of 2 test identities are also in train or val: id0, id1",
            "1 identities are both in train and in val: id2",
            "1 of 1 test fakes have their target clip in train or val: fake/a.mp4",
            "1 fakes in train or val were made from real clips in test: fake/b.mp4",
            "1 groups (a clip, its frames, its fakes) stand in several splits: g",
            "1 contents stand in several splits under different names: real/a.mp4 = real/b.mp4",
            "1 contents are labelled both real and fake: fake/c.mp4 = real/d.mp4",
            "1 clips do not tell their persons, who may leak",
        ]

    @pytest.mark.parametrize(("number", "rest"), [(3, ""), (4, ", ...")])
    def test_three_examples_are_named(self, number, rest):
        persons = [f"id{i}" for i in range(number)]
        clips = [real(p + s, p, split=s) for p in persons for s in ("train", "test")]
        assert leaks(clips).lines() == [
            f"{number} of {number} test identities are also in train or val: id0, id1, id2{rest}"
        ]

    def test_clean_split_has_no_leaks(self):
        report = leaks([real("a", "p", split="train"), real("b", "q", split="test")])
        assert report.clean
        assert report.lines() == [
            "no leak: no known person, target clip, group or content in two splits"
        ]
