"""The pushed model gives the same scores however it is asked."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from preprocessing.extraction import face_example
from serving.model.verdict import NOT_A_VERDICT

pytestmark = pytest.mark.integration

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")


@pytest.fixture(scope="module")
def records(first_run) -> list[bytes]:
    """Serialized Examples of the test split, as FaceExtractor wrote them."""
    import tensorflow as tf

    _, summary = first_run
    examples = Path(summary["report"]).parents[1] / "examples"
    files = sorted(map(str, examples.glob("*/Split-test/*.gz")))
    assert files
    return list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


def crops(records: list[bytes]) -> list[bytes]:
    import tensorflow as tf

    return [
        tf.train.Example.FromString(record).features.feature[face_example.IMAGE].bytes_list.value[0]
        for record in records
    ]


def test_both_signatures_and_plain_python_agree(pushed_model, records):
    import tensorflow as tf

    from components.transform.preprocessing import decode_images

    loaded = tf.saved_model.load(str(pushed_model))
    jpegs = tf.constant(crops(records))
    by_image = loaded.signatures["serving_default"](image=jpegs)["score"].numpy()
    by_example = loaded.signatures["serving_examples"](examples=tf.constant(records))
    metadata = json.loads(next(pushed_model.rglob("deepfake_model.json")).read_text())
    pixels = decode_images(jpegs, metadata["input_size"])
    logits = (loaded.network(pixels)[0].numpy() + metadata["offset"]) / metadata["temperature"]
    plain = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert len(by_image) == len(records) > 8
    assert np.std(by_image) > 0
    np.testing.assert_allclose(by_image, by_example["score"].numpy(), atol=1e-5)
    np.testing.assert_allclose(by_image, plain, atol=1e-5)


def test_fresh_process_without_tfx_gives_the_same_scores(tmp_path, pushed_model, records):
    import tensorflow as tf

    jpegs = crops(records)[:8]
    here = tf.saved_model.load(str(pushed_model)).signatures["serving_default"](
        image=tf.constant(jpegs)
    )
    np.save(tmp_path / "jpegs.npy", np.array(jpegs, dtype=object), allow_pickle=True)
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        f"jpegs = np.load({str(tmp_path / 'jpegs.npy')!r}, allow_pickle=True).tolist()\n"
        f"model = tf.saved_model.load({str(pushed_model)!r})\n"
        "score = model.signatures['serving_default'](image=tf.constant(jpegs))['score'].numpy()\n"
        f"np.save({str(tmp_path / 'scores.npy')!r}, score)\n"
        "assert not {'tfx', 'keras_tuner', 'tensorflow_transform'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), here["score"].numpy(), atol=1e-5)


def test_predict_answers_each_file_or_says_why_not(tmp_path, workspace, pushed_model):
    import cv2

    clip = str(min((workspace.data / "Celeb-synthesis").glob("*.mp4")))
    grey = str(tmp_path / "grey wall.png")
    cv2.imwrite(grey, np.full((300, 400, 3), 127, np.uint8))
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    done = subprocess.run(
        [DEEPFAKE, "predict", clip, grey, str(text), "--model", str(pushed_model.parent), "--json"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr == "", "libraries say nothing"
    answers = json.loads(done.stdout)
    assert [answer["name"] for answer in answers] == [clip, grey, str(text)]
    assert 0 < answers[0]["score"] < 1
    assert answers[0]["faces"] == 3
    # Of the newest version: other tests of this workspace push more.
    version = max(int(folder.name) for folder in pushed_model.parent.glob("[0-9]*"))
    # The verdict follows from the validation clips beside the model.
    newest = pushed_model.parent / str(version)
    metadata = json.loads(next(newest.rglob("deepfake_model.json")).read_text())
    clips = metadata["conformal"]
    used = answers[0]["thresholds"]
    assert (used["false_positive_rate"], used["miss_rate"]) == (0.01, 0.05)
    assert used["real_clips"] == len(clips["real"]["values"]) > 0
    assert used["fake_clips"] == len(clips["fake"]["values"]) > 0
    # The few persons of this workspace show neither 1% nor 5%.
    assert (used["fake_above_logit"], used["real_below_logit"]) == (None, None)
    assert answers[0]["p_values"]["real"] >= 1 / (1 + used["real_clusters"])
    assert answers[0]["familiarity"]["distance"] > 0
    # The model was trained on synthetic data, so no answer has a word.
    assert answers[0]["verdict"] == answers[0]["warning"] == NOT_A_VERDICT
    assert {answer["meaning"].partition(";")[0] for answer in answers} == {NOT_A_VERDICT}
    about = answers[0]["model"]
    assert (about["name"], about["version"]) == ("demo", version)
    assert about["provenance"]["made_data"] is True
    assert (answers[1]["verdict"], answers[1]["thresholds"]) == ("", used)
    assert (answers[1]["score"], answers[1]["reason"]) == (None, "no face")
    assert answers[2]["score"] is None
    assert "no video or picture" in answers[2]["reason"]


def test_predict_table_says_what_its_words_mean(workspace, pushed_model, tmp_path, capsys):
    from pipeline.cli import main

    clip = str(min((workspace.data / "Celeb-synthesis").glob("*.mp4")))
    arguments = ["predict", clip, "--model", str(pushed_model)]
    assert main([*arguments, "--false-positive-rate", "0.05"]) == 0
    head, row, meaning = capsys.readouterr().out.splitlines()
    assert head.split() == ["verdict", "P(fake)", "found", "judged", "tracks", "file"]
    assert row.startswith(f"{NOT_A_VERDICT}  ")
    assert row.endswith(clip)
    assert meaning.startswith(NOT_A_VERDICT)
    assert main([*arguments, "--miss-rate", "0.6"]) == 2
    assert "miss_rate: 0.6 is outside 0.0001 to 0.5" in capsys.readouterr().err

    # As if it had been trained on clips of people; then words have a meaning.
    older = tmp_path / "older"
    shutil.copytree(pushed_model, older)
    path = next(older.rglob("deepfake_model.json"))
    metadata = json.loads(path.read_text())
    assert metadata["provenance"]["made_data"]
    del metadata["provenance"]
    metadata["data"]["layout"] = "celeb_df"
    path.write_text(json.dumps(metadata))
    rates = ["--false-positive-rate", "0.5", "--miss-rate", "0.5"]
    assert main(["predict", clip, "--model", str(older), *rates]) == 0
    # At such a rate there may be segments, each with a line of its own.
    _, row, *_, meaning = capsys.readouterr().out.splitlines()
    assert row.split()[0] in ("fake", "real", "uncertain")
    assert "where at most 50.0% of real clips are" in meaning
    assert main(["predict", clip, "--model", str(older)]) == 0
    _, row, meaning = capsys.readouterr().out.splitlines()
    assert row.split()[0] == "uncertain"
    assert "no clip is called fake, for" in meaning

    # A model of before still scores, with its own thresholds where it has them.
    del metadata["conformal"], metadata["familiarity"]
    points = [{"name": "eer", "threshold": 0.5}, {"name": "fpr_0.01", "threshold": 0.9}]
    metadata["operating_points"] = {"points": points, "real_clips": 40, "fake_clips": 40}
    path.write_text(json.dumps(metadata))
    assert main(["predict", clip, "--model", str(older)]) == 0
    assert "an earlier version exported the model" in capsys.readouterr().out
    del metadata["operating_points"]
    path.write_text(json.dumps(metadata))
    assert main(["predict", clip, "--model", str(older)]) == 0
    _, row, meaning = capsys.readouterr().out.splitlines()
    assert row.split()[0] == "-"
    assert 0 < float(row.split()[1]) < 1
    assert meaning.startswith("no verdict: the model's card holds no validation clips")


def test_prediction_cuts_the_same_crops_as_extraction(workspace, pushed_model, records):
    """One crop function: bytes of the crops of a test clip are those that were evaluated."""
    import tensorflow as tf

    from serving.model.predictor import Predictor

    example = tf.train.Example.FromString(records[0])
    clip = example.features.feature[face_example.CLIP_ID].bytes_list.value[0].decode()
    stored = [
        jpeg
        for record, jpeg in zip(records, crops(records), strict=True)
        if tf.train.Example.FromString(record)
        .features.feature[face_example.CLIP_ID]
        .bytes_list.value[0]
        .decode()
        == clip
    ]
    predictor = Predictor(pushed_model)
    found, _ = predictor._cropper.crops(workspace.data / clip)
    assert [crop.jpeg for crop in found] == stored


@pytest.mark.parametrize(
    ("content", "words"),
    [([], "holds no exported model"), (["saved_model.pb"], "deepfake_model.json")],
)
def test_folders_that_are_no_model_of_ours(tmp_path, workspace, content, words):
    for name in content:
        (tmp_path / name).write_bytes(b"")
    clip = str(min((workspace.data / "Celeb-real").glob("*.mp4")))
    done = subprocess.run(
        [DEEPFAKE, "predict", clip, "--model", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_every_name_is_answered_in_every_terminal(tmp_path, workspace, pushed_model):
    clip = min((workspace.data / "Celeb-synthesis").glob("*.mp4"))
    named = [os.fsencode(tmp_path / os.fsdecode(b"bad\xff.mp4")), os.fsencode(tmp_path / "你.mp4")]
    for path in named:
        shutil.copy(clip, path)
    command = [DEEPFAKE, "predict", *named, "--model", str(pushed_model)]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=300)
    assert "Traceback" not in done.stderr.decode()
    _head, *rows, _ = done.stdout.decode("latin-1").splitlines()
    assert len(rows) == 2
    assert "bad\\udcff" in rows[0]
    assert "\\u4f60" in rows[1]
    # Pictures and clips after the first are answered, too.
    assert rows[1].startswith(NOT_A_VERDICT)


def test_a_reader_that_had_enough_ends_predict_quietly(workspace, pushed_model):
    clip = str(min((workspace.data / "Celeb-synthesis").glob("*.mp4")))
    command = [DEEPFAKE, "predict", clip, clip, "--model", str(pushed_model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        complaint = running.stderr.read().decode()
        assert running.wait(timeout=300) == 141
    assert "Traceback" not in complaint
    assert "BrokenPipe" not in complaint
