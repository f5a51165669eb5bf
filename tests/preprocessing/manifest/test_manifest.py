"""The manifest: digest, CSV, remembered hashes."""

import dataclasses
import hashlib
import json
import os
import shutil
import threading

import pytest
from manifests import build, put
from privileges import bound_by_modes

from preprocessing.datasets.clip import Clip, Problem
from preprocessing.manifest import hashes
from preprocessing.manifest.checks import check_trainable
from preprocessing.manifest.manifest import COLUMNS, Manifest
from preprocessing.manifest.table import dataset_table
from preprocessing.support import files
from preprocessing.support.errors import UsageError

AWKWARD = ["a b.mp4", 'it\'s "q", ok.mp4', "🎭.mp4", "new\nline.mp4", "cr\rlf\r\n.mp4", ";,.mp4"]


def reasons(manifest: Manifest) -> dict[str, str]:
    return {problem.path: problem.reason for problem in manifest.problems}


def test_rows_are_filled_in(root):
    manifest = build(root)
    assert manifest.layout == "folder"
    assert manifest.protocol == "identity"
    assert len(manifest.clips) == 16
    assert not manifest.problems
    for clip in manifest.clips:
        content = (root / clip.path).read_bytes()
        assert clip.sha256 == hashlib.sha256(content).hexdigest()
        assert clip.size == len(content)
        assert clip.split in ("train", "val", "test")
        assert clip.group == clip.path
    assert check_trainable(manifest) == []


class TestDigest:
    def test_neither_place_nor_time_of_change_count(self, root, tmp_path):
        before = build(root).digest
        moved = tmp_path / "elsewhere" / "copy"
        shutil.copytree(root, moved)
        os.utime(moved / "real/0.mp4", (1, 1))
        assert build(moved).digest == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda root: put(root, "real/0.mp4", "other bytes"),
            lambda root: put(root, "real/new.mp4"),
            lambda root: (root / "fake/3.mp4").unlink(),
            lambda root: (root / "fake/3.mp4").rename(root / "real/33.mp4"),
            lambda root: (root / "fake/3.mp4").rename(root / "fake/33.mp4"),
        ],
        ids=["changed", "added", "removed", "relabelled", "renamed"],
    )
    def test_a_clip_that_changes_counts(self, root, change):
        before = build(root).digest
        change(root)
        assert build(root).digest != before

    def test_each_field_counts(self, root):
        manifest = build(root)
        first, *rest = manifest.clips
        changes = {
            "path": "real/other.mp4",
            "sha256": "0" * 64,
            "size": first.size + 1,
            "label": 1 - first.label,
            "dataset": "dfdc",
            "method": "other",
            "identities": ("somebody",),
            "source": "real/other.mp4",
            "group": "other",
            "split": "val" if first.split == "train" else "train",
            "frames": ("real/0.png",),
        }
        digests = {manifest.digest}
        for field, value in changes.items():
            clips = (dataclasses.replace(first, **{field: value}), *rest)
            digests.add(dataclasses.replace(manifest, clips=clips).digest)
        assert set(changes) == set(COLUMNS)
        assert len(digests) == len(changes) + 1
        # Records name no group where they name persons.
        named = (dataclasses.replace(first, identities=("somebody",), group="other"), *rest)
        assert dataclasses.replace(manifest, clips=named).digest in digests

    def test_order_and_problems_do_not_count(self, root):
        manifest = build(root)
        other = dataclasses.replace(
            manifest, clips=manifest.clips[::-1], problems=(Problem("x", "missing"),)
        )
        assert other.digest == manifest.digest


