"""A list of one's own: what it says is taken, and what cannot be is named with row and file."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from listings import FILES, MEDIA, ROWS, clips_by_path, make, needs_media, reasons, write_list

from pipeline.cli import main
from pipeline.config import load_config
from pipeline.inputs import index
from preprocessing.datasets.listing import list_clips
from preprocessing.manifest.build import build_manifest
from preprocessing.manifest.checks import check_trainable
from preprocessing.manifest.leaks import leaks
from preprocessing.support.errors import UsageError


def listed(root: Path, *rows: str, header: str) -> dict:
    """The clips of a list whose files are all there."""
    make(root, *(row.split(",")[0] for row in rows))
    write_list(root, *rows, header=header)
    return clips_by_path(list_clips(root))


class TestRows:
    def test_paths_and_labels(self, tmp_path):
        make(tmp_path, *FILES)
        write_list(tmp_path, *ROWS)
        listing = list_clips(tmp_path)
        assert listing.layout == "list"
        assert not listing.problems
        assert not listing.given
        found = {clip.path: (clip.label, clip.method, clip.dataset) for clip in listing.clips}
        assert found == {
            "a/r1.jpg": (0, "real", "list"),
            "a/r2.jpg": (0, "real", "list"),
            "b/f1.jpg": (1, "fake", "list"),
            "b/f2.jpg": (1, "fake", "list"),
        }

    @pytest.mark.parametrize("name", ["000.mp4", "video_1.mp4", "video_frame_3.gif"])
    def test_a_film_whose_name_ends_in_a_number_is_no_frame(self, tmp_path, name):
        (clip,) = listed(tmp_path, f"{name},real,mine", header="path,label,clip").values()
        assert (clip.path, clip.frames) == (name, ())

    def test_absolute_paths_through_a_link_to_a_folder_are_inside(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "data")
        make(tmp_path / "data", "sub/a.jpg")
        write_list(tmp_path / "data", f"{tmp_path}/link/sub/a.jpg,real")
        assert list(clips_by_path(list_clips(tmp_path / "data"))) == ["sub/a.jpg"]

    def test_all_columns(self, tmp_path):
        clips = listed(
            tmp_path,
            "f.mp4,fake,TEST,cf,r,ann | bob,FaceSwap,mine",
            "r.mp4,real,test,r,,ann,studio,mine",
            header="Path,LABEL, split,clip,group,identities,method,dataset",
        )
        fake, real = clips["f.mp4"], clips["r.mp4"]
        assert (fake.method, fake.dataset, fake.group) == ("FaceSwap", "mine", "r")
        assert (fake.identities, fake.official_split) == (("ann", "bob"), "test")
        assert fake.source == "r.mp4"
        assert (real.method, real.source, real.identities) == ("real", "", ("ann",))

    @pytest.mark.parametrize(
        "encode",
        [
            lambda text: text.encode("utf-8-sig"),
            lambda text: text.encode("utf-16"),
            lambda text: text.replace(",", ";").encode(),
            lambda text: text.replace(",", "\t").replace("\n", "\r\n").encode(),
            lambda text: text.replace("\n", "\n\n").encode(),
            lambda text: text.replace("/", "\\").encode(),
            lambda text: text.replace("a/r1.jpg", '"b/../a/./r1.jpg"').encode(),
        ],
        ids=["bom", "utf-16", "semicolons", "tabs", "blank lines", "backslashes", "dots"],
    )
    def test_forms_of_csv(self, tmp_path, encode):
        make(tmp_path, *FILES)
        text = "\n".join(["path,label", *ROWS]) + "\n"
        (tmp_path / "clips.csv").write_bytes(encode(text))
        listing = list_clips(tmp_path)
        assert [clip.path for clip in listing.clips] == list(FILES)
        assert not listing.problems

    def test_absolute_paths_within_the_folder(self, tmp_path):
        make(tmp_path, "a.jpg")
        write_list(tmp_path, f"{tmp_path}/a.jpg,real")
        assert [clip.path for clip in list_clips(tmp_path).clips] == ["a.jpg"]

    def test_parquet_with_numbers_lists_and_missing_values(self, tmp_path):
        make(tmp_path, "a_1.jpg", "a_2.jpg", "b.jpg")
        table = {
            "path": ["a_1.jpg", "a_2.jpg", "b.jpg"],
            "label": [1.0, 1.0, 0.0],
            "clip": ["a", "a", None],
            "identities": [["x", "y"], ["x"], None],
            "split": ["train", "train", "val"],
        }
        pd.DataFrame(table).to_parquet(tmp_path / "clips.parquet")
        listing = list_clips(tmp_path)
        clips = clips_by_path(listing)
        assert clips["a"].frames == ("a_1.jpg", "a_2.jpg")
        assert clips["a"].label == 1
        assert clips["a"].identities == ("x", "y")
        assert clips["a"].official_split == "train"
        assert clips["b.jpg"].identities == ()
        assert not listing.problems

    def test_rows_of_parquet_count_from_1(self, tmp_path):
        make(tmp_path, "a.jpg", "b.jpg")
        table = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": ["real", "faek"]})
        table.to_parquet(tmp_path / "clips.parquet")
        with pytest.raises(UsageError, match=r"row 2: label 'faek' of b\.jpg .*mean 'fake'"):
            list_clips(tmp_path)

    def test_a_folder_of_pictures_may_be_a_row(self, tmp_path):
        make(tmp_path, "x/1.png", "x/2.png", "y.mp4")
        write_list(tmp_path, "x,fake", "y.mp4,real")
        listing = list_clips(tmp_path)
        assert clips_by_path(listing)["x"].frames == ("x/1.png", "x/2.png")
        assert not listing.problems


class TestClips:
    def test_rows_of_one_clip_are_its_pictures_in_the_order_of_the_frames(self, tmp_path):
        clips = listed(
            tmp_path,
            "train/fake/c_frame_10_face_0.jpg,fake,c,ann",
            "train/fake/c_frame_9_face_0.jpg,fake,c,bob",
            "train/fake/d_frame_3_face_0.jpg,fake,d,",
            "train/fake/e.jpg,fake,e,",
            header="path,label,clip,identities",
        )
        assert clips["train/fake/c"].frames == (
            "train/fake/c_frame_9_face_0.jpg",
            "train/fake/c_frame_10_face_0.jpg",
        )
        assert clips["train/fake/c"].identities == ("ann", "bob")
        # One picture keeps its path; its name may tell the number of the frame.
        only = "train/fake/d_frame_3_face_0.jpg"
        assert clips[only].frames == (only,)
        assert clips["train/fake/e.jpg"].frames == ()

    def test_pictures_of_one_clip_in_several_folders(self, tmp_path):
        clips = listed(
            tmp_path,
            "eyes/left/1.png,real,c",
            "eyes/right/1.png,real,c",
            "d/1.png,fake,d",
            "d/2.png,fake,d",
            header="path,label,clip",
        )
        assert set(clips) == {"eyes/c", "d"}

    def test_without_a_column_clip_every_file_is_one_and_frames_stay_together(self, tmp_path):
        make(tmp_path, "x/c_1.jpg", "x/c_2.jpg", "x/00001.jpg", "x/00002.jpg")
        write_list(
            tmp_path, "x/c_1.jpg,real", "x/c_2.jpg,real", "x/00001.jpg,fake", "x/00002.jpg,real"
        )
        listing = list_clips(tmp_path)
        assert Counter(clip.group for clip in listing.clips) == {"x/c": 2, "": 2}
        assert "2 rows without a clip look like frames of 1 clips" in reasons(listing)["clips.csv"]

    def test_celeb_df_names_tell_persons_and_source(self, tmp_path):
        clips = listed(
            tmp_path,
            "f/id0_id16_0001_frame_1_face_0.jpg,fake,id0_id16_0001",
            "f/id0_id16_0001_frame_2_face_0.jpg,fake,id0_id16_0001",
            "r/id0_0001_frame_1_face_0.jpg,real,id0_0001",
            "r/id0_0001_frame_4_face_0.jpg,real,id0_0001",
            header="path,label,clip",
        )
        fake, real = clips["f/id0_id16_0001"], clips["r/id0_0001"]
        assert (fake.source, fake.identities) == ("r/id0_0001", ("id0", "id16"))
        assert real.identities == ("id0",)
        assert real.group == fake.group == "id0_0001"

    def test_celeb_df_names_of_frames_tell_them_without_a_column_clip(self, tmp_path):
        clips = listed(
            tmp_path,
            "real/id0_0000_frame_10_face_0.jpg,real",
            "fake/id0_id16_0000_frame_10_face_0.jpg,fake",
            "fake/id0_id16_0000_frame_20_face_0.jpg,fake",
            header="path,label",
        )
        real = clips.pop("real/id0_0000_frame_10_face_0.jpg")
        assert (real.identities, real.group) == (("id0",), "id0_0000")
        assert {(c.source, c.identities, c.group) for c in clips.values()} == {
            (real.path, ("id0", "id16"), "id0_0000")
        }

    def test_an_original_is_found_beside_a_frame_of_it(self, tmp_path):
        clips = listed(
            tmp_path,
            "real/id0_0000.mp4,real",
            "real/id0_0000_frame_10_face_0.jpg,real",
            "fake/id0_id16_0000.mp4,fake",
            header="path,label",
        )
        assert clips["fake/id0_id16_0000.mp4"].source == "real/id0_0000.mp4"

    def test_a_video_and_its_frames_stay_together_without_a_column_clip(self, tmp_path):
        clips = listed(
            tmp_path,
            "real/v.mp4,real",
            "real/v_frame_0.jpg,real",
            "real/v_frame_1.jpg,real",
            "real/w.mp4,real",
            header="path,label",
        )
        groups = {path: clip.group for path, clip in clips.items()}
        assert groups.pop("real/w.mp4") == ""
        assert set(groups.values()) == {"real/v"}

    def test_a_group_may_name_a_frame_of_a_clip(self, tmp_path):
        clips = listed(
            tmp_path, "o_1.jpg,real,", "o_2.jpg,real,", "f.jpg,fake,o_2", header="path,label,group"
        )
        assert clips["f.jpg"].source == "o_2.jpg"

    def test_a_group_that_two_real_clips_have_for_their_name_is_no_source(self, tmp_path):
        clips = listed(
            tmp_path,
            "1/o.jpg,real,,o",
            "2/o.jpg,real,,o",
            "3/f.jpg,fake,,o",
            header="path,label,clip,group",
        )
        assert clips["3/f.jpg"].source == ""
        assert clips["3/f.jpg"].group == "o"


class TestNamed:
    """`data.list`, and `deepfake index --list`."""

    def test_paths_start_from_the_folder_of_the_list_or_from_data_dir(self, tmp_path, capsys):
        make(tmp_path / "data", *FILES)
        inside = write_list(tmp_path / "data", *ROWS, name="mine.csv")
        outside = write_list(tmp_path, *ROWS, name="other.csv")
        for arguments in (
            ["--list", str(inside)],
            [str(tmp_path / "data"), "--list", str(outside)],
        ):
            assert main(["index", *arguments, "--set", "data.split=clip"]) == 0
            lines = [line.split() for line in capsys.readouterr().out.splitlines()]
            (clips,) = [line for line in lines if line[:1] == ["clips"]]
            assert clips == ["clips", "2", "1", "1", "4"]

    def test_other_layouts_of_the_folder_do_not_count(self, tmp_path):
        make(tmp_path, "real/a.jpg", "fake/b.jpg")
        config = load_config(
            "list", [f"data.list={write_list(tmp_path, 'real/a.jpg,fake', name='l.csv')}"]
        )
        manifest = index(config)
        assert [(clip.path, clip.label) for clip in manifest.clips] == [("real/a.jpg", 1)]
        assert manifest.layout == "list"

    def test_a_layout_that_is_asked_for_says_that_it_does_not_read_the_list(self, tmp_path):
        write_list(make(tmp_path, "real/a.jpg", "fake/b.jpg"), "real/a.jpg,fake")
        listing = list_clips(tmp_path, "folder")
        assert [clip.label for clip in listing.clips] == [1, 0]
        assert "--preset list" in reasons(listing)["clips.csv"]

    def test_another_layout_beside_it_is_refused(self, tmp_path):
        file = write_list(make(tmp_path, *FILES), *ROWS)
        with pytest.raises(UsageError, match=r"data\.layout is folder; set data\.layout=list"):
            list_clips(tmp_path, "folder", file)

    def test_an_absent_list(self, tmp_path, capsys):
        assert main(["index", "--list", str(tmp_path / "none.csv")]) == 2
        assert "none.csv is not there; data.list names a CSV" in capsys.readouterr().err

    def test_neither_folder_nor_list(self, capsys):
        assert main(["index"]) == 2
        assert "set data.dir or data.list" in capsys.readouterr().err


@needs_media
@pytest.mark.integration
class TestRealFaces:
    def test_celeb_df_faces_are_listed_as_their_list_says(self):
        manifest = index(
            load_config("folder", [f"data.dir={MEDIA}/celeb_df_v2_faces", "data.layout=auto"])
        )
        counts = Counter((clip.split, clip.label) for clip in manifest.clips)
        assert manifest.layout == "list"
        assert not manifest.problems
        assert counts == {
            ("train", 0): 119,
            ("train", 1): 807,
            ("val", 0): 29,
            ("val", 1): 141,
            ("test", 0): 30,
            ("test", 1): 130,
        }
        assert sum(len(clip.frames) for clip in manifest.clips) == 8148
        assert leaks(manifest.clips).clean
        assert check_trainable(manifest) == []

    def test_celeb_df_faces_need_no_list(self, tmp_path):
        (tmp_path / "data").mkdir()
        for split in ("train", "val", "test"):
            (tmp_path / "data" / split).symlink_to(Path(MEDIA, "celeb_df_v2_faces", split))
        by_name = clips_by_path(list_clips(tmp_path / "data"))
        by_list = clips_by_path(list_clips(Path(MEDIA, "celeb_df_v2_faces")))
        for path, clip in by_list.items():
            named = by_name.pop(path)
            assert (named.frames, named.label) == (clip.frames, clip.label)
            assert (named.source, named.identities) == (clip.source, clip.identities)
            assert named.official_split == clip.official_split
        assert not by_name

    def test_dfdc_faces_are_pairs(self):
        manifest = build_manifest(f"{MEDIA}/dfdc_faces", "auto", "auto", 0.15, 0.15, 1)
        given = Counter((clip.official_split, clip.label) for clip in manifest.clips)
        assert given == {("train", 0): 9000, ("train", 1): 9000, ("val", 0): 367, ("val", 1): 367}
        assert not manifest.problems
        assert leaks(manifest.clips).clean
        # The list has no test, which is taken out of train; val is as given.
        counts = Counter((clip.split, clip.label) for clip in manifest.clips)
        assert counts == {
            ("train", 0): 7595,
            ("train", 1): 7595,
            ("val", 0): 367,
            ("val", 1): 367,
            ("test", 0): 1405,
            ("test", 1): 1405,
        }
        clips = clips_by_path(list_clips(f"{MEDIA}/dfdc_faces"))
        fakes = [clip for clip in clips.values() if clip.label]
        assert all(clips[fake.source].group == fake.group for fake in fakes)
