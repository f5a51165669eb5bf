"""Lists as people's editors save them, datasets kept as frames, and hints at the right folder."""

import codecs
import json
import shutil
from pathlib import Path

import pytest
from listings import MEDIA, clips_by_path, make, needs_media, reasons

from pipeline.score_table import any_clips
from preprocessing.datasets.layouts import celeb_df, dfdc, faceforensics
from preprocessing.datasets.listing import list_clips
from preprocessing.datasets.lists import read_list
from preprocessing.manifest.build import build_manifest
from preprocessing.manifest.manifest import Manifest
from preprocessing.manifest.table import dataset_table
from preprocessing.support.errors import UsageError

MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
}


@pytest.fixture(params=MARKS)
def save(request):
    """Saves a text as an editor does that writes a byte order mark."""

    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(MARKS[request.param] + text.replace("\n", "\r\n").encode(request.param))

    return write


class TestByteOrderMarks:
    def test_faceforensics(self, tmp_path, save):
        make(tmp_path, *(f"original_sequences/youtube/c23/videos/{n}.mp4" for n in ("000", "003")))
        save(tmp_path / "splits/train.json", '[["000", "003"]]')
        for split in ("val", "test"):
            save(tmp_path / f"splits/{split}.json", "[]")
        listing = list_clips(tmp_path)
        assert not listing.problems
        assert {clip.official_split for clip in listing.clips} == {"train"}

    def test_dfdc(self, tmp_path, save):
        make(tmp_path, "part_0/a.mp4", "part_0/b.mp4")
        rows = {"a.mp4": {"label": "FAKE", "original": "b.mp4"}, "b.mp4": {"label": "REAL"}}
        save(tmp_path / "part_0/metadata.json", json.dumps(rows))
        listing = list_clips(tmp_path)
        assert not listing.problems
        assert [clip.label for clip in listing.clips] == [1, 0]

    def test_dfdc_test_set(self, tmp_path, save):
        make(tmp_path, "a.mp4")
        save(tmp_path / "labels.csv", "filename,label\na.mp4,1\n")
        listing = list_clips(tmp_path)
        assert not listing.problems
        assert listing.clips[0].label == 1

    def test_dfdc_preview(self, tmp_path, save):
        make(tmp_path, "original_videos/1/1_A_001.mp4")
        rows = {"original_videos/1/1_A_001.mp4": {"label": "real", "target_id": "1"}}
        save(tmp_path / "dataset.json", json.dumps(rows))
        listing = list_clips(tmp_path)
        assert not listing.problems
        assert listing.clips[0].identities == ("dfdc-1",)

    def test_celeb_df(self, tmp_path, save):
        make(tmp_path, "Celeb-real/id0_0000.mp4")
        save(tmp_path / celeb_df.TEST_LIST, "1 Celeb-real/id0_0000.mp4\n")
        listing = list_clips(tmp_path)
        assert not listing.problems
        assert listing.clips[0].official_split == "test"

    def test_manifest_that_a_spreadsheet_program_saved(self, tmp_path):
        make(tmp_path / "data", "real/a.mp4", "fake/b.mp4", "fake/c.mp4")
        manifest = build_manifest(tmp_path / "data", "folder", "clip", 0.3, 0.3, 1)
        path = tmp_path / "manifest.csv"
        manifest.write_csv(path)
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
        assert Manifest.read_csv(path, "/data").clips == manifest.clips

    def test_bytes_that_are_no_text(self, tmp_path):
        (tmp_path / "list").write_bytes(b"\xff\xfea")
        with pytest.raises(UnicodeDecodeError):
            read_list(tmp_path / "list")
        assert read_list(tmp_path / "list", errors="replace") == "�"


