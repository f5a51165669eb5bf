"""What is refused before training, and what is warned of."""

import os
import shutil
from pathlib import Path

import pytest
from listings import write_list
from manifests import build, put

from preprocessing.manifest.checks import check_trainable
from preprocessing.manifest.leaks import leaks
from preprocessing.support.errors import UsageError

MEDIA = os.environ.get("DEEPFAKE_TEST_MEDIA", "")
needs_media = pytest.mark.skipif(
    not MEDIA, reason="set DEEPFAKE_TEST_MEDIA to the folder of real excerpts and name lists"
)


class TestTrainable:
    def refuse(self, root: Path, message: str, **more):
        with pytest.raises(UsageError, match=message):
            check_trainable(build(root, **more))

    def test_without_fakes_where_pseudo_fakes_stand_for_them(self, root):
        for path in root.glob("fake/*"):
            path.unlink()
        manifest = build(root)
        with pytest.raises(UsageError, match="holds only real clips; add fake ones"):
            check_trainable(manifest)
        assert check_trainable(manifest, needs_fakes=False) == [
            "val holds only real clips: AUC is undefined there",
            "test holds only real clips: AUC is undefined there",
        ]

    def test_without_reals_pseudo_fakes_do_not_help(self, root):
        for path in root.glob("real/*"):
            path.unlink()
        with pytest.raises(UsageError, match="holds only fake clips; add real ones"):
            check_trainable(build(root), needs_fakes=False)

    def test_no_clip(self, root):
        for path in root.glob("*/*.mp4"):
            path.rename(path.with_suffix(".txt"))
        self.refuse(root, "holds no clip that can be used: fake/0.txt: not a video")

    def test_one_class(self, root):
        shutil.rmtree(root / "fake")
        self.refuse(root, "holds only real clips; add fake ones")

    def test_one_person(self, tmp_path):
        for i in range(5):
            put(tmp_path, f"real/id0_{i:04d}.mp4")
            put(tmp_path, f"fake/id0_id1_{i:04d}.mp4")
        self.refuse(tmp_path, "all 10 clips .* hang together.*or use data.split=clip")
        assert check_trainable(build(tmp_path, "clip")) == []

    def test_two_persons_do_not_fill_three_splits(self, tmp_path):
        for person in ("id0", "id1"):
            put(tmp_path, f"real/{person}_0000.mp4")
            put(tmp_path, f"fake/{person}_{person}_0000.mp4")
        self.refuse(tmp_path, "no clip of .* falls to (val|test); add clips")

    def test_lists_that_leave_train_one_class(self, tmp_path):
        put(tmp_path, "train/real/a.mp4")
        for split in ("val", "test"):
            put(tmp_path, f"{split}/real/b{split}.mp4")
            put(tmp_path, f"{split}/fake/c{split}.mp4")
        self.refuse(
            tmp_path, "train holds only real clips.*data.split=identity", protocol="official"
        )

    def test_lists_without_a_test_split(self, tmp_path):
        for split in ("train", "val"):
            put(tmp_path, f"{split}/real/b{split}.mp4")
            put(tmp_path, f"{split}/fake/c{split}.mp4")
        self.refuse(tmp_path, "no clip .* falls to test.*identity", protocol="official")

    def test_pictures_that_mere_numbers_put_together_are_named_in_the_refusal(self, tmp_path):
        names = [f"{kind}_{i:05}.png" for kind in ("real/ffhq", "fake/stylegan") for i in range(6)]
        for name in names:
            put(tmp_path, name)
        merged = (
            "12 pictures were read as 2 clips by the numbers .*fake/stylegan_00000.png.* a list"
        )
        self.refuse(tmp_path, f"no clip of .* falls to .*; add clips of others.*{merged}")
        write_list(tmp_path, *(f"{n},{n[:4]},{n[5:]}" for n in names), header="path,label,clip")
        assert check_trainable(build(tmp_path)) == []

    def test_a_warning_names_pictures_that_mere_numbers_put_together(self, tmp_path):
        for kind in (f"{label}/{n}" for label in ("real", "fake") for n in "abcdefgh"):
            for i in range(3):
                put(tmp_path / "numbers", f"{kind}_{i}.png")
                put(tmp_path / "frames", f"{kind}_frame_{i}.png")
        (warning,) = check_trainable(build(tmp_path / "numbers"))
        assert warning == (
            "48 pictures were read as 16 clips by the numbers in their names (for example "
            "fake/a_0.png); if they show different people, give a list with a clip for each "
            "(docs/datasets.md)"
        )
        assert check_trainable(build(tmp_path / "frames")) == []

    def test_one_content_with_two_labels(self, root):
        shutil.copy(root / "real/2.mp4", root / "fake/copy.mp4")
        self.refuse(root, r"real/2.mp4 \(real\) and fake/copy.mp4 \(fake\) are the same file")

    def test_one_content_under_two_names_stays_in_one_split(self, root):
        for i in range(5):
            shutil.copy(root / "real/2.mp4", root / f"real/copy{i}.mp4")
        for protocol in ("identity", "clip"):
            manifest = build(root, protocol)
            splits = {c.split for c in manifest.clips if "copy" in c.path or c.path == "real/2.mp4"}
            assert len(splits) == 1
            assert check_trainable(manifest) == []

    def test_one_clip_named_twice_with_two_labels(self, tmp_path):
        for part in range(3):
            put(tmp_path, f"dfdc_train_part_{part}/x{part}.mp4")
            put(
                tmp_path,
                f"dfdc_train_part_{part}/metadata.json",
                f'{{"x{part}.mp4": {{"label": "REAL"}}, "x{part}.mp4": {{"label": "FAKE"}}}}',
            )
        self.refuse(tmp_path, "dfdc_train_part_0/x0.mp4 is labelled both real and fake")

    def test_empty_files_stay_and_do_not_contradict(self, root):
        put(root, "real/empty.mp4", "")
        put(root, "fake/empty.mp4", "")
        manifest = build(root)
        assert len(manifest.clips) == 18
        assert check_trainable(manifest) == ["2 clips are empty files, such as fake/empty.mp4"]

    def test_a_split_of_one_class_is_a_warning(self, tmp_path):
        put(tmp_path, "real/a.mp4")
        for name in "bcd":
            put(tmp_path, f"fake/{name}.mp4")
        assert check_trainable(build(tmp_path)) == [
            "val holds only fake clips: AUC is undefined there",
            "test holds only fake clips: AUC is undefined there",
        ]


