"""Plain folders, awkward files, and the detection of layouts."""

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from listings import MEDIA, clips_by_path, make, needs_media, reasons
from privileges import bound_by_modes

from preprocessing.datasets.layout import layouts
from preprocessing.datasets.layouts import folder
from preprocessing.datasets.listing import list_clips
from preprocessing.manifest.checks import left_out
from preprocessing.support.errors import UsageError


class TestFolder:
    def test_two_classes(self, tmp_path):
        make(tmp_path, "real/a.mp4", "Fake/a.MOV", "Fake/deep/b.png")
        listing = list_clips(tmp_path)
        assert listing.layout == "folder"
        assert not listing.problems
        clips = clips_by_path(listing)
        assert {path: clip.label for path, clip in clips.items()} == {
            "real/a.mp4": 0,
            "Fake/a.MOV": 1,
            "Fake/deep/b.png": 1,
        }
        assert {(c.method, c.identities, c.official_split) for c in listing.clips} == {
            ("real", (), ""),
            ("fake", (), ""),
        }

    def test_split_folders_and_their_other_names(self, tmp_path):
        make(
            tmp_path,
            "Train/real/a.mp4",
            "validation/fake/b.mp4",
            "VALID/real/c.mp4",
            "eval/real/d.mp4",
            "test/FAKE/e.mp4",
        )
        splits = {c.path[-5]: c.official_split for c in list_clips(tmp_path).clips}
        assert splits == {"a": "train", "b": "val", "c": "val", "d": "val", "e": "test"}

    def test_frames_of_one_clip_are_one_clip_and_one_group(self, tmp_path):
        make(
            tmp_path,
            "train/real/party_1.png",
            "test/real/party_2.png",
            "train/fake/party_1.png",
            "train/real/talk-frame12.jpg",
            "train/real/talk-frame13.jpg",
            "train/fake/clip7/0002.png",
            "train/fake/clip7/0001.png",
            "train/real/img_1.png",
            "train/real/img_2.png",
            "train/real/0001.png",
            "train/real/0002.png",
            "train/real/party_1.mp4",
        )
        clips = clips_by_path(folder.list_clips(tmp_path))
        group = {path: clip.group for path, clip in clips.items()}
        assert group["train/real/party_1.png"] == group["test/real/party_2.png"] == "real/party"
        assert group["train/fake/party_1.png"] == "fake/party"
        assert clips["train/real/party_1.png"].frames == ("train/real/party_1.png",)
        talk = clips["train/real/talk"]
        assert talk.frames == ("train/real/talk-frame12.jpg", "train/real/talk-frame13.jpg")
        assert talk.group == "real/talk"
        assert talk.official_split == "train"
        clip7 = clips["train/fake/clip7"]
        assert clip7.frames == ("train/fake/clip7/0001.png", "train/fake/clip7/0002.png")
        assert clip7.group == "fake/clip7"
        for alone in "img_1.png img_2.png 0001.png 0002.png party_1.mp4".split():
            assert group[f"train/real/{alone}"] == ""
            assert clips[f"train/real/{alone}"].frames == ()
        assert len(clips) == 10

    @pytest.mark.parametrize(
        "frames",
        [
            ["{}_frame_0.jpg", "{}_frame_1.jpg", "{}_frame_2.jpg"],
            ["{}_7.png"],
            ["{}/0001.png", "{}/0002.png"],
            ["frames/{}/0001.png", "frames/{}/0002.png"],
        ],
    )
    def test_the_frames_of_a_video_that_is_there_are_no_clip_besides_it(self, tmp_path, frames):
        videos = [f"{label}/{label}{n}.mp4" for label in ("real", "fake") for n in range(12)]
        for video in map(PurePosixPath, videos):
            make(tmp_path, str(video))
            make(tmp_path / video.parent, *(name.format(video.stem) for name in frames))
        listing = list_clips(tmp_path)
        assert [clip.path for clip in listing.clips] == sorted(videos)
        told = [problem.reason for problem in listing.problems]
        assert told == ["pictures of clips that are there as videos, not read"] * 24

    def test_a_video_and_its_frames_in_two_split_folders_are_one_group(self, tmp_path):
        make(tmp_path, "train/real/a.mp4", "test/real/a_1.png", "test/real/a_2.png")
        make(tmp_path, "train/real/b.mp4", "test/fake/b_1.png", "test/fake/b_2.png")
        groups = {path: clip.group for path, clip in clips_by_path(list_clips(tmp_path)).items()}
        assert groups == {
            "test/fake/b": "fake/b",
            "test/real/a": "real/a",
            "train/real/a.mp4": "real/a",
            "train/real/b.mp4": "",
        }

    @pytest.mark.parametrize(
        ("names", "clip"),
        [
            ("id0_id16_0001_frame_10_face_0.jpg id0_id16_0001_frame_9_face_0.jpg", "id0_id16_0001"),
            ("id0_id16_0001_2.png id0_id16_0001_11.png", "id0_id16_0001"),
            ("00004_frame_0_face_0.jpg 00004_frame_3_face_1.jpg", "00004"),
            ("071_054_10.png 071_054_11.png", "071_054"),
            ("071_054/0010.png 071_054/0011.png", "071_054"),
            ("Deepfakes/071_054/10_0.png Deepfakes/071_054/11_0.png", "Deepfakes/071_054"),
            ("01_02__talk__YVGY8LOK_1.png 01_02__talk__YVGY8LOK_2.png", "01_02__talk__YVGY8LOK"),
            ("frames/clip7/000.png frames/clip7/010.png", "frames/clip7"),
            ("abcdefghij_10_0.jpg abcdefghij_20_1.jpg", "abcdefghij"),
            ("abcdefghij/10_0.png abcdefghij/20_1.png", "abcdefghij"),
            ("abcdefghij_10.jpg abcdefghij_20.jpg", "abcdefghij"),
            ("20230101_frame_1.png 20230101_frame_2.png", "20230101"),
            ("20230101_123456_1.png 20230101_123456_2.png", "20230101_123456"),
            ("1234567890_1.png 1234567890_2.png", "1234567890"),
            ("clip7/frame_1.png clip7/frame_2.png", "clip7"),
            ("clip7/clip7_1.png clip7/clip7_2.png", "clip7"),
            ("some-talk_7_face_0.png some-talk_8_face_0.png", "some-talk"),
        ],
    )
    def test_the_ways_in_which_scripts_name_frames(self, tmp_path, names, clip):
        make(tmp_path, *(f"fake/{name}" for name in names.split()), "real/a.mp4")
        found = clips_by_path(list_clips(tmp_path))
        assert set(found) == {"real/a.mp4", f"fake/{clip}"}
        assert set(found[f"fake/{clip}"].frames) == {f"fake/{name}" for name in names.split()}

    @pytest.mark.parametrize(
        "names",
        [
            "00001.jpg 00002.jpg",
            "fake_1.jpg fake_2.jpg",
            "IMG_20230101_123456.jpg IMG_20230101_123457.jpg",
            "20230101_123456.jpg 20230101_123457.jpg",
            "2023-01-01_12-34-56.jpg 2023-01-01_12-34-57.jpg",
            "Screenshot_2023-01-01-12-34-56.png Screenshot_2023-01-01-12-34-57.png",
            "abcdefghij.jpg bcdefghijk.jpg",
            "id0_id1_0007.jpg id0_id1_0008.jpg",
            "a_1.mp4 a_2.mp4",
        ],
    )
    def test_what_are_no_frames_of_one_clip(self, tmp_path, names):
        make(tmp_path, *(f"fake/{name}" for name in names.split()), "real/a.mp4")
        assert len(list_clips(tmp_path).clips) == 3

    def test_a_fake_of_frames_has_the_frames_of_its_target_for_source(self, tmp_path):
        make(tmp_path, *(f"train/real/id0_0001_frame_{n}_face_0.jpg" for n in (1, 2)))
        make(tmp_path, *(f"train/fake/id0_id16_0001_frame_{n}_face_0.jpg" for n in (1, 2)))
        make(tmp_path, *(f"test/real/id0_0001_frame_{n}_face_0.jpg" for n in (8, 9)))
        make(tmp_path, "train/real/whole/id0_0001.mp4")
        clips = clips_by_path(list_clips(tmp_path))
        fake = clips["train/fake/id0_id16_0001"]
        assert (fake.source, fake.identities) == ("train/real/id0_0001", ("id0", "id16"))
        assert {clip.group for clip in clips.values()} == {"id0_0001"}

    def test_celeb_df_names_tell_persons(self, tmp_path):
        make(
            tmp_path,
            "real/id0_0007.mp4",
            "fake/id0_id6_0007.mp4",
            "fake/crops/id0_id6_0007_12.png",
            "fake/id3_0001_1.png",
        )
        clips = clips_by_path(folder.list_clips(tmp_path))
        fake = clips["fake/id0_id6_0007.mp4"]
        assert fake.identities == ("id0", "id6")
        assert fake.source == "real/id0_0007.mp4"
        frame = clips["fake/crops/id0_id6_0007_12.png"]
        assert frame.identities == ("id0", "id6")
        assert frame.source == ""
        assert frame.group == fake.group == clips["real/id0_0007.mp4"].group
        # A fake with a real clip's name: no donor is known, so nothing is.
        assert clips["fake/id3_0001_1.png"].identities == ()

    def test_what_is_no_media_is_told(self, tmp_path):
        make(tmp_path, "real/a.mp4", "fake/b.txt", "fake/.hidden.mp4", "labels.csv", ".git/x.mp4")
        (tmp_path / "fake" / "dir.mp4").mkdir()
        make(tmp_path, "fake/dir.mp4/inside.mp4")
        (tmp_path / "fake" / "gone.mp4").symlink_to("nowhere.mp4")
        (tmp_path / "fake" / "round").symlink_to(tmp_path / "fake", target_is_directory=True)
        os.mkfifo(tmp_path / "fake" / "pipe.mp4")
        listing = folder.list_clips(tmp_path)
        assert [clip.path for clip in listing.clips] == ["real/a.mp4"]
        assert reasons(listing) == {
            "fake/b.txt": "not a video or picture by its ending, nor by its content",
            "fake/dir.mp4": "a folder with the name of a media file",
            "fake/gone.mp4": "link to a file that is not there",
            "fake/pipe.mp4": "not a regular file",
            "fake/round": "link to a folder that holds it, not followed",
            "labels.csv": "not part of the layout, not read",
        }

    def test_links_to_folders_are_followed(self, tmp_path):
        elsewhere = make(tmp_path / "elsewhere", "a.mp4")
        root = make(tmp_path / "data", "real/r.mp4")
        (root / "fake").symlink_to(elsewhere, target_is_directory=True)
        assert [clip.path for clip in folder.list_clips(root).clips] == ["fake/a.mp4", "real/r.mp4"]

    def test_awkward_names(self, tmp_path):
        names = ["real/a b.mp4", 'real/it\'s "q".mp4', "fake/🎭.mp4", "fake/new\nline.mp4"]
        make(tmp_path, *names)
        assert {clip.path for clip in folder.list_clips(tmp_path).clips} == set(names)

    def test_a_name_that_is_not_utf8_is_told(self, tmp_path):
        make(tmp_path, "real/a.mp4", os.fsdecode(b"fake/\xff.mp4"))
        listing = folder.list_clips(tmp_path)
        assert len(listing.clips) == 1
        assert "not UTF-8" in listing.problems[0].reason

    def test_links_that_cannot_be_followed_are_told(self, tmp_path):
        make(tmp_path, "real/a.mp4", "fake/b.mp4")
        for place in (tmp_path, tmp_path / "real"):
            (place / "loop").symlink_to("loop")
            (place / "long.mp4").symlink_to("x" * 300)
        listing = list_clips(tmp_path)
        assert [clip.path for clip in listing.clips] == ["fake/b.mp4", "real/a.mp4"]
        assert reasons(listing) == {
            "long.mp4": "not part of the layout, not read",
            "loop": "not part of the layout, not read",
            "real/long.mp4": "cannot be looked at: File name too long",
            "real/loop": "cannot be looked at: Too many levels of symbolic links",
        }
        missing = left_out(tmp_path, listing.clips, listing.problems)
        assert len(missing) == 4

    def test_a_link_into_a_closed_folder_is_told(self, tmp_path):
        root = make(tmp_path / "data", "real/a.mp4", "fake/b.mp4")
        secret = make(tmp_path / "secret", "c.mp4", "README.txt")
        for name in ("c.mp4", "README.txt"):
            (root / "real" / name).symlink_to(secret / name)
        secret.chmod(0)
        try:
            listing = bound_by_modes(lambda: list_clips(root))
            missing = bound_by_modes(lambda: left_out(root, listing.clips, listing.problems))
        finally:
            secret.chmod(0o755)
        assert len(listing.clips) == 2
        assert set(reasons(listing).values()) == {"cannot be looked at: Permission denied"}
        assert len(missing) == 2

    def test_an_unreadable_folder_is_told(self, tmp_path):
        make(tmp_path, "real/a.mp4", "fake/b.mp4", "fake/secret/c.mp4")
        secret = tmp_path / "fake" / "secret"
        secret.chmod(0)
        try:
            listing = bound_by_modes(lambda: folder.list_clips(tmp_path))
        finally:
            secret.chmod(0o755)
        assert reasons(listing) == {"fake/secret": "folder cannot be read: Permission denied"}

    def test_strangers_in_a_split_folder_are_told(self, tmp_path):
        make(tmp_path, "train/real/a.mp4", "train/unknown/b.mp4", "test/fake/c.mp4")
        told = reasons(folder.list_clips(tmp_path))
        assert told == {"train/unknown": "not part of the layout, not read"}

    @needs_media
    def test_the_excerpt_with_its_real_leak(self):
        listing = list_clips(Path(MEDIA, "celeb_df_crops"))
        assert listing.layout == "folder"
        assert not listing.problems
        files = [(clip.official_split, len(clip.frames)) for clip in listing.clips]
        pictures = [sum(n for where, n in files if where == s) for s in ("train", "val", "test")]
        assert (len(listing.clips), pictures) == (24, [11, 12, 12])
        where = {c.official_split for c in listing.clips if c.group == "id0_0007"}
        assert where == {"train", "test"}


