"""Lists that training would go wrong with: each fault is named with row and file."""

from pathlib import Path

import pytest
from listings import FILES, ROWS, make, reasons, write_list

from preprocessing.datasets.clip import SPLITS
from preprocessing.datasets.listing import list_clips
from preprocessing.manifest.build import build_manifest
from preprocessing.manifest.checks import check_trainable
from preprocessing.manifest.leaks import leaks
from preprocessing.manifest.table import dataset_table
from preprocessing.support.errors import UsageError


def refused(root: Path, *rows: str, header: str = "path,label") -> str:
    make(root, *FILES)
    write_list(root, *rows, header=header)
    with pytest.raises(UsageError) as error:
        list_clips(root)
    assert "clips.csv" in str(error.value)
    return str(error.value)


class TestRefused:
    def test_two_films_of_one_clip(self, tmp_path):
        make(tmp_path, "a/one.mp4", "a/two.mp4")
        message = refused(
            tmp_path, "a/one.mp4,real,x", "a/two.mp4,real,x", header="path,label,clip"
        )
        assert "row 2: a/one.mp4 is a video, and clip 'x' has 2 files" in message

    @pytest.mark.parametrize(
        "rows",
        [
            # Test is taken out of train, whose persons all hang together.
            [f"{i}.jpg,{('real', 'fake')[i % 2]},train,p{i}|p{i + 1}" for i in range(12)],
            # A clip without a split, of a person of test and one of train.
            [
                *(f"{s}{i}.jpg,{('real', 'fake')[i]},{s},{s}{i}" for s in SPLITS for i in (0, 1)),
                "x.jpg,fake,,train0|test0",
            ],
        ],
    )
    def test_auto_keeps_its_promise_once_the_rest_is_divided(self, tmp_path, rows):
        make(tmp_path, *(row.split(",")[0] for row in rows))
        write_list(tmp_path, *rows, header="path,label,split,identities")
        with pytest.raises(UsageError, match=r"have person \S+ .*in two splits, by what.*identity"):
            build_manifest(tmp_path, "auto", "auto", 0.2, 0.2, seed=1)
        build_manifest(tmp_path, "auto", "official", 0.2, 0.2, seed=1)

    def test_auto_keeps_its_promise_for_folders(self, tmp_path):
        names = ("id0_0005", "id1_0001"), ("id2_0000", "id3_0000"), ("id0_0004", "id5_0000")
        for split, pair in zip(SPLITS, names, strict=True):
            make(tmp_path, *(f"{split}/real/{name}.mp4" for name in pair))
            make(tmp_path, f"{split}/fake/{pair[1][:3]}_id9_0000.mp4")
        with pytest.raises(UsageError, match="folders have person id0"):
            build_manifest(tmp_path, "folder", "auto", 0.2, 0.2, seed=1)

    def test_auto_refuses_a_fake_and_its_original_in_two_splits(self, tmp_path):
        rows = [f"{s}{label}.mp4,{label},{s},," for s in SPLITS for label in ("real", "fake")]
        rows += ["a.mp4,real,train,a,", "f.mp4,fake,val,f,a", "g.mp4,fake,test,g,a"]
        make(tmp_path, *(row.split(",")[0] for row in rows))
        write_list(tmp_path, *rows, header="path,label,split,clip,group")
        with pytest.raises(UsageError) as error:
            build_manifest(tmp_path, "auto", "auto", 0.2, 0.2, seed=1)
        for part in (
            "splits of clips.csv have a.mp4 in train and f.mp4 in val, and 1 more such clips",
            "a fake and its original",
            "data.split=identity",
            "data.split=official",
        ):
            assert part in str(error.value)
        followed = build_manifest(tmp_path, "auto", "official", 0.2, 0.2, seed=1)
        assert leaks(followed.clips).test_fakes_of_pool_clips == ("g.mp4",)
        assert leaks(build_manifest(tmp_path, "auto", "identity", 0.2, 0.2, seed=1).clips).clean

    def test_auto_refuses_frames_of_one_clip_in_two_folders(self, tmp_path):
        make(tmp_path, *(f"{s}/{label}/{s}.jpg" for s in SPLITS for label in ("real", "fake")))
        make(tmp_path, "train/real/v_frame_1.jpg", "test/real/v_frame_2.jpg")
        places = "test/real/v_frame_2.jpg in test and train/real/v_frame_1.jpg in train"
        with pytest.raises(UsageError, match=f"folders have {places}, by what.*identity"):
            build_manifest(tmp_path, "auto", "auto", 0.2, 0.2, seed=1)
        build_manifest(tmp_path, "auto", "official", 0.2, 0.2, seed=1)

    def test_auto_goes_on_where_mere_numbers_or_copies_are_in_two_splits(self, tmp_path):
        """Numbers may also count pictures of different people."""
        folders = make(tmp_path / "a", "train/real/ffhq_1.jpg", "test/real/ffhq_2.jpg")
        make(folders, *(f"{s}/{label}/{s}.jpg" for s in SPLITS for label in ("real", "fake")))
        (folders / "val/real/copy.jpg").write_bytes(b"train/real/train.jpg")
        report = leaks(build_manifest(folders, "auto", "auto", 0.2, 0.2, seed=1).clips)
        assert "real/ffhq" in report.divided_groups
        assert report.copies == (("train/real/train.jpg", "val/real/copy.jpg"),)
        rows = [f"x/ffhq_{n}.jpg,real,{split}" for n, split in enumerate(SPLITS)]
        make(tmp_path / "b", *(row.split(",")[0] for row in rows))
        write_list(tmp_path / "b", *rows, header="path,label,split")
        listed = build_manifest(tmp_path / "b", "auto", "auto", 0.2, 0.2, seed=1)
        assert leaks(listed.clips).divided_groups == ("x/ffhq",)

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ("path,lable", "unknown column 'lable'; did you mean 'label'?"),
            ("path,label,splits", "unknown column 'splits'; did you mean 'split'?"),
            ("path,label,identity", "unknown column 'identity'; did you mean 'identities'?"),
            ("path,verdict", "no column 'label'; its columns are path, verdict"),
            ("name,label", "no column 'path'"),
            ("path,label,label", "2 columns 'label'; keep one"),
        ],
    )
    def test_columns(self, tmp_path, header, message):
        assert message in refused(tmp_path, *ROWS, header=header)

    @pytest.mark.parametrize(
        ("row", "header", "messages"),
        [
            ("b/f1.jpg,fkae", "path,label", ["row 3: label 'fkae' of b/f1.jpg", "mean 'fake'?"]),
            ("b/f1.jpg,2", "path,label", ["row 3: label '2' of b/f1.jpg is none of real, fake, 0"]),
            ("b/f1.jpg,", "path,label", ["row 3: label '' of b/f1.jpg"]),
            (
                "b/f1.jpg,fake,tset",
                "path,label,split",
                ["row 3: split 'tset' of b/f1.jpg is none of train, val, test", "mean 'test'?"],
            ),
            ("b/f1.jpg,fake,validation", "path,label,split", ["row 3", "did you mean 'val'?"]),
            ("b/f1.jpg,fake,7", "path,label,split", ["row 3: split '7' of b/f1.jpg is none of"]),
            ("../f1.jpg,fake", "path,label", ["row 3: path ../f1.jpg is outside", "data.dir"]),
            ("/f1.jpg,fake", "path,label", ["row 3: path /f1.jpg is outside"]),
            (",fake", "path,label", ["row 3: path is empty"]),
            ("b/f1.jpg,fake,a;b", "path,label,identities", ["row 3", "write | between persons"]),
            (
                'b/f1.jpg,fake,"id0,id16"',
                "path,label,identities",
                ["row 3: identities 'id0,id16' of b/f1.jpg hold ,; write | between persons"],
            ),
            (
                "b/f1.jpg,fake,\"['id0', 'id16']\"",
                "path,label,identities",
                ["row 3", "hold , [ ]; write | between persons"],
            ),
            ("b/f1.jpg,fake,x", "path,label", ["row 3: 3 values, but 2 columns"]),
            ('"b/f1.jpg,fake', "path,label", ["not valid CSV, row 3"]),
            (
                "a/r1.jpg,fake",
                "path,label",
                ["row 3: a/r1.jpg has label fake here", "real in row 2", "mend or remove one"],
            ),
        ],
    )
    def test_values(self, tmp_path, row, header, messages):
        first = "a/r1.jpg,real" + "," * (header.count(",") - 1)
        told = refused(tmp_path, first, row, header=header)
        for message in messages:
            assert message in told

    def test_a_comma_between_persons_of_a_list_with_semicolons(self, tmp_path):
        told = refused(tmp_path, "b/f1.jpg;fake;id0,id16", header="path;label;identities")
        assert "row 2: identities 'id0,id16' of b/f1.jpg hold ,; write | between" in told

    @pytest.mark.parametrize(
        ("column", "values", "message"),
        [
            ("split", ("train", "val"), "row 3: clip 'c' has split 'val' here (a/r2.jpg), 'train'"),
            ("group", ("g", "h"), "row 3: clip 'c' has group 'h' here (a/r2.jpg), 'g' in row 2"),
            ("method", ("x", "y"), "row 3: clip 'c' has method 'y'"),
            ("dataset", ("x", "y"), "row 3: clip 'c' has dataset 'y'"),
        ],
    )
    def test_a_clip_with_two_values(self, tmp_path, column, values, message):
        rows = [f"a/r{n}.jpg,real,c,{value}" for n, value in enumerate(values, start=1)]
        assert message in refused(tmp_path, *rows, header=f"path,label,clip,{column}")

    def test_a_clip_with_two_labels(self, tmp_path):
        told = refused(tmp_path, "a/r1.jpg,real,c", "b/f1.jpg,fake,c", header="path,label,clip")
        assert "row 3: clip 'c' has label fake here (b/f1.jpg), real in row 2 (a/r1.jpg)" in told

    def test_two_clips_that_share_a_file_or_a_name(self, tmp_path):
        make(tmp_path, "x/1.png", "x/2.png")
        told = refused(tmp_path, "x,real,c", "x/1.png,real,d", header="path,label,clip")
        assert "row 3: x/1.png is taken by the clip of row 2 (x)" in told

    def test_many_faults_are_told_at_once_but_not_all(self, tmp_path):
        told = refused(tmp_path, *(f"a/r{n}.jpg,what" for n in range(9)))
        assert told.count("label 'what'") == 5
        assert "and 4 more" in told

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty"),
            (b"path,label\n", "has no rows"),
            (b"path,label\n\xff\xfex,real\n", "not UTF-8"),
        ],
    )
    def test_files_that_are_no_lists(self, tmp_path, content, message):
        (tmp_path / "clips.csv").write_bytes(content)
        with pytest.raises(UsageError, match=message):
            list_clips(tmp_path)

    def test_what_is_no_parquet(self, tmp_path):
        (tmp_path / "clips.parquet").write_bytes(b"path,label")
        with pytest.raises(UsageError, match="is not Parquet"):
            list_clips(tmp_path)

    def test_two_lists(self, tmp_path):
        make(tmp_path, "clips.parquet")
        write_list(tmp_path, *ROWS)
        with pytest.raises(UsageError, match=r"clips\.csv and clips\.parquet; remove one, or name"):
            list_clips(tmp_path)


