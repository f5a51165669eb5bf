"""What `deepfake predict` and `score` say of logits that are NaN or far out, by real models."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from serving_support.gateway import SETTINGS
from serving_support.models import face_detector
from serving_support.words import conformal, make_thresholds

from pipeline.cli import main
from serving.model import card
from serving.model.aggregation import NonFiniteLogits
from serving.model.conformal import conformal_clips
from serving.model.outputs import CropOutputs
from serving.model.verdict import DecisionRule, judge

# Crops are taken as they are: a picture's brightness is its logit, through `logit_of`.
EXTRACTION = SETTINGS.replace(precropped=True).to_dict()


def picture(path: Path, brightness: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((96, 96, 3), brightness, np.uint8))
    return str(path)


def make_model(folder: Path, logit_of, clips: dict) -> Path:
    face_detector(folder, logit_of=logit_of)
    content = {
        "version": card.VERSION,
        "input_size": 96,
        "positive_class": "fake",
        "temperature": 1.0,
        "backbone": "tiny",
        "extraction": EXTRACTION,
        "conformal": clips,
    }
    path = folder / card.FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def broken_model(tmp_path_factory) -> Path:
    """NaN for dark pictures, minus infinity for the brightest, else (brightness - 128) / 16."""

    def logit_of(brightness):
        logit = (brightness - 128.0) / 16.0
        logit = tf.where(brightness < 20.0, np.float32(np.nan), logit)
        return tf.where(brightness > 240.0, np.float32(-np.inf), logit)

    return make_model(tmp_path_factory.mktemp("broken") / "1", logit_of, conformal(0.0, 0.0))


def test_predict_never_gives_a_word_to_logits_that_are_not_finite(broken_model, tmp_path, capsys):
    files = [
        picture(tmp_path / "nan.png", 5),
        picture(tmp_path / "inf.png", 250),
        picture(tmp_path / "fake.png", 200),
    ]
    assert main(["predict", *files, "--model", str(broken_model)]) == 1
    _, *rows, _ = capsys.readouterr().out.splitlines()
    assert [row.split()[:2] for row in rows] == [["-", "-"], ["-", "-"], ["fake", "0.989"]]
    for file, row in zip(files[:2], rows, strict=False):
        assert f"the model {broken_model} gives no usable scores" in row
        assert f"1 of 1 logits are NaN or infinite, the first of them in {file}" in row

    assert main(["predict", *files, "--model", str(broken_model), "--json"]) == 1
    answers = json.loads(capsys.readouterr().out)
    assert [answer["verdict"] for answer in answers] == ["", "", "fake"]
    assert [answer["score"] for answer in answers[:2]] == [None, None]


def test_score_gives_no_word_either_and_fails(broken_model, tmp_path, capfd):
    for name, brightness in (("nan", 5), ("inf", 250), ("fake", 200), ("real", 60)):
        picture(tmp_path / "data" / f"{name}.png", brightness)
    target = tmp_path / "scores.parquet"
    arguments = ["score", "--model", str(broken_model), "--data", str(tmp_path / "data")]
    assert main([*arguments, "--output", str(target), "--precropped"]) == 1
    table = pd.read_parquet(target).set_index("clip_id")
    assert table["verdict"].to_dict() == {
        "nan.png": "",
        "inf.png": "",
        "fake.png": "fake",
        "real.png": "real",
    }
    for name in ("nan.png", "inf.png"):
        assert np.isnan(table.loc[name, "score"])
        assert np.isnan(table.loc[name, "logit"])
        assert table.loc[name, "reason"].startswith(f"the model {broken_model} gave NaN")
    said = capfd.readouterr().out
    assert f"error: the model {broken_model} gave NaN or infinite logits for 2 clips" in said


def test_evaluate_measures_nothing_with_them_and_fails(broken_model, tmp_path, capfd):
    for label, levels in (("real", (60, 70)), ("fake", (200, 5))):
        (tmp_path / "data" / label).mkdir(parents=True)
        for brightness in levels:
            picture(tmp_path / "data" / label / f"{brightness}.png", brightness)
    arguments = ["evaluate", "--model", str(broken_model), "--data", str(tmp_path / "data")]
    assert main([*arguments, "--output", str(tmp_path / "out"), "--precropped"]) == 1
    said = capfd.readouterr().out
    assert f"error: the model {broken_model} gave NaN or infinite logits for 1 clips" in said
    assert "fake/5.png" in said
    assert f"{'auc':28}not measured (1 of 4 scores are not numbers)" in said


def test_clips_beyond_the_precision_of_probabilities_are_told_apart(tmp_path, capsys):
    """Real logits of 38 to 41 and fake ones of 60 to 63 all have a P(fake) of exactly 1.0."""
    reals, fakes = np.linspace(38.0, 41.0, 100), np.linspace(60.0, 63.0, 100)
    logits, labels = np.concatenate([reals, fakes]), np.repeat([0, 1], 100)
    clips = conformal_clips(logits, labels, np.arange(200))
    model = make_model(tmp_path / "model", lambda brightness: brightness / 4.0, clips)
    expected = {152: "real", 158: "real", 163: "real", 241: "fake", 246: "fake", 252: "fake"}
    files = [picture(tmp_path / f"{level}.png", level) for level in expected]
    # Brightness 180 is a logit of 45: above every real clip, below every fake one.
    files.append(picture(tmp_path / "180.png", 180))
    assert main(["predict", *files, "--model", str(model), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["verdict"] for answer in answers] == [*expected.values(), "uncertain"]
    assert [answer["score"] for answer in answers] == [1.0] * 7
    assert answers[0]["logit"] == pytest.approx(38.0)
    assert answers[0]["thresholds"]["real_below_logit"] == pytest.approx(41.0)
    assert answers[0]["thresholds"]["fake_above_logit"] == pytest.approx(60.121, abs=1e-3)

    assert main(["predict", files[0], "--model", str(model)]) == 0
    meaning = capsys.readouterr().out.splitlines()[-1]
    assert "fake: above 1.000 (logit 60.12), where" in meaning
    assert "real: below 1.000 (logit 41), where" in meaning


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("thresholds", [None, make_thresholds()])
def test_the_function_that_judges_refuses_for_every_caller(value, thresholds):
    from preprocessing.faces.face_cropper import Crop, FaceCounts
    from preprocessing.media.frame import Frame

    fields = [field.name for field in dataclasses.fields(Crop)]
    frame = Frame(0, 0, np.empty(0, np.uint8))
    known = {**dict.fromkeys(fields), "jpeg": b"-", "frame": frame}
    crops = [Crop(**{**known, "track": track}) for track in (0, 0, 1)]
    with pytest.raises(NonFiniteLogits, match=r"model m version 3 .* 1 of 3 logits .* in clip.mp4"):
        judge(
            "clip.mp4",
            crops,
            FaceCounts(frames=8, faces=3, crops=3),
            lambda jpegs: CropOutputs(np.array([1.0, 5.0, value])),
            DecisionRule(thresholds),
            "m version 3",
        )