class TestDetection:
    @pytest.mark.parametrize(
        ("make_it", "message"),
        [
            (lambda root: root / "absent", "does not exist"),
            (lambda root: make(root, "x.mp4") / "x.mp4", "is a file; name the folder"),
            (lambda root: root, "is empty"),
        ],
    )
    def test_no_folder_to_read(self, tmp_path, make_it, message):
        with pytest.raises(UsageError, match=message):
            list_clips(make_it(tmp_path))

    def test_an_unknown_layout_is_described(self, tmp_path):
        make(tmp_path, "videos/a.mp4", "notes.txt")
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(UsageError) as error:
            list_clips(tmp_path)
        for part in (*layouts(), "Celeb-synthesis/", "loop, notes.txt, videos/", "real/ and"):
            assert part in str(error.value)

    @pytest.mark.parametrize("wrong", ["above", "data/real"])
    def test_the_folder_beside_is_proposed(self, tmp_path, wrong):
        make(tmp_path, "above/data/real/a.mp4", "above/data/fake/b.mp4")
        root = tmp_path / "above" / ("" if wrong == "above" else wrong)
        with pytest.raises(UsageError, match=r"did you mean .*data \(layout folder\)\?"):
            list_clips(root)

    def test_the_wrong_layout_names_the_right_one(self, tmp_path):
        make(tmp_path, "real/a.mp4", "fake/b.mp4")
        with pytest.raises(UsageError, match=r"celeb_df.*looks like layout folder"):
            list_clips(tmp_path, "celeb_df")

    def test_a_misspelt_layout(self, tmp_path):
        make(tmp_path, "real/a.mp4")
        with pytest.raises(UsageError, match=r"no layout 'celebdf'.*celeb_df, faceforensics"):
            list_clips(tmp_path, "celebdf")

    def test_importing_is_light(self):
        heavy = "tensorflow tfx pandas cv2 apache_beam numpy".split()
        module = "preprocessing.manifest.manifest"
        code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert out.stdout.strip() == "[]", out.stderr