class TestDfdc:
    @pytest.mark.parametrize("label", ["fake", "Fake", "FAKE"])
    def test_labels_in_any_case(self, tmp_path, label):
        make(tmp_path, "p/a.mp4")
        (tmp_path / "p/metadata.json").write_text(json.dumps({"a.mp4": {"label": label}}))
        (clip,) = dfdc.list_clips(tmp_path).clips
        assert clip.label == 1

    def test_test_set_with_metadata_that_says_is_fake(self, tmp_path):
        make(tmp_path, "a.mp4", "b.mp4")
        rows = {"a.mp4": {"is_fake": 1, "augmentations": []}, "b.mp4": {"is_fake": 0}}
        (tmp_path / "metadata.json").write_text(json.dumps(rows))
        make(tmp_path, "labels.csv")
        listing = dfdc.list_clips(tmp_path)
        assert [clip.label for clip in listing.clips] == [1, 0]
        assert not listing.problems

    @pytest.mark.parametrize("with_labels", [False, True])
    def test_a_test_set_with_metadata_beside_parts_is_the_test_split(self, tmp_path, with_labels):
        for part in range(3):
            make(tmp_path, f"dfdc_train_part_{part}/{part}.mp4")
            rows = json.dumps({f"{part}.mp4": {"label": "REAL"}})
            (tmp_path / f"dfdc_train_part_{part}/metadata.json").write_text(rows)
        make(tmp_path, "test/x.mp4")
        (tmp_path / "test/metadata.json").write_text('{"x.mp4": {"is_fake": 1}}')
        if with_labels:
            (tmp_path / "test/labels.csv").write_text("filename,label\nx.mp4,1\n")
        splits = {clip.path: clip.official_split for clip in list_clips(tmp_path).clips}
        assert splits == {
            "dfdc_train_part_0/0.mp4": "train",
            "dfdc_train_part_1/1.mp4": "train",
            "dfdc_train_part_2/2.mp4": "val",
            "test/x.mp4": "test",
        }

    def test_a_test_set_beside_parts_is_the_test_split(self, tmp_path):
        for part in range(3):
            make(tmp_path, f"dfdc_train_part_{part}/{part}.mp4")
            rows = json.dumps({f"{part}.mp4": {"label": "REAL"}})
            (tmp_path / f"dfdc_train_part_{part}/metadata.json").write_text(rows)
        make(tmp_path, "test/x.mp4", "test/y.mp4", "test/z.mp4")
        (tmp_path / "test/labels.csv").write_text('filename,label\nx.mp4,1\n"y.mp4",0\ngone.mp4,1')
        listing = list_clips(tmp_path)
        assert listing.layout == "dfdc"
        splits = {clip.path: clip.official_split for clip in listing.clips}
        assert splits == {
            "dfdc_train_part_0/0.mp4": "train",
            "dfdc_train_part_1/1.mp4": "train",
            "dfdc_train_part_2/2.mp4": "val",
            "test/x.mp4": "test",
            "test/y.mp4": "test",
        }
        assert reasons(listing) == {
            "test/gone.mp4": "row of labels.csv without its file",
            "test/z.mp4": "file that labels.csv does not name: its label is unknown",
        }

    def test_a_table_of_other_columns_is_no_list_of_labels(self, tmp_path):
        make(tmp_path, "a.mp4")
        (tmp_path / "labels.csv").write_text("name,class\na.mp4,1\n")
        assert not dfdc.matches(tmp_path)

    def test_rows_of_different_lengths(self, tmp_path):
        make(tmp_path, "a.mp4")
        (tmp_path / "labels.csv").write_text("filename,label\na.mp4\n")
        assert "is not CSV" in reasons(dfdc.list_clips(tmp_path))["labels.csv"]

    @pytest.mark.parametrize("name", ["", "/", "."])
    def test_a_row_without_a_name_is_told(self, tmp_path, name):
        make(tmp_path, "a.mp4")
        (tmp_path / "labels.csv").write_text(f"filename,label\na.mp4,1\n{name},0\n")
        listing = dfdc.list_clips(tmp_path)
        assert [clip.path for clip in listing.clips] == ["a.mp4"]
        assert reasons(listing) == {"labels.csv": "row of labels.csv without a name"}

    def test_preview(self, tmp_path):
        fake = "method_A/1255229/1255229_A/1255229_1003254_A_001.mp4"
        real = "original_videos/1255229/1255229_A_001.mp4"
        make(tmp_path, fake, real, "method_B/unnamed.mp4")
        rows = {
            fake: {"label": "fake", "set": "train", "target_id": "1255229", "swapped_id": 1003254},
            real: {"label": "real", "set": "test", "target_id": "1255229", "swapped_id": None},
            "method_A/gone.mp4": {"label": "fake", "set": "train", "target_id": "1"},
        }
        (tmp_path / "dataset.json").write_text(json.dumps(rows))
        listing = list_clips(tmp_path)
        clips = clips_by_path(listing)
        assert listing.layout == "dfdc"
        assert set(clips) == {fake, real}
        assert (clips[fake].label, clips[fake].method, clips[fake].source) == (1, "method_A", real)
        assert clips[fake].identities == ("dfdc-1255229", "dfdc-1003254")
        assert clips[fake].dataset == "dfdc_preview"
        assert (clips[real].label, clips[real].official_split) == (0, "test")
        assert clips[fake].official_split == "train"
        assert reasons(listing) == {
            "method_A/gone.mp4": "row of dataset.json without its file",
            "method_B/unnamed.mp4": ("file that dataset.json does not name: its label is unknown"),
        }