@needs_media
class TestRealExcerpts:
    @pytest.mark.parametrize("protocol", ["identity", "clip"])
    def test_dfdc_is_trainable(self, protocol):
        manifest = build(Path(MEDIA, "dfdc_mini"), protocol)
        assert [c.split for c in manifest.clips if c.label == 0] == ["train"]
        assert sorted(c.split for c in manifest.clips if c.label) == ["test", "train", "val"]
        assert len(check_trainable(manifest)) == 2

    def test_dfdc_by_part_is_refused_with_a_remedy(self):
        with pytest.raises(UsageError, match=r"train holds only fake.*data.split=identity"):
            check_trainable(build(Path(MEDIA, "dfdc_mini"), "official"))

    @pytest.mark.parametrize("protocol", ["official", "identity", "clip"])
    def test_faceforensics(self, protocol):
        manifest = build(Path(MEDIA, "faceforensics_mini"), protocol)
        assert check_trainable(manifest) == []
        report = leaks(manifest.clips)
        assert report.clean or protocol == "clip"
        # Two clips of actor 08 and two of actor 13.
        if protocol != "clip":
            for actor in ("actor-08", "actor-13"):
                splits = [c.split for c in manifest.clips if c.identities == (actor,)]
                assert len(splits) == 2
                assert len(set(splits)) == 1

    def test_crops(self):
        official = build(Path(MEDIA, "celeb_df_crops"), "official")
        assert check_trainable(official) == []
        assert leaks(official.clips).shared_identities == ("id0", "id1")
        assert leaks(official.clips).divided_groups == ("id0_0007",)
        identity = build(Path(MEDIA, "celeb_df_crops"), "identity")
        assert check_trainable(identity) == []
        assert leaks(identity.clips).clean
