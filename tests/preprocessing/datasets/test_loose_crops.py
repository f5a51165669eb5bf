"""Published datasets as crops and frames, named as extraction scripts name them."""

import json
from pathlib import PurePosixPath

import pytest
from listings import clips_by_path, make, reasons

from preprocessing.datasets.layouts import celeb_df, dfdc, faceforensics, folder
from preprocessing.datasets.pictures import by_clip
from preprocessing.media.picture_names import picture_name


def test_numbered_animations_are_clips_of_their_own(tmp_path):
    names = [f"{label}/video_{n}.{e}" for label in ("real", "fake") for n in "12" for e in ("gif",)]
    make(tmp_path, *names)
    clips = clips_by_path(folder.list_clips(tmp_path))
    assert sorted(clips) == sorted(names)
    assert not any(clip.frames for clip in clips.values())


def test_celeb_df(tmp_path):
    fake = [f"Celeb-synthesis/id2_id1_0005_frame_{n}_face_0.jpg" for n in (9, 10)]
    real = ["Celeb-real/id2_0005/0010.png", "Celeb-real/id2_0005/0009.png"]
    make(tmp_path, *fake, *real, "YouTube-real/00004_7.png", "YouTube-real/lamp.png")
    make(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-real/id0_0000_10.png")
    (tmp_path / celeb_df.TEST_LIST).write_text("")
    listing = celeb_df.list_clips(tmp_path)
    clips = clips_by_path(listing)
    assert clips["Celeb-synthesis/id2_id1_0005"].frames == tuple(fake)
    assert clips["Celeb-synthesis/id2_id1_0005"].identities == ("id2", "id1")
    assert clips["Celeb-synthesis/id2_id1_0005"].source == "Celeb-real/id2_0005"
    assert clips["Celeb-real/id2_0005"].frames == tuple(sorted(real))
    assert clips["YouTube-real/00004"].frames == ("YouTube-real/00004_7.png",)
    assert len(clips) == 4
    assert reasons(listing) == {
        "YouTube-real/lamp.png": "a picture whose name does not tell its clip",
        "Celeb-real/id0_0000_10.png": "pictures of clips that are there as videos, not read",
    }


def test_faceforensics(tmp_path):
    real = [f"original_sequences/youtube/c40/videos/123_{n}.png" for n in (8, 12)]
    fake = [f"manipulated_sequences/Deepfakes/c40/videos/123_045/{n}_0.png" for n in (8, 12)]
    make(tmp_path, *real, *fake)
    clips = clips_by_path(faceforensics.list_clips(tmp_path))
    assert clips["original_sequences/youtube/c40/videos/123"].frames == tuple(real)
    made = clips["manipulated_sequences/Deepfakes/c40/videos/123_045"]
    assert made.frames == tuple(fake)
    assert made.identities == ("youtube-123", "youtube-045")
    assert made.source == "original_sequences/youtube/c40/videos/123"


@pytest.mark.parametrize(
    ("names", "clips"),
    [
        ("midjourney_1.png midjourney_2.png", []),
        ("inpainting/0001.png inpainting/0002.png", []),
        ("background_1.jpg background_2.jpg", []),
        ("abcdefghij_1_0.png abcdefghij_2_0.png", ["abcdefghij"]),
        ("abcdefghij/1_0.png abcdefghij/2_0.png", ["abcdefghij"]),
        ("abcdefghij_frame_1.png abcdefghij_frame_2.png", ["abcdefghij"]),
        ("frames/abcdefghij/0001.png frames/abcdefghij/0002.png", ["frames/abcdefghij"]),
        ("id0_id1_0001_1.png id0_id1_0001_2.png", ["id0_id1_0001"]),
        ("071/0001.png 071/0002.png", ["071"]),
    ],
)
def test_what_is_surely_one_clip(names, clips):
    """Ten letters with one number are a word as well as a clip of DFDC."""
    entries = by_clip(names.split(), "", sure=True)
    assert [entry.path for entry in entries] == (clips or names.split())


def test_a_date_that_names_the_folder_is_a_clip():
    name = picture_name(PurePosixPath("real/20230101/20230101_0001.png"))
    assert (name.clip, name.frame) == ("", 1)


@pytest.mark.parametrize("sure", [False, True])
def test_photographs_in_a_folder_of_their_day_are_clips_of_their_own(sure):
    times = ("20230101_123456", "20230101_130501", "20230101_235959999")
    photographs = [f"photos/20230101/{time}.jpg" for time in times]
    frames = [f"photos/20230101/20230101_{number}.jpg" for number in ("0001", "126000", "240000")]
    entries = by_clip(photographs + frames, "photos", sure)
    assert [entry.path for entry in entries] == ["photos/20230101", *photographs]
    assert entries[0].frames == tuple(frames)


def test_numbers_that_no_record_holds_are_no_frames():
    most = 2**63 - 1
    assert picture_name(PurePosixPath(f"a_{most}.jpg"))[1:3] == (most, 0)
    assert picture_name(PurePosixPath(f"a_{most + 1}.jpg"))[1:3] == (None, 0)
    assert picture_name(PurePosixPath(f"a_frame_1_face_{most + 1}.jpg"))[1:3] == (1, 0)


def test_dfdc_with_one_number(tmp_path):
    part = "dfdc_train_part_4"
    real = [f"{part}/klmnopqrst_{n}.jpg" for n in (2, 10)]
    fake = [f"{part}/abcdefghij/{n:04}.png" for n in (2, 10)]
    make(tmp_path, *real, *fake, f"{part}/other_1.png", f"{part}/other_2.png", f"{part}/lamp.png")
    rows = {"abcdefghij.mp4": {"label": "FAKE"}, "klmnopqrst.mp4": {"label": "REAL"}}
    (tmp_path / part / "metadata.json").write_text(json.dumps(rows))
    listing = dfdc.list_clips(tmp_path)
    assert [clip.frames for clip in listing.clips] == [tuple(fake), tuple(real)]
    assert reasons(listing) == {
        f"{part}/lamp.png": "a picture whose name does not tell its clip",
        f"{part}/other_1.png": "file that metadata.json does not name: its label is unknown",
    }


def test_dfdc(tmp_path):
    part = "dfdc_train_part_4"
    fake = [f"{part}/abcdefghij/{n}_0.png" for n in (2, 10)]
    real = [f"{part}/klmnopqrst_{n}_0.jpg" for n in (2, 10)]
    make(tmp_path, *fake, *real)
    rows = {
        "abcdefghij.mp4": {"label": "FAKE", "original": "klmnopqrst.mp4"},
        "klmnopqrst.mp4": {"label": "REAL"},
    }
    (tmp_path / part / "metadata.json").write_text(json.dumps(rows))
    listing = dfdc.list_clips(tmp_path)
    assert not listing.problems
    clips = clips_by_path(listing)
    assert clips[f"{part}/abcdefghij"].frames == tuple(fake)
    assert clips[f"{part}/abcdefghij"].source == f"{part}/klmnopqrst"
    assert clips[f"{part}/klmnopqrst"].frames == tuple(real)