class TestFrames:
    def test_faceforensics(self, tmp_path):
        make(
            tmp_path,
            *(f"original_sequences/youtube/c23/frames/000/{n:03d}.png" for n in range(3)),
            *(f"manipulated_sequences/Deepfakes/c23/frames/000_003/{n:03d}.png" for n in range(2)),
            "manipulated_sequences/Deepfakes/c23/frames/000_003/notes.txt",
            "manipulated_sequences/Deepfakes/c23/frames/stray.png",
        )
        make(tmp_path, "splits/train.json", "splits/val.json", "splits/test.json")
        for split, pairs in (("train", [["000", "003"]]), ("val", []), ("test", [])):
            (tmp_path / f"splits/{split}.json").write_text(json.dumps(pairs))
        listing = faceforensics.list_clips(tmp_path)
        clips = clips_by_path(listing)
        real = clips.pop("original_sequences/youtube/c23/frames/000")
        fake = clips.pop("manipulated_sequences/Deepfakes/c23/frames/000_003")
        assert not clips, "the frames of a clip are one clip"
        assert (real.label, real.identities) == (0, ("youtube-000",))
        assert (fake.label, fake.source, fake.official_split) == (1, real.path, "train")
        folder = "manipulated_sequences/Deepfakes/c23/frames"
        told = reasons(listing)
        assert told[f"{folder}/stray.png"] == (
            "a picture outside of a folder that is named after its clip"
        )
        assert f"{folder}/000_003/notes.txt" in told

    def test_a_fake_of_frames_finds_the_video_of_its_original(self, tmp_path):
        video = "original_sequences/youtube/c40/videos/000.mp4"
        make(tmp_path, video, "manipulated_sequences/Deepfakes/c23/frames/000_003/0.png")
        clips = clips_by_path(faceforensics.list_clips(tmp_path))
        assert clips["manipulated_sequences/Deepfakes/c23/frames/000_003"].source == video

    def test_celeb_df(self, tmp_path):
        make(
            tmp_path,
            "Celeb-real/frames/id0_0000/000.png",
            "Celeb-real/frames/id0_0000/012.png",
            "Celeb-real/frames/id1_0000/000.png",
            "Celeb-real/id1_0000.mp4",
            "Celeb-synthesis/frames/id0_id1_0000/000.jpg",
        )
        (tmp_path / celeb_df.TEST_LIST).write_text("1 Celeb-real/id0_0000.mp4\n")
        listing = celeb_df.list_clips(tmp_path)
        clips = clips_by_path(listing)
        assert set(clips) == {
            "Celeb-real/frames/id0_0000",
            "Celeb-real/id1_0000.mp4",
            "Celeb-synthesis/frames/id0_id1_0000",
        }
        assert clips["Celeb-real/frames/id0_0000"].official_split == "test"
        fake = clips["Celeb-synthesis/frames/id0_id1_0000"]
        assert fake.source == "Celeb-real/frames/id0_0000"
        assert fake.identities == ("id0", "id1")
        assert reasons(listing) == {
            "Celeb-real/frames": "frames of clips that are there as videos, not read"
        }

    def test_hash_and_size_cover_names_and_contents(self, tmp_path):
        make(tmp_path, *(f"Celeb-real/frames/id0_0000/{n}.png" for n in range(12)))

        def clip():
            cache = tmp_path / "out" / "hashes.json"
            manifest = build_manifest(tmp_path, "celeb_df", "clip", 0.1, 0.1, 1, cache)
            (found,) = (clip for clip in manifest.clips if "id0" in clip.path)
            return found

        first = clip()
        folder = tmp_path / "Celeb-real/frames/id0_0000"
        assert first.size == sum(file.stat().st_size for file in folder.iterdir())
        assert clip() == first
        (folder / "7.png").write_text("another picture")
        changed = clip()
        (folder / "7.png").rename(folder / "70.png")
        assert len({first.sha256, changed.sha256, clip().sha256}) == 3


