"""Fakes of a list, and the real clips that they were made from by the fakes' groups."""

from pathlib import Path

import pytest
from listings import clips_by_path, make, write_list

from preprocessing.datasets.clip import Listing
from preprocessing.datasets.listing import list_clips
from preprocessing.manifest.build import build_manifest
from preprocessing.manifest.leaks import leaks


def listed(root: Path, *rows: str, header: str = "path,label,group") -> Listing:
    """The listing of rows whose files are all there."""
    make(root, *(row.split(",")[0] for row in rows))
    write_list(root, *rows, header=header)
    return list_clips(root)


@pytest.mark.parametrize(
    "group", ["y", "y.mp4", "real/y.mp4", "./real/y.mp4", "real\\y.mp4", "real/y"]
)
def test_a_group_calls_an_original_by_path_file_or_name(tmp_path, group):
    listing = listed(tmp_path, "real/y.mp4,real,", "x.mp4,fake," + group)
    assert clips_by_path(listing)["x.mp4"].source == "real/y.mp4"
    assert not listing.problems


@pytest.mark.parametrize("group", ["c", "y", "y.jpg", "real/y.jpg"])
def test_a_group_calls_an_original_with_a_clip_by_its_file_too(tmp_path, group):
    listing = listed(
        tmp_path, "real/y.jpg,real,c,", f"x.jpg,fake,,{group}", header="path,label,clip,group"
    )
    assert clips_by_path(listing)["x.jpg"].source == "real/y.jpg"


def test_a_group_calls_pictures_by_the_file_of_their_video(tmp_path):
    listing = listed(
        tmp_path,
        "crops/y_1_0.jpg,real,y,",
        "crops/y_2_0.jpg,real,y,",
        "x.jpg,fake,x,y.mp4",
        header="path,label,clip,group",
    )
    assert clips_by_path(listing)["x.jpg"].source == "crops/y"


def test_an_original_stays_in_the_split_of_its_fake(tmp_path):
    """Rows as DFDC's metadata has them: a fake names its original's file."""
    pairs = [(f"real/{n}.mp4,real,", f"fake/f{n}.mp4,fake,{n}.mp4") for n in range(12)]
    listed(tmp_path, *(row for pair in pairs for row in pair))
    manifest = build_manifest(tmp_path, "list", "identity", 0.25, 0.25, 1)
    splits = {clip.path: clip.split for clip in manifest.clips}
    assert all(splits[f"real/{n}.mp4"] == splits[f"fake/f{n}.mp4"] for n in range(12))
    assert leaks(manifest.clips).clean


def test_originals_of_one_name_are_one_group_with_their_fakes(tmp_path):
    """FaceForensics++ at two compressions: the fake beside an original was made from that one."""
    clips = clips_by_path(
        listed(
            tmp_path,
            "c23/000.mp4,real,",
            "c40/000.mp4,real,",
            "c23/000_003.mp4,fake,000",
            "c40/000_003.mp4,fake,000.mp4",
            "fake/000_003.mp4,fake,000",
        )
    )
    assert {clip.group for clip in clips.values()} == {"000"}
    assert clips["c23/000_003.mp4"].source == "c23/000.mp4"
    assert clips["c40/000_003.mp4"].source == "c40/000.mp4"
    assert clips["fake/000_003.mp4"].source == ""


def test_frames_of_originals_of_one_name_are_one_group(tmp_path):
    listing = listed(
        tmp_path,
        "c23/000_1.jpg,real,",
        "c23/000_2.jpg,real,",
        "c40/000_1.jpg,real,",
        "fake/000_003.mp4,fake,000",
        "c40/001_1.jpg,real,",
    )
    groups = {path: clip.group for path, clip in clips_by_path(listing).items()}
    assert groups.pop("c40/001_1.jpg") == "c40/001"
    assert len(set(groups.values())) == 1


def test_a_file_named_like_a_group_of_other_clips_is_not_meant(tmp_path):
    clips = clips_by_path(
        listed(
            tmp_path,
            "ann/1.jpg,real,1",
            "bob/1.jpg,real,2",
            "cid/3.jpg,real,2",
            "ann/f.jpg,fake,1",
            "cid/f.jpg,fake,3",
            "dot/9.jpg,real,3",
        )
    )
    assert [clips[path].group for path in ("ann/1.jpg", "bob/1.jpg", "cid/3.jpg")] == list("122")
    assert clips["ann/f.jpg"].source == "ann/1.jpg"
    assert clips["cid/f.jpg"].source == ""


def test_groups_that_no_real_clip_has_are_told_once(tmp_path):
    listing = listed(
        tmp_path,
        "r.mp4,real,session",
        "f1.mp4,fake,session",
        "f2.mp4,fake,r",
        "f3.mp4,fake,absent",
        "f4.mp4,fake,absent",
    )
    (problem,) = listing.problems
    assert problem.reason.startswith("2 fakes have a group that no real clip has")
    assert problem.named == "clips.csv (row 5: group 'absent')"


def test_without_real_clips_groups_of_fakes_are_not_told(tmp_path):
    assert not listed(tmp_path, "f1.mp4,fake,a", "f2.mp4,fake,b").problems
