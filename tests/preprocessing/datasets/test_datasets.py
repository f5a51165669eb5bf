"""The published datasets: what is listed of them, and what is told as a problem."""

import json
from pathlib import Path

import pytest
from listings import MEDIA, clips_by_path, make, needs_media, reasons
from name_lists import celeb_df_files, celeb_df_test_list, faceforensics_pairs

from preprocessing.datasets.clip import Problem
from preprocessing.datasets.layouts import celeb_df, dfdc, faceforensics
from preprocessing.datasets.listing import list_clips


class TestCelebDf:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        make(
            tmp_path,
            "Celeb-real/id0_0000.mp4",
            "Celeb-real/id1_0003.mp4",
            "YouTube-real/00170.mp4",
            "Celeb-synthesis/id0_id1_0000.mp4",
            "Celeb-synthesis/id7_id7_0002.mp4",
        )
        (tmp_path / celeb_df.TEST_LIST).write_text(
            "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4"
        )
        return tmp_path

    def test_labels_persons_and_sources(self, root):
        listing = list_clips(root)
        clips = clips_by_path(listing)
        assert listing.layout == "celeb_df"
        assert not listing.problems
        fake = clips["Celeb-synthesis/id0_id1_0000.mp4"]
        assert (fake.label, fake.method, fake.identities) == (1, "swap", ("id0", "id1"))
        assert fake.source == "Celeb-real/id0_0000.mp4"
        assert fake.dataset == "celeb_df_v2"
        real = clips["Celeb-real/id1_0003.mp4"]
        assert (real.label, real.method, real.identities) == (0, "real", ("id1",))
        assert clips["YouTube-real/00170.mp4"].identities == ("youtube-00170",)

    def test_a_self_blended_fake_has_one_person_and_an_absent_target(self, root):
        fake = clips_by_path(celeb_df.list_clips(root))["Celeb-synthesis/id7_id7_0002.mp4"]
        assert fake.identities == ("id7",)
        assert fake.source == "Celeb-real/id7_0002.mp4"

    def test_the_first_line_of_the_test_list_is_no_header(self, root):
        splits = {c.path: c.official_split for c in celeb_df.list_clips(root).clips}
        assert splits["YouTube-real/00170.mp4"] == "test"
        assert splits["Celeb-synthesis/id0_id1_0000.mp4"] == "test"
        assert splits["Celeb-real/id0_0000.mp4"] == "train"

    def test_one_in_the_test_list_means_real(self, root):
        (root / celeb_df.TEST_LIST).write_text("0 YouTube-real/00170.mp4\n")
        listing = celeb_df.list_clips(root)
        assert clips_by_path(listing)["YouTube-real/00170.mp4"].label == 0
        assert "contradicts" in reasons(listing)["YouTube-real/00170.mp4"]

    def test_a_partial_download_is_told_file_by_file(self, root):
        (root / celeb_df.TEST_LIST).write_text("1 Celeb-real/id9_0001.mp4\n\nnonsense\n")
        listing = celeb_df.list_clips(root)
        assert listing.problems == (
            Problem("Celeb-real/id9_0001.mp4", "named in the test list, file is missing"),
            Problem(celeb_df.TEST_LIST, "line 3 is not `label path`: 'nonsense'"),
        )

    def test_other_line_ends_and_a_byte_order_mark(self, root):
        (root / celeb_df.TEST_LIST).write_bytes(
            b"\xef\xbb\xbf1 YouTube-real/00170.mp4\r\n1 Celeb-real\\id0_0000.mp4\r\n"
        )
        listing = celeb_df.list_clips(root)
        assert not listing.problems
        assert [c.path for c in listing.clips if c.official_split == "test"] == [
            "Celeb-real/id0_0000.mp4",
            "YouTube-real/00170.mp4",
        ]

    def test_without_the_list_there_is_no_official_split(self, root):
        (root / celeb_df.TEST_LIST).unlink()
        listing = celeb_df.list_clips(root)
        assert {clip.official_split for clip in listing.clips} == {""}
        assert "no official split" in reasons(listing)[celeb_df.TEST_LIST]

    def test_reencoded_clips_keep_list_and_target(self, tmp_path):
        make(tmp_path, "Celeb-real/id0_0000.avi", "Celeb-synthesis/id0_id1_0000.mkv")
        (tmp_path / celeb_df.TEST_LIST).write_text("1 Celeb-real/id0_0000.mp4\n")
        clips = clips_by_path(celeb_df.list_clips(tmp_path))
        assert clips["Celeb-real/id0_0000.avi"].official_split == "test"
        assert clips["Celeb-synthesis/id0_id1_0000.mkv"].source == "Celeb-real/id0_0000.avi"

    def test_a_foreign_name_is_kept_and_told(self, root):
        make(root, "Celeb-real/holiday.mp4")
        listing = celeb_df.list_clips(root)
        assert clips_by_path(listing)["Celeb-real/holiday.mp4"].identities == ()
        assert "who may leak" in reasons(listing)["Celeb-real/holiday.mp4"]

    def test_demo_is_read_alike_but_not_called_celeb_df(self, root):
        listing = list_clips(root, "demo")
        assert listing.layout == "demo"
        assert len(listing.clips) == 5
        assert {clip.dataset for clip in listing.clips} == {"demo"}

    def test_the_whole_dataset_has_its_published_counts(self):
        listing = celeb_df.clips_of_names(celeb_df_files(), celeb_df_test_list())
        assert not listing.problems

        def count(clips):
            folders = [clip.path.split("/")[0] for clip in clips]
            return [folders.count(name) for name in celeb_df.FOLDERS]

        test = [clip for clip in listing.clips if clip.official_split == "test"]
        assert count(listing.clips) == [590, 300, 5639]
        assert count(test) == [108, 70, 340]
        assert "YouTube-real/00170.mp4" in {clip.path for clip in test}
        persons = {p for clip in listing.clips for p in clip.identities if p.startswith("id")}
        assert persons == {f"id{n}" for n in range(62)} - {"id14", "id15", "id18"}
        present = {clip.path for clip in listing.clips}
        assert all(clip.source in present for clip in listing.clips if clip.label == 1)


