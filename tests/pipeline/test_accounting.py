"""score, evaluate and extract account for every file: in table, output and exit status."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from listings import write_list
from made_media import portrait, write_image
from serving_support.models import model_of_crops

from components.evaluation import results
from components.evaluation.measurement import find
from components.trainer.crop_store import CropStore
from pipeline.cli import main
from serving.model.card import FILE

pytestmark = pytest.mark.integration

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")
NOT_UTF8 = os.fsdecode(b"caf\xe9.png")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Its logit is the picture's brightness."""
    return model_of_crops(tmp_path_factory.mktemp("model") / "1")


def picture(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_image(path, portrait()[number : number + 64, 2 * number : 2 * number + 64])


def awkward(root: Path) -> None:
    """What a folder may hold besides good media."""
    (root / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "pipe.png")
    picture(root / "good.png").rename(root / NOT_UTF8)
    (root / "half.mp4.part").write_bytes(b"\0" * 64)
    (root / "broken.png").write_bytes(b"no picture at all")
    (root / "folder.mp4").mkdir()


def score(model: Path, data: Path, output: Path) -> tuple[int, pd.DataFrame]:
    arguments = ["score", "--model", str(model), "--data", str(data), "--precropped"]
    status = main([*arguments, "--output", str(output)])
    return status, pd.read_parquet(output).set_index("clip_id")


def evaluate(model: Path, data: Path, output: Path, *options: str) -> int:
    arguments = ["evaluate", "--model", str(model), "--data", str(data), "--precropped"]
    return main([*arguments, "--output", str(output), *options])


class TestScore:
    def test_every_file_has_a_row(self, model, tmp_path, capfd):
        data = tmp_path / "data"
        picture(data / "a.png")
        picture(data / "deep" / "b.png", 1)
        awkward(data)
        (data / "notes.txt").write_text("a text")
        status, table = score(model, data, tmp_path / "scores.parquet")
        assert status == 4
        scored = table[table["score"].notna()]
        assert set(scored.index) == {"a.png", "deep/b.png"}
        missing = table[table["score"].isna()]
        assert len(table) == 9, "each file once"
        assert set(missing.index) == {
            "gone.png",
            "pipe.png",
            "'caf\\udce9.png'",
            "half.mp4.part",
            "broken.png",
            "folder.mp4",
            "notes.txt",
        }
        assert (missing["reason"].str.len() > 5).all()
        assert (missing["verdict"] == "").all()
        said = capfd.readouterr().out
        assert "2 files scored, 7 without a score" in said
        for reason in missing["reason"]:
            assert reason in said

    def test_documents_do_not_change_the_status(self, model, tmp_path):
        picture(tmp_path / "data" / "a.png")
        (tmp_path / "data" / "notes.txt").write_text("a text")
        status, table = score(model, tmp_path / "data", tmp_path / "scores.parquet")
        assert status == 0
        assert len(table) == 2

    def test_its_own_files_are_not_given(self, model, tmp_path):
        picture(tmp_path / "a.png")
        for _ in range(2):
            status, table = score(model, tmp_path, tmp_path / "scores.parquet")
            assert status == 0
            assert list(table.index) == ["a.png"]

    def test_layouts_do_not_matter(self, model, tmp_path):
        """Everything below the folder is scored, whatever of it a layout would take."""
        data = tmp_path / "data"
        for number, name in enumerate(("real/a.png", "loose.png", "other/b.png")):
            picture(data / name, number)
        status, table = score(model, data, tmp_path / "scores.parquet")
        assert status == 0
        assert set(table[table["score"].notna()].index) == {
            "real/a.png",
            "loose.png",
            "other/b.png",
        }

    def test_named_frames_of_a_clip_have_one_row(self, model, tmp_path):
        data = tmp_path / "data"
        names = ["a_frame_1_face_0.png", "a_frame_2_face_0.png", "trip_1.png", "trip_2.png"]
        for number, name in enumerate(names):
            picture(data / name, number)
        status, table = score(model, data, tmp_path / "scores.parquet")
        assert status == 0
        assert set(table.index) == {"a", "trip_1.png", "trip_2.png"}
        assert list(table.loc["a", ["files", "frames", "crops", "tracks"]]) == [2, 2, 2, 1]
        assert table["score"].notna().all()
        assert (table["files"].drop("a") == 1).all()

    def test_nothing_to_score_says_what_is_there(self, model, tmp_path, capsys):
        (tmp_path / "data").mkdir()
        awkward(tmp_path / "data")
        (tmp_path / "data" / "broken.png").unlink()
        output = str(tmp_path / "scores.parquet")
        arguments = ["score", "--model", str(model), "--data", str(tmp_path / "data")]
        assert main([*arguments, "--output", output]) == 2
        said = capsys.readouterr().err
        assert "holds no video or picture" in said
        assert "gone.png" in said
        assert "\\udce9" in said

    def test_a_passing_fault_is_tried_again(self, model, tmp_path, monkeypatch):
        """A file that is away while its faces are cut is scored by the next call."""
        data = tmp_path / "data"
        picture(data / "a.png")
        picture(data / "b.png", 1)
        from pipeline import score_table as command

        hashed = command.hash_clips

        def remove_after_hashing(*arguments):
            found = hashed(*arguments)
            (data / "b.png").rename(tmp_path / "away.png")
            return found

        with monkeypatch.context() as patch:
            patch.setattr(command, "hash_clips", remove_after_hashing)
            status, table = score(model, data, tmp_path / "scores.parquet")
        assert status == 4
        assert pd.isna(table.loc["b.png", "score"])
        assert "a passing fault: the next extraction tries again" in table.loc["b.png", "reason"]
        (tmp_path / "away.png").rename(data / "b.png")
        status, table = score(model, data, tmp_path / "scores.parquet")
        assert status == 0
        assert table["score"].notna().all()

    def test_damaged_results_are_made_again(self, model, tmp_path):
        data = tmp_path / "data"
        for number, name in enumerate(("a.png", "b.png", "c.png")):
            picture(data / name, number)
        _, before = score(model, data, tmp_path / "scores.parquet")
        stored = sorted((tmp_path / "scores.work" / "face-store").glob("*/*.tfrecord"))
        flipped = bytearray(stored[0].read_bytes())
        flipped[-10] ^= 1
        stored[0].write_bytes(flipped)
        (length,) = struct.unpack("<Q", stored[1].read_bytes()[:8])
        os.truncate(stored[1], length + 16)  # After the report row, before the crop.
        for scores in (tmp_path / "scores.work" / "scores").rglob("*.json"):
            scores.write_text("")
        status, after = score(model, data, tmp_path / "scores.parquet")
        assert status == 0
        pd.testing.assert_frame_equal(before, after)


class TestEvaluate:
    @pytest.fixture
    def data(self, tmp_path) -> Path:
        for number in range(3):
            picture(tmp_path / "data" / "real" / f"{number}.png", number)
            picture(tmp_path / "data" / "fake" / f"{number}.png", 10 + number)
        return tmp_path / "data"

    def test_what_is_not_measured_is_said(self, model, data, tmp_path, capfd):
        awkward(data / "real")
        picture(data / "loose.png", 5)
        assert evaluate(model, data, tmp_path / "out") == 4
        said = capfd.readouterr().out
        for reason in ("link to a file that is not there", "not UTF-8", "not part of the layout"):
            assert reason in said
        report = (tmp_path / "out" / "extraction" / "report.txt").read_text()
        for name in ("real/gone.png", "real/pipe.png", "udce9", "half.mp4.part", "loose.png"):
            assert name in report
        assert "real/broken.png" in report

    def test_all_measured(self, model, data, tmp_path):
        (data / "README.txt").write_text("about the data")
        assert evaluate(model, data, tmp_path / "out") == 0

    def test_one_content_with_two_labels_is_refused_as_in_training(
        self, model, data, tmp_path, capsys
    ):
        shutil.copy(data / "real" / "1.png", data / "fake" / "copy.png")
        assert evaluate(model, data, tmp_path / "out") == 2
        said = capsys.readouterr().err
        assert "real/1.png (real) and fake/copy.png (fake) are the same file" in said

    def test_a_row_with_two_labels_is_refused_as_in_training(self, model, tmp_path, capsys):
        for number, name in enumerate("abc"):
            picture(tmp_path / "data" / f"{name}.mp4.png", number).rename(
                tmp_path / "data" / f"{name}.mp4"
            )
        (tmp_path / "data" / "metadata.json").write_text(
            '{"a.mp4": {"label": "REAL"}, "a.mp4": {"label": "FAKE"}, "b.mp4": {"label": "REAL"}}'
        )
        assert evaluate(model, tmp_path / "data", tmp_path / "out") == 2
        assert "a.mp4 is labelled both real and fake" in capsys.readouterr().err

    def test_frames_of_a_clip_are_measured_as_one_clip(self, model, tmp_path):
        data = tmp_path / "data"
        clips = {
            "original_sequences/youtube/c23/frames/000": 0,
            "original_sequences/youtube/c23/frames/001": 10,
            "manipulated_sequences/Deepfakes/c23/frames/000_001": 20,
        }
        for folder, first in clips.items():
            for number in range(3):
                picture(data / folder / f"{number:03d}.png", first + number)
        assert evaluate(model, data, tmp_path / "out") == 0
        folder = tmp_path / "out" / "clip_evaluation"
        table = pd.read_csv(folder / "test_clips.csv").set_index("clip_id")
        assert set(table.index) == set(clips)
        assert (table["crops"] == 3).all()
        fake = table.loc["manipulated_sequences/Deepfakes/c23/frames/000_001"]
        assert fake["pair_id"] == "original_sequences/youtube/c23/frames/000"

    def test_a_list_of_faces_is_measured_by_clip(self, model, tmp_path):
        rows = []
        for number, (name, label) in enumerate((("o", "real"), ("p", "real"), ("f", "fake"))):
            for frame in (4, 9):
                path = f"{name}_frame_{frame}_face_0.png"
                picture(tmp_path / "data" / path, 10 * number + frame)
                rows.append(f"{path},{label},{name},o")
        write_list(tmp_path / "data", *rows, header="path,label,clip,group")
        assert evaluate(model, tmp_path / "data", tmp_path / "out") == 0
        folder = tmp_path / "out" / "clip_evaluation"
        table = pd.read_csv(folder / "test_clips.csv").set_index("clip_id")
        assert set(table.index) == {"o", "p", "f"}
        assert (table["crops"] == 2).all()
        assert table.loc["f", "pair_id"] == "o"

    def test_official_test_is_what_the_list_names_test(self, model, tmp_path, capsys):
        rows = []
        for number in range(24):
            name = f"{number}.png"
            picture(tmp_path / "data" / name, number)
            rows.append(f"{name},{('real', 'fake')[number % 2]},{'test' if number < 4 else ''}")
        write_list(tmp_path / "data", *rows, header="path,label,split")
        assert evaluate(model, tmp_path / "data", tmp_path / "out", "--official-test") == 0
        folder = tmp_path / "out" / "clip_evaluation"
        measured = find(results.read(folder).splits["test"].clips)
        assert (measured.real, measured.fake) == (2, 2)
        rows = [row.replace("test", "train") for row in rows]
        write_list(tmp_path / "data", *rows, header="path,label,split")
        assert evaluate(model, tmp_path / "data", tmp_path / "other", "--official-test") == 2
        assert "no test list names a clip of" in capsys.readouterr().err

    def test_the_clips_of_a_group_are_one_cluster(self, model, tmp_path):
        """Also where the groups change between two runs, the second of which scores nothing."""
        paths = [f"{subject}{clip}.png" for subject in "xyz" for clip in "abc"]
        for number, path in enumerate(paths):
            picture(tmp_path / "data" / path, number)
        for groups in ("xyz", "xxz"):
            group_of = dict(zip("xyz", groups, strict=True))
            rows = [
                f"{path},{'fake' if path[1] == 'c' else 'real'},{group_of[path[0]]}"
                for path in paths
            ]
            write_list(tmp_path / "data", *rows, header="path,label,group")
            assert evaluate(model, tmp_path / "data", tmp_path / "out") == 0
            folder = tmp_path / "out" / "clip_evaluation"
            measured = find(results.read(folder).splits["test"].clips)
            assert (measured.real, measured.fake) == (6, 3)
            assert measured.clusters == len(set(groups))

    def test_crops_that_are_all_cut_tighter_are_held_against_the_model(
        self, model, tmp_path, capsys
    ):
        other = shutil.copytree(model, tmp_path / "1")
        values = json.loads((other / FILE).read_text())
        values["extraction"] |= {"crop_by": "landmarks", "eye_distance": 0.15}
        (other / FILE).write_text(json.dumps(values))
        for number, label in enumerate(("real", "fake")):
            (tmp_path / "data" / label).mkdir(parents=True)
            face = portrait()[40 + number : 180 + number, 150:290]
            write_image(tmp_path / "data" / label / "a.png", face)
        assert evaluate(other, tmp_path / "data", tmp_path / "out") == 2
        said = capsys.readouterr().err
        assert "2 of 2 crops are cut tighter than the model's extraction.eye_distance=0.15" in said
        assert "`deepfake index DIR --preset face_crops`" in said
        assert "say --precropped" not in said


class TestExtract:
    def extract(self, data, output):
        arguments = ["extract", "--data", str(data), "--output", str(output)]
        return main([*arguments, "--set", "data.precropped=true"])

    def test_extract_reports_every_file(self, tmp_path, capfd):
        data = tmp_path / "data"
        for split in ("train", "val", "test"):
            for number, label in enumerate(("real", "fake")):
                picture(data / split / label / f"{split}.png", 3 * number + len(split))
        assert self.extract(data, tmp_path / "out") == 0
        awkward(data / "train" / "real")
        capfd.readouterr()
        assert self.extract(data, tmp_path / "out") == 4
        said = capfd.readouterr().out
        assert "link to a file that is not there" in said
        assert "not UTF-8" in said
        report = (tmp_path / "out" / "faces" / "report.txt").read_text()
        for name in ("gone.png", "pipe.png", "udce9", "half.mp4.part", "broken.png"):
            assert f"train/real/{name}" in report or (name == "udce9" and name in report)

    def test_training_knows_the_groups_of_a_list(self, tmp_path):
        """Frames that the list does not put together are in the group of their clip."""
        paths = [f"{subject}{clip}.png" for subject in "xyz" for clip in "abc"]
        rows = [f"{path},{'fake' if path[1] == 'c' else 'real'},group {path[0]}" for path in paths]
        frames = [f"film_frame_{number}.png" for number in range(3)]
        rows += [f"{frame},real," for frame in frames] + ["alone.png,fake,"]
        for number, path in enumerate([*paths, *frames, "alone.png"]):
            picture(tmp_path / "data" / path, number)
        write_list(tmp_path / "data", *rows, header="path,label,group")
        assert self.extract(tmp_path / "data", tmp_path / "out") == 0
        shards = f"{tmp_path}/out/faces/*/faces-*.gz"
        with CropStore([shards], "whole") as store:
            clusters = dict(zip(store.table.clip_names, store.table.clip_clusters, strict=True))
        assert len(clusters) == len(rows) == 13
        assert clusters == {
            **{path.encode(): f"list:group {path[0]}" for path in paths},
            **{frame.encode(): "list:film" for frame in frames},
            b"alone.png": "list:alone.png",
        }


_ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
_LATIN = {"PYTHONIOENCODING": "latin-1"}


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ("index", {"LC_ALL": "C.UTF-8"}),
        ("index", {"LC_ALL": "C"}),
        ("index", _ASCII),
        ("index", _LATIN),
        # Prints with the same functions, and takes much longer to start.
        ("extract", _ASCII),
        ("extract", _LATIN),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value.values()),
)
def test_names_never_crash_a_printout(tmp_path, command, environment):
    data = tmp_path / os.fsdecode(b"da\xfft\xe9 \xe4\xbd\xa0")
    for number, label in enumerate(("real", "fake")):
        for name in ("a", "b", "c"):
            picture(data / label / f"{name}{number} 你好 🎬.png", 3 * number + ord(name) % 7)
        picture(data / label / "x.png").rename(data / label / NOT_UTF8)
    (data / "real" / "你好 é.zip").write_bytes(b"PK")
    arguments = {
        "index": ["index", str(data), "--manifest", str(tmp_path / "manifest.csv")],
        "extract": ["extract", "--data", str(data), "--output", str(tmp_path / "out")],
    }[command]
    done = subprocess.run(
        [DEEPFAKE, *arguments, "--set", "data.precropped=true", "--set", "data.split=clip"],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert b"Traceback" not in said, said.decode(errors="replace")
    # Where file names are ASCII by the locale, no name here can be held in a record.
    expected = {"extract": (4,), "index": (0, 2) if "PYTHONUTF8" in environment else (0,)}
    assert done.returncode in expected[command], said.decode(errors="replace")
    assert b"not UTF-8" in said
