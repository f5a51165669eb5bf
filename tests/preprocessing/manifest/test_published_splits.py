"""Splits of Celeb-DF v2 and FaceForensics++ against what is published about them."""

from collections import Counter

import pytest
from name_lists import celeb_df_files, celeb_df_test_list, faceforensics_pairs

from preprocessing.datasets.clip import SPLITS, Clip
from preprocessing.datasets.layouts import celeb_df, faceforensics
from preprocessing.manifest.clusters import clusters
from preprocessing.manifest.leaks import leaks
from preprocessing.manifest.splits import assign


@pytest.fixture(scope="module")
def celeb() -> tuple[Clip, ...]:
    return celeb_df.clips_of_names(celeb_df_files(), celeb_df_test_list()).clips


def divide(clips, protocol="identity"):
    return assign(clips, protocol, 0.15, 0.15, seed=1)


def test_celeb_df_official_leaks(celeb):
    divided = divide(celeb, "official")
    report = leaks(divided)
    persons = {p for c in divided if c.split == "test" for p in c.identities if p[0] == "i"}
    assert len(persons) == 56
    assert set(report.shared_identities) == persons
    assert (len(report.test_fakes_of_pool_clips), report.test_fakes) == (234, 340)
    assert len(report.pool_fakes_of_test_clips) == 1015
    assert "234 of 340 test fakes" in str(report)
    counts = Counter((c.split, c.label) for c in divided)
    assert (counts["test", 0], counts["test", 1]) == (178, 340)
    # Val holds about the aimed-at 15% of both classes, and no person of train.
    assert 90 < counts["val", 0] < 180
    assert 600 < counts["val", 1] < 1100
    assert not report.train_val_identities


def test_celeb_df_components(celeb):
    names = clusters(celeb, persons=True)
    persons: dict[str, set[str]] = {}
    for clip, name in zip(celeb, names, strict=True):
        persons.setdefault(name, set()).update(clip.identities)
    known = [members for name, members in persons.items() if name.startswith("id")]
    assert sorted(map(len, known)) == [1, 10, 10, 38]
    assert {f"id{n}" for n in range(39, 49)} in known
    assert {f"id{n}" for n in range(49, 59)} in known
    assert {"id36"} in known
    assert len(persons) - len(known) == 300
    counts = Counter((name, clip.label) for clip, name in zip(celeb, names, strict=True))
    assert (counts["id39", 0], counts["id39", 1]) == (91, 723)
    assert (counts["id49", 0], counts["id49", 1]) == (100, 728)


def test_celeb_df_identity_split(celeb):
    divided = divide(celeb)
    assert leaks(divided).clean
    splits = {clip.group: clip.split for clip in divided}
    assert splits["id0"] == "train"
    assert {splits["id39"], splits["id49"]} == {"val", "test"}
    reals = Counter(clip.split for clip in divided if clip.label == 0)
    assert reals["val"] / 890 == pytest.approx(0.15, abs=0.01)
    assert reals["test"] / 890 == pytest.approx(0.15, abs=0.01)


def test_celeb_df_clip_split(celeb):
    divided = divide(celeb, "clip")
    for label, total in ((0, 890), (1, 5639)):
        counts = Counter(clip.split for clip in divided if clip.label == label)
        assert counts["val"] / total == pytest.approx(0.15, abs=0.01)
        assert counts["test"] / total == pytest.approx(0.15, abs=0.01)
    assert leaks(divided).shared_identities


def test_faceforensics_official_is_720_140_140_and_clean():
    pairs = faceforensics_pairs()
    names = [f"original_sequences/youtube/raw/videos/{n:03d}.mp4" for n in range(1000)]
    names += [
        f"manipulated_sequences/{method}/raw/videos/{target}_{donor}.mp4"
        for method in ("Deepfakes", "NeuralTextures")
        for members in pairs.values()
        for pair in members
        for target, donor in (pair, pair[::-1])
    ]
    divided = divide(faceforensics.clips_of_names(names, pairs).clips, "official")
    counts = Counter((clip.method, clip.split) for clip in divided)
    for method in ("real", "Deepfakes", "NeuralTextures"):
        assert [counts[method, split] for split in SPLITS] == [720, 140, 140]
    assert leaks(divided).clean