class TestFaceForensics:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        make(
            tmp_path,
            "original_sequences/youtube/c23/videos/071.mp4",
            "original_sequences/youtube/raw/videos/071.mp4",
            "original_sequences/youtube/c23/videos/054.mp4",
            "original_sequences/actors/c23/videos/01__kitchen_pan.mp4",
            "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4",
            "manipulated_sequences/Deepfakes/c40/videos/071_054.mp4",
            "manipulated_sequences/FaceShifter/c23/videos/054_071.mp4",
            "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__kitchen_pan__A1B2C3D4.mp4",
        )
        make(tmp_path, *(f"splits/{split}.json" for split in ("train", "val", "test")))
        for split, pairs in (("train", [["071", "054"]]), ("val", []), ("test", [])):
            (tmp_path / "splits" / f"{split}.json").write_text(json.dumps(pairs))
        return tmp_path

    def test_compressions_methods_and_actors(self, root):
        listing = list_clips(root)
        assert listing.layout == "faceforensics"
        assert not listing.problems
        clips = clips_by_path(listing)
        assert len(clips) == 8
        fake = clips["manipulated_sequences/Deepfakes/c23/videos/071_054.mp4"]
        assert (fake.label, fake.method) == (1, "Deepfakes")
        assert fake.identities == ("youtube-071", "youtube-054")
        assert fake.source == "original_sequences/youtube/c23/videos/071.mp4"
        assert fake.official_split == "train"
        actor = clips[
            "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__kitchen_pan__A1B2C3D4.mp4"
        ]
        assert actor.identities == ("actor-01", "actor-02")
        assert actor.source == "original_sequences/actors/c23/videos/01__kitchen_pan.mp4"
        assert actor.official_split == ""
        assert actor.method == "DeepFakeDetection"
        real = clips["original_sequences/actors/c23/videos/01__kitchen_pan.mp4"]
        assert (real.label, real.method, real.identities) == (0, "real", ("actor-01",))

    def test_compressions_of_one_clip_are_one_group(self, root):
        clips = clips_by_path(faceforensics.list_clips(root))
        group = {path: clip.group for path, clip in clips.items()}
        assert (
            group["original_sequences/youtube/raw/videos/071.mp4"]
            == group["original_sequences/youtube/c23/videos/071.mp4"]
            != group["original_sequences/youtube/c23/videos/054.mp4"]
        )

    def test_a_fake_without_an_original_of_its_compression_takes_another(self, root):
        fake = clips_by_path(faceforensics.list_clips(root))[
            "manipulated_sequences/Deepfakes/c40/videos/071_054.mp4"
        ]
        assert fake.source == "original_sequences/youtube/raw/videos/071.mp4"

    def test_missing_and_broken_lists(self, root):
        (root / "splits" / "test.json").write_text('{"071": ')
        (root / "splits" / "val.json").unlink()
        listing = faceforensics.list_clips(root)
        told = reasons(listing)
        assert told["splits/val.json"] == "list is missing"
        assert told["splits/test.json"].startswith("list is not JSON pairs")
        assert any(clip.official_split == "train" for clip in listing.clips)

    def test_without_lists_there_is_no_official_split(self, root):
        for path in (root / "splits").iterdir():
            path.unlink()
        (root / "splits").rmdir()
        listing = faceforensics.list_clips(root)
        assert {clip.official_split for clip in listing.clips} == {""}
        assert reasons(listing) == {"splits": "folder is missing: there is no official split"}

    def test_contradictions_of_the_lists_are_told(self, root):
        (root / "splits" / "val.json").write_text('[["071", "999"]]')
        listing = faceforensics.list_clips(root)
        told = reasons(listing)
        assert told["splits/val.json"] == "071 stands in train.json too, which counts"
        assert told["original_sequences/youtube/*/videos/999.mp4"] == (
            "named in splits/val.json, file is missing"
        )

    def test_a_pair_over_two_splits_follows_neither_list(self, root):
        (root / "splits" / "train.json").write_text('[["071", "071"]]')
        (root / "splits" / "test.json").write_text('[["054", "054"]]')
        listing = faceforensics.list_clips(root)
        path = "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4"
        assert clips_by_path(listing)[path].official_split == ""
        assert reasons(listing)[path] == "its two clips stand in different splits"

    def test_masks_and_strange_names_are_told(self, root):
        make(
            root,
            "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4",
            "manipulated_sequences/Deepfakes/c23/frames/071_054/0.png",
            "manipulated_sequences/Deepfakes/c23/videos/copy of 071_054.mp4",
        )
        listing = faceforensics.list_clips(root)
        assert reasons(listing) == {
            "manipulated_sequences/Deepfakes/masks": "not part of the layout, not read",
            "manipulated_sequences/Deepfakes/c23/frames": (
                "frames of clips that are there as videos, not read"
            ),
            "manipulated_sequences/Deepfakes/c23/videos/copy of 071_054.mp4": (
                "name does not tell the persons, who may leak"
            ),
        }
        assert len(listing.clips) == 9

    def test_the_official_lists_give_the_published_counts(self):
        pairs = faceforensics_pairs()
        names = [f"original_sequences/youtube/c23/videos/{n:03d}.mp4" for n in range(1000)]
        names += [
            f"manipulated_sequences/{method}/c23/videos/{target}_{donor}.mp4"
            for method in ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
            for members in pairs.values()
            for pair in members
            for target, donor in (pair, pair[::-1])
        ]
        listing = faceforensics.clips_of_names(names, pairs)
        assert not listing.problems
        for method in ("real", "Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"):
            splits = [c.official_split for c in listing.clips if c.method == method]
            assert [splits.count(s) for s in ("train", "val", "test")] == [720, 140, 140]

    @needs_media
    def test_the_excerpt(self):
        listing = list_clips(Path(MEDIA, "faceforensics_mini"))
        assert listing.layout == "faceforensics"
        assert not listing.problems
        assert len(listing.clips) == 47
        assert sum(clip.label for clip in listing.clips) == 32