class TestDivision:
    HEADER = "path,label,split,identities"

    def rows(self, splits, person=lambda split, n: f"{split}{n}"):
        return [
            f"{split}_{label}{n}.jpg,{label},{split},{person(split, n)}"
            for split in splits
            for label in ("real", "fake")
            for n in range(6)
        ]

    def build(self, root, rows, protocol="auto"):
        make(root, *(row.split(",")[0] for row in rows))
        write_list(root, *rows, header=self.HEADER)
        return build_manifest(root, "auto", protocol, 0.2, 0.2, 1)

    def test_the_list_is_followed(self, tmp_path):
        manifest = self.build(tmp_path, self.rows(("train", "val", "test")))
        assert all(clip.path.startswith(clip.split) for clip in manifest.clips)
        assert manifest.protocol == "official"
        assert "split: as the splits of clips.csv divide it; data.split=identity" in dataset_table(
            manifest
        )

    def test_dividing_anew_must_be_asked_for_and_is_said(self, tmp_path):
        manifest = self.build(tmp_path, self.rows(("train", "val", "test")), "identity")
        assert any(not clip.path.startswith(clip.split) for clip in manifest.clips)
        assert "THE SPLITS OF CLIPS.CSV OF THE DATASET ARE NOT FOLLOWED" in manifest.division

    def test_without_splits_by_person(self, tmp_path):
        manifest = self.build(tmp_path, self.rows(("",)))
        assert manifest.protocol == "identity"
        assert check_trainable(manifest) == []

    @pytest.mark.parametrize(
        ("given", "taken"),
        [
            (("train", "val"), "Test is taken out of train"),
            (("train", "test"), "Val is taken out of train"),
            (("train",), "Val and test are taken out of train"),
        ],
    )
    def test_what_the_list_lacks_is_taken_out_of_train(self, tmp_path, given, taken):
        manifest = self.build(tmp_path, self.rows(given))
        assert taken in manifest.division
        assert check_trainable(manifest) == []
        for clip in manifest.clips:
            if clip.official_split != "train":
                assert clip.split == clip.official_split
        assert leaks(manifest.clips).clean

    def test_without_train_nothing_is_taken(self, tmp_path):
        manifest = self.build(tmp_path, self.rows(("val", "test")))
        assert "taken out" not in manifest.division
        with pytest.raises(UsageError, match=r"no clip of .* falls to train"):
            check_trainable(manifest)

    def test_a_person_in_two_splits_is_refused_where_none_is_promised(self, tmp_path):
        rows = self.rows(("train", "val", "test"), lambda split, n: f"p{n}" if n else split)
        with pytest.raises(UsageError) as error:
            self.build(tmp_path, rows)
        told = str(error.value)
        for part in (
            "val_real1.jpg (row 15: p1 is in val here, in train by row 3, train_real1.jpg)",
            "person in two splits, and 9 more",
            "data.split=identity",
            "data.split=official",
        ):
            assert part in told
        followed = self.build(tmp_path, rows, "official")
        assert all(clip.path.startswith(clip.split) for clip in followed.clips)
        assert reasons(followed)["val_real1.jpg"] == "person in two splits"
        anew = self.build(tmp_path, rows, "identity")
        assert leaks(anew.clips).clean
        assert not anew.problems