class TestCsv:
    def test_awkward_names_survive(self, root, tmp_path):
        for name in AWKWARD:
            put(root, f"fake/{name}")
        manifest = build(root)
        path = tmp_path / "new" / "manifest.csv"
        manifest.write_csv(path)
        read = Manifest.read_csv(path, root)
        assert {f"fake/{name}" for name in AWKWARD} <= {clip.path for clip in read.clips}
        assert read.clips == manifest.clips
        assert (read.root, read.digest) == (str(root), manifest.digest)
        assert path.read_text().splitlines()[0] == ",".join(COLUMNS)

    def test_persons_sources_and_problems_survive(self, tmp_path):
        clip = Clip(
            "fake/a.mp4", 1, "celeb_df_v2", "swap", ("id0", "id1"), "real/a.mp4", "id0",
            split="test", sha256="0" * 64, size=3,
        )  # fmt: skip
        alone = dataclasses.replace(clip, path="real/a.mp4", label=0, identities=(), source="")
        problems = (Problem("real/b\nc.mp4", "file is missing", "row 7"),)
        path = tmp_path / "manifest.csv"
        Manifest("/data", "celeb_df", (clip, alone), problems).write_csv(path)
        read = Manifest.read_csv(path, "/elsewhere")
        assert (read.clips, read.problems, read.root) == ((clip, alone), problems, "/elsewhere")
        Manifest("/data", "celeb_df", (clip, alone)).write_csv(path)
        assert Manifest.read_csv(path, "/data").problems == ()

    def test_frames_survive_whatever_their_names_and_number(self, tmp_path):
        many = tuple(f"fake/{number:05d} {name}" for number in range(900) for name in AWKWARD)
        few = ("fake/b_1.png", "fake/b_2.png")
        clips = tuple(
            Clip(path, 1, "folder", "fake", split="val", frames=frames)
            for path, frames in (("fake/a", many), ("fake/b", few), ("fake/c.mp4", ()))
        )
        path = tmp_path / "manifest.csv"
        manifest = Manifest("/data", "folder", clips)
        manifest.write_csv(path)
        read = Manifest.read_csv(path, "/data")
        assert read.clips == clips
        assert read.digest == manifest.digest

    def test_a_manifest_of_an_earlier_version_is_read(self, tmp_path):
        path = put(tmp_path, "manifest.csv", ",".join(COLUMNS[:-1]) + "\np,s,1,1,d,m,,,g,val\n")
        (clip,) = Manifest.read_csv(path, tmp_path).clips
        assert clip == Clip("p", 1, "d", "m", group="g", split="val", sha256="s", size=1)

    def test_a_failed_write_leaves_the_old_file(self, root, tmp_path, monkeypatch):
        path = tmp_path / "out" / "manifest.csv"
        build(root).write_csv(path)
        before = path.read_bytes()

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", fail)
        with pytest.raises(UsageError, match="cannot be written: No space left"):
            build(root).write_csv(path)
        assert path.read_bytes() == before
        assert [p.name for p in path.parent.iterdir()] == ["manifest.csv"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is no manifest"),
            ("a,b\n1,2\n", "is no manifest"),
            (",".join(COLUMNS) + "\nx,y\n", "row 2: 2 values instead of 11"),
            (",".join(COLUMNS) + "\np,s,1,2,d,m,,,g,train,\n", "row 2: label '2'"),
            (",".join(COLUMNS) + "\np,s,1,1,d,m,,,g,dev,\n", "row 2: split 'dev'"),
            (",".join(COLUMNS) + "\np,s,-1,1,d,m,,,g,val,\n", "row 2: size '-1'"),
            (",".join(COLUMNS) + "\np,s,1,1,d,m,,,g,val,{}\n", "row 2: frames '{}' is not a JSON"),
            (",".join(COLUMNS) + "\np,s,1,1,d,m,,,g,val,[1]\n", "row 2: frames .* is not a JSON"),
            (",".join(COLUMNS) + '\n"p', "not valid CSV"),
        ],
    )
    def test_what_is_no_manifest_is_refused(self, tmp_path, text, message):
        path = put(tmp_path, "manifest.csv", text)
        with pytest.raises(UsageError, match=message):
            Manifest.read_csv(path, tmp_path)

    @pytest.mark.parametrize("name", ["Icon\r", "two\nlines", 'quo"te, comma'])
    def test_names_may_hold_what_ends_a_line(self, root, tmp_path, name):
        put(root, f"real/{name}")
        put(root, f"real/{name}.mp4")
        manifest = build(root)
        assert f"real/{name}" in reasons(manifest)
        manifest.write_csv(tmp_path / "manifest.csv")
        read = Manifest.read_csv(tmp_path / "manifest.csv", root)
        assert (read.clips, read.problems) == (manifest.clips, manifest.problems)

    def test_an_absent_file_is_named(self, tmp_path):
        with pytest.raises(UsageError, match=r"absent.csv cannot be read"):
            Manifest.read_csv(tmp_path / "absent.csv", tmp_path)