class TestHints:
    def test_archives_within_each_other(self, tmp_path):
        """Kaggle's 140k set: real_vs_fake/real-vs-fake/train/real."""
        make(tmp_path, "140k/real_vs_fake/real-vs-fake/train/real/a.jpg")
        make(tmp_path, "140k/real_vs_fake/real-vs-fake/train/fake/b.jpg", "140k/train.csv")
        for wrong in ("140k", "140k/real_vs_fake"):
            with pytest.raises(UsageError, match=r"mean .*/real-vs-fake \(layout folder\)\?"):
                list_clips(tmp_path / wrong)

    def test_a_neighbour_of_another_kind_is_not_meant(self, tmp_path):
        make(tmp_path, "celebs/originals/a.mp4", "celebs/deepfakes/b.mp4", "dfdc/x.mp4")
        (tmp_path / "dfdc/metadata.json").write_text('{"x.mp4": {"label": "REAL"}}')
        with pytest.raises(UsageError) as error:
            list_clips(tmp_path / "celebs")
        assert "did you mean" not in str(error.value)
        assert "put real clips into real/" in str(error.value)

    @pytest.mark.parametrize(
        ("inside", "layout"),
        [
            ("Celeb-real", "celeb_df"),
            ("manipulated_sequences/Deepfakes/c23", "faceforensics"),
            ("train/fake/deep", "folder"),
        ],
    )
    def test_a_part_of_a_dataset_names_the_whole(self, tmp_path, inside, layout):
        root = tmp_path / "whole"
        make(root, f"{inside}/a.mp4", "train/real/b.mp4" if layout == "folder" else "c.txt")
        with pytest.raises(UsageError, match=rf"mean .*/whole \(layout {layout}\)\?"):
            list_clips(root / inside)


