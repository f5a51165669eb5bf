"""Parts of `score`: each does its share into one folder, and the table is that of a whole run."""

import json
import subprocess
import sys
from pathlib import Path

import boto3
import pandas as pd
import pytest
from made_media import portrait, write_image
from object_stores import s3_environment, s3_server
from serving_support.models import model_of_crops

from pipeline import clip_scoring
from pipeline.cli import main
from preprocessing.extraction.clip_row import ClipRow
from preprocessing.support import files

pytestmark = pytest.mark.integration

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")
CLIPS = 5


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return model_of_crops(tmp_path_factory.mktemp("model") / "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for number in range(CLIPS):
        crop = portrait()[number : number + 64, 2 * number : 2 * number + 64]
        write_image(folder / f"{number}.png", crop)
    (folder / "broken.png").write_bytes(b"no picture at all")
    return folder


def arguments(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    names = ["score", "--model", str(model), "--data", str(data), "--precropped"]
    return [*names, "--output", str(output), *more]


def scores_of(output: Path) -> pd.DataFrame:
    return pd.read_parquet(output).set_index("clip_id")


def test_parts_at_once_give_the_table_of_a_whole_run(model, data, tmp_path, capfd, monkeypatch):
    whole, parts = tmp_path / "whole.parquet", tmp_path / "parts.parquet"
    assert main(arguments(model, data, whole)) == 4
    processes = [
        subprocess.Popen(
            [DEEPFAKE, *arguments(model, data, parts, "--part", f"{number}/2")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2)
    ]
    try:
        said = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    # The broken picture is in one of them.
    assert sorted(process.returncode for process in processes) == [0, 4]
    assert "part 1 of 2: 3 of 6 clips" in said[0]
    assert "part 2 of 2: 3 of 6 clips" in said[1]
    assert sum("broken.png: " in text for text in said) == 1
    assert all("the same command without --part writes" in text for text in said)
    assert not parts.exists()
    assert not list(tmp_path.rglob("*.gz"))

    def not_again(*_):
        raise AssertionError("a clip that a part has scored was scored again")

    monkeypatch.setattr(clip_scoring, "ExampleScorer", not_again)
    capfd.readouterr()
    assert main(arguments(model, data, parts)) == 4
    pd.testing.assert_frame_equal(scores_of(parts), scores_of(whole))
    assert f"{CLIPS} files scored, 1 without a score" in capfd.readouterr().out


@pytest.mark.parametrize(("at_once", "calls"), [(32, [CLIPS]), (2, [2, 2, 1]), (1, [1] * CLIPS)])
def test_clips_of_one_crop_are_scored_together(model, data, tmp_path, monkeypatch, at_once, calls):
    asked = []

    class Counting(clip_scoring.ExampleScorer):
        def rows(self, records):
            asked.append(len(records))
            return super().rows(records)

    alone, together = tmp_path / "alone.parquet", tmp_path / "together.parquet"
    monkeypatch.setattr(clip_scoring, "_CROPS_AT_ONCE", 1)
    assert main(arguments(model, data, alone)) == 4
    monkeypatch.setattr(clip_scoring, "ExampleScorer", Counting)
    monkeypatch.setattr(clip_scoring, "_CROPS_AT_ONCE", at_once)
    assert main(arguments(model, data, together)) == 4
    assert asked == calls
    assert scores_of(alone)["logit"].nunique() == CLIPS
    pd.testing.assert_frame_equal(scores_of(together), scores_of(alone))


def test_crops_at_the_boxes_of_another_original_have_scores_of_their_own(tmp_path):
    """The face store keeps both under one name: of a fake, whose original has changed."""
    row = ClipRow(path="fake.mp4", label=1, method="fake", stored=str(tmp_path / "key/fake.x"))
    states = (None, [100, 1], [100, 2])
    files = {
        clip_scoring._scores_file(tmp_path, row.model_copy(update={"original": state}))
        for state in states
    }
    assert len(files) == len(states)


def test_a_part_hashes_its_own_clips_only(model, data, tmp_path):
    output = tmp_path / "scores.jsonl"
    assert main(arguments(model, data, output, "--part", "1/6")) in (0, 4)
    hashes = json.loads((tmp_path / "scores.work" / "hashes-1-of-6.json").read_text())
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("3/2", "--part 3/2: part 3 of 2 does not exist"),
        ("half", "--part half: give a part as 3/8, or auto in a job array"),
        ("auto", "SLURM_ARRAY_TASK_ID"),
    ],
)
def test_mistakes_end_with_status_2(model, data, tmp_path, capfd, part, words):
    assert main(arguments(model, data, tmp_path / "scores.parquet", "--part", part)) == 2
    assert words in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_scores_of_a_bucket_in_a_bucket(model, data, tmp_path, monkeypatch):
    whole = tmp_path / "whole.parquet"
    assert main(arguments(model, data, whole)) == 4
    with s3_server(tmp_path / "log") as url:
        for key, value in s3_environment(url).items():
            monkeypatch.setenv(key, value)
        client = boto3.Session().client("s3")
        client.create_bucket(Bucket="bucket")
        for file in data.iterdir():
            client.upload_file(str(file), "bucket", f"clips/{file.name}")
        output = "s3://bucket/scores.parquet"
        for number in (1, 2):
            part = arguments(model, "s3://bucket/clips", output, "--part", f"{number}/2")
            assert main(part) in (0, 4)
        with monkeypatch.context() as patch:
            patch.setattr(clip_scoring, "ExampleScorer", None)  # All is scored.
            assert main(arguments(model, "s3://bucket/clips", output)) == 4
        with files.local_copy(files.place(output)) as copy:
            pd.testing.assert_frame_equal(scores_of(copy), scores_of(whole))
