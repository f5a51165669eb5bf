"""Published datasets as crops and frames, named as extraction scripts name them."""

import json

from listings import clips_by_path, make, reasons

from preprocessing.datasets.layouts import celeb_df, dfdc, faceforensics, folder


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