class TestDivision:
    FILES = tuple(
        f"{split}/{label}/{number}.jpg"
        for split in ("Train", "Validation", "Test")
        for label in ("Real", "Fake")
        for number in range(4)
    )

    def build(self, root, protocol="auto", layout="auto"):
        return build_manifest(root, layout, protocol, 0.15, 0.15, 1)

    def test_folders_are_followed(self, tmp_path):
        make(tmp_path, *self.FILES)
        manifest = self.build(tmp_path)
        names = {"Train": "train", "Validation": "val", "Test": "test"}
        assert all(clip.split == names[clip.path.split("/")[0]] for clip in manifest.clips)
        assert manifest.protocol == "official"
        assert "split: as the train, val, test folders divide it" in dataset_table(manifest)

    def test_asked_for_another_division_it_says_so(self, tmp_path):
        make(tmp_path, *self.FILES)
        manifest = self.build(tmp_path, "identity")
        assert any(clip.split != "test" for clip in manifest.clips if "Test/" in clip.path)
        assert "FOLDERS OF THE DATASET ARE NOT FOLLOWED; data.split=auto" in dataset_table(manifest)

    def test_without_val_folder(self, tmp_path):
        make(tmp_path, *(name for name in self.FILES if "Validation" not in name))
        manifest = self.build(tmp_path)
        assert {c.split for c in manifest.clips if "Test/" in c.path} == {"test"}
        assert {c.split for c in manifest.clips if "Train/" in c.path} == {"train", "val"}
        assert "Val is taken out of train" in dataset_table(manifest)

    def test_folders_without_a_division(self, tmp_path):
        make(tmp_path, *(f"{label}/{n}.mp4" for label in ("real", "fake") for n in range(6)))
        manifest = self.build(tmp_path)
        assert manifest.protocol == "identity"
        assert "split: by person" in dataset_table(manifest)

    def test_lists_of_published_datasets_are_not_meant(self, tmp_path):
        """Celeb-DF's own test list shares its persons with the training pool."""
        make(tmp_path, *(f"Celeb-real/id{n}_0000.mp4" for n in range(6)))
        (tmp_path / celeb_df.TEST_LIST).write_text("1 Celeb-real/id0_0000.mp4\n")
        assert self.build(tmp_path).protocol == "identity"


@needs_media
class TestMediaFaults:
    LAYOUTS = Path(MEDIA, "media_faults", "layouts")

    @pytest.mark.parametrize(
        ("name", "layout", "clips"),
        [
            ("dfdcbom", "dfdc", 2),
            ("ffbom", "faceforensics", 1),
            ("dfdctest", "dfdc", 2),
            ("dfdcp", "dfdc", 2),
            ("frames/ffframes", "faceforensics", 4),
            ("train_val_test", "folder", 24),
        ],
    )
    def test_layouts_are_listed(self, name, layout, clips):
        listing = list_clips(self.LAYOUTS / name)
        assert (listing.layout, len(listing.clips)) == (layout, clips)
        assert {clip.label for clip in listing.clips} == ({0} if name == "ffbom" else {0, 1})

    def test_folders_of_a_split_are_followed(self, tmp_path):
        shutil.copytree(self.LAYOUTS / "train_val_test", tmp_path / "data")
        manifest = build_manifest(tmp_path / "data", "auto", "auto", 0.15, 0.15, 1)
        assert {clip.split for clip in manifest.clips if clip.path.startswith("Test")} == {"test"}

    def test_every_kind_of_file_is_listed_by_index_and_score_alike(self, tmp_path):
        """By content: without an ending, .jfif, .heic, GIF, Ogg, whatever the command."""
        faults = Path(MEDIA, "media_faults")
        names = {path.name for path in faults.iterdir() if path.is_file()} - {"README.md"}
        assert {"noext", "named.jfif", "pic.heic", "anim.gif", "theora.ogv"} <= names
        for name in names:
            (tmp_path / "real").mkdir(exist_ok=True)
            (tmp_path / "real" / name).symlink_to(faults / name)
        make(tmp_path, "fake/a.mp4")
        indexed = build_manifest(tmp_path, "auto", "auto", 0.15, 0.15, 1)
        assert not indexed.problems
        scored, problems = any_clips(tmp_path, tmp_path / "hashes.json", ())
        problems = [problem for problem in problems if problem.path != "hashes.json"]
        expected = {f"real/{name}" for name in names} | {"fake/a.mp4"}
        assert {c.path for c in indexed.clips} == {c.path for c in scored} == expected
        assert not problems