class TestHashes:
    @pytest.fixture
    def hashed(self, monkeypatch) -> list[str]:
        names: list[str] = []
        original = hashes._sha256

        def spy(file):
            names.append(file.name)
            return original(file)

        monkeypatch.setattr(hashes, "_sha256", spy)
        return names

    def test_only_what_changed_is_read_again(self, root, tmp_path, hashed):
        cache = tmp_path / "cache" / "hashes.json"
        first = build(root, hash_cache=cache)
        assert len(hashed) == 16
        hashed.clear()
        assert build(root, hash_cache=cache) == first
        assert hashed == []
        put(root, "real/0.mp4", "longer than it was before")
        os.utime(root / "fake/1.mp4", ns=(1, 1))
        assert build(root, hash_cache=cache).digest != first.digest
        assert sorted(hashed) == ["0.mp4", "1.mp4"]

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": [1, 2]}', "\x00\xff"])
    def test_a_broken_cache_costs_time_only(self, root, tmp_path, text):
        cache = put(tmp_path, "hashes.json", text)
        assert build(root, hash_cache=cache).digest == build(root).digest
        assert len(json.loads(cache.read_text())) == 16

    def test_a_cache_that_cannot_be_written_costs_time_only(self, root, tmp_path):
        cache = put(tmp_path, "file") / "hashes.json"
        assert build(root, hash_cache=cache).digest == build(root).digest

    def test_what_was_hashed_is_kept_when_a_run_is_stopped(self, root, tmp_path, monkeypatch):
        original = hashes._sha256

        def stop(file):
            if file.name == "5.mp4":
                raise KeyboardInterrupt
            return original(file)

        monkeypatch.setattr(hashes, "_sha256", stop)
        with pytest.raises(KeyboardInterrupt):
            build(root, hash_cache=tmp_path / "hashes.json")
        assert len(json.loads((tmp_path / "hashes.json").read_text())) == 5

    @pytest.mark.parametrize("newer", ["hashes.json", "hashes-1-of-2.json"])
    def test_what_is_remembered_of_an_earlier_content_hides_no_newer_hash(
        self, root, tmp_path, hashed, newer
    ):
        (older,) = {"hashes.json", "hashes-1-of-2.json"} - {newer}
        clips = build(root, hash_cache=tmp_path / older).clips
        os.utime(root / "real/0.mp4", ns=(1, 1))
        build(root, hash_cache=tmp_path / newer)
        hashed.clear()
        known = hashes.known_clips(root, clips, tmp_path / "hashes.json")
        assert [clip.path for clip in known] == [clip.path for clip in clips]
        build(root, hash_cache=tmp_path / "hashes.json")
        assert hashed == []

    @pytest.mark.parametrize("remembered", [False, True])
    def test_a_file_that_cannot_be_opened_is_told(self, root, tmp_path, remembered):
        cache = tmp_path / "hashes.json"
        if remembered:
            build(root, hash_cache=cache)
        (root / "fake/2.mp4").chmod(0)
        manifest = bound_by_modes(lambda: build(root, hash_cache=cache))
        assert reasons(manifest) == {"fake/2.mp4": "cannot be opened: Permission denied"}
        assert len(manifest.clips) == 15

    def test_copies_of_pictures_are_found_whatever_their_clips_are_called(self, root, tmp_path):
        for folder, clip in (("real", "a"), ("fake", "b")):
            for number in range(3):
                path = root / folder / f"{clip}_frame_{number}_face_0.jpg"
                path.write_bytes(b"the same picture %d" % number)
        clips = {clip.path: clip for clip in build(root).clips}
        assert clips["real/a"].sha256 == clips["fake/b"].sha256
        (root / "fake" / "b_frame_2_face_0.jpg").rename(root / "fake" / "b_frame_7_face_0.jpg")
        clips = {clip.path: clip for clip in build(root).clips}
        assert clips["real/a"].sha256 != clips["fake/b"].sha256

    def test_of_several_pictures_names_and_contents_count(self, root, tmp_path, hashed):
        for number in range(3):
            put(root, f"fake/clip_frame_{number}.png")

        def clip() -> Clip:
            found = {c.path: c for c in build(root, hash_cache=tmp_path / "hashes.json").clips}
            return found["fake/clip"]

        before = clip()
        contents = [(root / frame).read_bytes() for frame in before.frames]
        assert len(contents) == 3
        assert before.size == sum(map(len, contents))
        hashed.clear()
        assert clip() == before
        assert hashed == []
        put(root, "fake/clip_frame_1.png", "another picture")
        changed = clip()
        assert hashed == ["clip_frame_1.png"]
        assert changed.sha256 != before.sha256
        (root / "fake/clip_frame_1.png").rename(root / "fake/clip_frame_7.png")
        assert clip().sha256 not in (before.sha256, changed.sha256)

    def test_one_picture_has_the_hash_of_its_file(self, root):
        put(root, "fake/clip_frame_1.png")
        put(root, "fake/other_frame_2.png", "fake/clip_frame_1.png")
        same = [clip for clip in build(root).clips if clip.frames]
        assert len({clip.sha256 for clip in same}) == 1
        assert len(same) == 2
        assert same[0].sha256 == hashlib.sha256(b"fake/clip_frame_1.png").hexdigest()

    def test_a_picture_that_vanishes_is_named(self, root, monkeypatch):
        for number in range(3):
            put(root, f"fake/clip_frame_{number}.png")
        original = hashes._sha256

        def vanish(file):
            if file.name == "clip_frame_1.png":
                raise FileNotFoundError(2, "No such file or directory")
            return original(file)

        monkeypatch.setattr(hashes, "_sha256", vanish)
        manifest = build(root)
        assert reasons(manifest) == {
            "fake/clip_frame_1.png": "cannot be opened: No such file or directory"
        }
        assert "fake/clip" not in {clip.path for clip in manifest.clips}

    def test_several_files_are_read_at_once_and_few_ahead(self, root, monkeypatch):
        """Until one hash waits for another, one thread alone would wait for ever."""
        together = threading.Barrier(2, timeout=60)
        original = hashes._sha256
        begun = []

        def meet(file):
            begun.append(file.name)
            if len(begun) <= 2:
                together.wait()
            return original(file)

        monkeypatch.setattr(hashes, "_sha256", meet)
        for number in range(40):
            put(root, f"real/more{number}.mp4")
        results = hashes._in_threads(lambda path: hashes._sha256(path), sorted(root.rglob("*.mp4")))
        next(results)
        assert len(begun) <= 3 * hashes._THREADS + 1
        assert len(list(results)) == 55

    def test_a_file_that_vanishes_is_told(self, root, monkeypatch):
        original = hashes._sha256

        def vanish(file):
            if file.name == "5.mp4":
                raise FileNotFoundError(2, "No such file or directory")
            return original(file)

        monkeypatch.setattr(hashes, "_sha256", vanish)
        manifest = build(root)
        assert set(reasons(manifest)) == {"fake/5.mp4", "real/5.mp4"}
        assert len(manifest.clips) == 14