class TestDfdc:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        rows = {
            0: {
                "a.mp4": {"label": "FAKE", "split": "train", "original": "r.mp4"},
                "b.mp4": {"label": "FAKE", "split": "train", "original": "r.mp4"},
                "r.mp4": {"label": "REAL", "split": "train", "original": None},
            },
            2: {"s.mp4": {"label": "REAL", "split": "train"}},
            10: {"c.mp4": {"label": "FAKE", "split": "train", "original": "t.mp4"}},
        }
        for part, metadata in rows.items():
            make(tmp_path, *(f"dfdc_train_part_{part}/{name}" for name in metadata))
            (tmp_path / f"dfdc_train_part_{part}/metadata.json").write_text(json.dumps(metadata))
        return tmp_path

    def test_labels_and_groups(self, root):
        listing = list_clips(root)
        assert listing.layout == "dfdc"
        assert not listing.problems
        clips = clips_by_path(listing)
        fake, real = clips["dfdc_train_part_0/a.mp4"], clips["dfdc_train_part_0/r.mp4"]
        assert (fake.label, fake.method, fake.identities) == (1, "fake", ())
        assert (real.label, real.method, real.source) == (0, "real", "")
        assert fake.source == real.path
        assert fake.group == real.group
        assert clips["dfdc_train_part_10/c.mp4"].source == "dfdc_train_part_10/t.mp4"

    def test_the_last_parts_by_number_are_held_out(self, root):
        splits = {c.path.split("/")[0]: c.official_split for c in dfdc.list_clips(root).clips}
        assert splits == {
            "dfdc_train_part_0": "train",
            "dfdc_train_part_2": "val",
            "dfdc_train_part_10": "test",
        }

    def test_rows_without_file_and_files_without_row(self, root):
        (root / "dfdc_train_part_0/a.mp4").unlink()
        make(root, "dfdc_train_part_0/z.mp4", "dfdc_train_part_3/q.mp4", "all.zip")
        listing = dfdc.list_clips(root)
        unnamed = "file that metadata.json does not name: its label is unknown"
        assert reasons(listing) == {
            "all.zip": "not part of the layout, not read",
            "dfdc_train_part_0/a.mp4": "row of metadata.json without its file",
            "dfdc_train_part_0/z.mp4": unnamed,
            "dfdc_train_part_3": "folder without metadata.json: labels are unknown",
            "dfdc_train_part_3/q.mp4": unnamed,
        }
        assert len(listing.clips) == 4

    def test_a_name_with_two_labels_is_listed_with_both(self, root):
        (root / "dfdc_train_part_2/metadata.json").write_text(
            '{"s.mp4": {"label": "REAL"}, "s.mp4": {"label": "FAKE", "original": "x.mp4"}}'
        )
        listing = dfdc.list_clips(root)
        assert [c.label for c in listing.clips if c.path.endswith("/s.mp4")] == [0, 1]
        assert "labels s.mp4 FAKE" in reasons(listing)["dfdc_train_part_2/metadata.json"]

    def test_labels_that_contradict_over_parts_are_told(self, root):
        (root / "dfdc_train_part_2/metadata.json").write_text(
            '{"s.mp4": {"label": "REAL"}, "a.mp4": {"label": "REAL"}}'
        )
        told = reasons(dfdc.list_clips(root))
        assert told["dfdc_train_part_0/metadata.json"] == (
            "labels a.mp4 FAKE, dfdc_train_part_2/metadata.json labels it REAL"
        )

    @pytest.mark.parametrize("text", ["", "[1, 2]", '{"s.mp4": "FAKE"}', "{", "\x00", '"s.mp4"'])
    def test_broken_metadata_costs_its_part_only(self, root, text):
        (root / "dfdc_train_part_2/metadata.json").write_text(text)
        listing = dfdc.list_clips(root)
        assert len(listing.clips) == 4
        assert "is not JSON" in reasons(listing)["dfdc_train_part_2/metadata.json"]
        assert "dfdc_train_part_2/s.mp4" in reasons(listing)

    def test_an_unknown_label_is_told(self, root):
        (root / "dfdc_train_part_2/metadata.json").write_text('{"s.mp4": {"label": "real?"}}')
        listing = dfdc.list_clips(root)
        assert reasons(listing)["dfdc_train_part_2/s.mp4"] == "label is neither REAL nor FAKE"

    def test_one_folder_alone_has_no_official_split(self, root):
        listing = list_clips(root / "dfdc_train_part_0")
        assert listing.layout == "dfdc"
        assert [c.path for c in listing.clips] == [
            "a.mp4",
            "b.mp4",
            "r.mp4",
        ]
        assert {clip.official_split for clip in listing.clips} == {""}

    @needs_media
    def test_the_excerpt(self):
        listing = list_clips(Path(MEDIA, "dfdc_mini"))
        assert sorted(clip.label for clip in listing.clips) == [0, 1, 1, 1]
        assert reasons(listing) == {
            "dfdc_train_part_0/awnfpubqmo.mp4": "row of metadata.json without its file"
        }