class TestTable:
    def test_counts(self, root):
        put(root, "notes.txt")
        put(root, "fake/readme.md")
        put(root, "fake/labels.md")
        manifest = build(root)
        counts = manifest.counts()
        assert sum(counts[split]["real"]["real"] for split in counts) == 8
        assert dataset_table(manifest).splitlines() == [
            "            train  val  test  all",
            "real            5    2     1    8",
            "fake            5    1     2    8",
            "clips          10    3     3   16",
            "identities      0    0     0    0",
            "groups         10    3     3   16",
            "split: by person (data.split=identity)",
            "3 problems:",
            "  2 not a video or picture by its ending, nor by its content: fake/labels.md, "
            "fake/readme.md",
            "  1 not part of the layout, not read: notes.txt",
            "no leak: no known person, target clip, group or content in two splits",
            "16 clips do not tell their persons, who may leak",
        ]

    def test_methods_have_lines_of_their_own(self):
        clips = [Clip(f"{m}.mp4", 1, "faceforensics", m, split="val") for m in ("Deepfakes", "F2F")]
        table = dataset_table(Manifest("/d", "faceforensics", tuple(clips)))
        assert "  Deepfakes      0    1     0    1" in table.splitlines()

    def test_files_are_counted_where_clips_have_several(self):
        frames = tuple(f"{number}.png" for number in range(7))
        clips = (
            Clip("a", 0, "folder", "real", split="val", frames=frames),
            Clip("b.mp4", 0, "folder", "real", split="train"),
        )
        lines = dataset_table(Manifest("/d", "folder", clips)).splitlines()
        assert "clips           1    1     0    2" in lines
        assert "files           1    7     0    8" in lines

    def test_no_clips_at_all(self):
        assert "clips" in dataset_table(Manifest("/d", "folder", ()))
