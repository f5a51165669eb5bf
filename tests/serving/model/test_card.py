import json
import subprocess
import sys

import pytest

from preprocessing.faces.crop_settings import CropSettings
from preprocessing.support.errors import UsageError
from serving.model import card

GOOD = {
    "version": card.VERSION,
    "input_size": 224,
    "positive_class": "fake",
    "temperature": 1.5,
    "backbone": "nasnet_mobile",
}


def _model(folder, metadata=None):
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    if metadata is not None:
        (folder / card.FILE).write_text(json.dumps(metadata))
    return folder


def test_reads_a_model_a_trainer_output_and_the_newest_version(tmp_path):
    assert card.read(_model(tmp_path / "one", GOOD)).to_dict() == GOOD
    _model(tmp_path / "two" / "Format-Serving", GOOD)
    assert card.read(tmp_path / "two").to_dict() == GOOD
    for version in ("9", "10"):
        _model(tmp_path / "pushed" / version, {**GOOD, "backbone": version})
    assert card.read(str(tmp_path / "pushed")).backbone == "10"


@pytest.mark.parametrize("name", ["²", "１", "৩"])  # noqa: RUF001
def test_folders_named_by_other_digits_are_no_versions(tmp_path, name):
    """`"²".isdigit()` is true, and `int` does not read it."""
    _model(tmp_path / name, {**GOOD, "backbone": "wrong"})
    with pytest.raises(UsageError, match="holds no exported model"):
        card.find_saved_model(tmp_path)
    _model(tmp_path / "3", GOOD)
    assert card.find_saved_model(tmp_path) == tmp_path / "3"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "was not exported by this pipeline"),
        ({**GOOD, "version": 99}, "has version 99"),
        ({"version": 1}, "without input_size"),
        ([], "incomplete"),
        ({**GOOD, "temperature": "1.5"}, "temperature: '1.5' is not a number; export the model"),
        ({**GOOD, "input_size": 224.5}, "input_size: 224.5 is not a whole number"),
        (
            {**GOOD, "operating_points": {"points": [{"name": "eer", "threshold": "0.5"}]}},
            "operating_points.points.threshold: '0.5' is not a number",
        ),
    ],
)
def test_other_models_are_refused(tmp_path, metadata, message):
    with pytest.raises(UsageError, match=message):
        card.read(_model(tmp_path / "model", metadata))


PROVENANCE = {
    "name": "small",
    "summary": "a small network.",
    "trained_on": [
        {"dataset": "one", "clips_real": 3, "clips_fake": 4, "persons": 5, "split": "train"},
        {"dataset": "two", "clips_real": 1, "clips_fake": 2, "persons": None},
    ],
    "figures": {
        "AUC per clip": {"value": 0.9, "low": 0.85, "high": 0.94, "on": "50 clips of one"},
        "AUC of frames": {"value": 0.8, "on": "two"},
    },
    "never_shown": "voices",
    "terms": "for research only",
    "made_data": False,
}


def test_what_a_model_comes_from_is_read_and_told_in_one_line(tmp_path):
    found = card.read(_model(tmp_path / "model", {**GOOD, "provenance": PROVENANCE}))
    assert found.provenance.line() == (
        "Model: small: a small network. "
        "Trained on: one (3 real and 4 fake clips, 5 persons, split train), "
        "two (1 real and 2 fake clips). "
        "Figures: AUC per clip 0.900 [0.850, 0.940] on 50 clips of one; "
        "AUC of frames 0.800 on two. "
        "Never shown: voices. Terms: for research only."
    )
    assert json.loads(found.to_json())["provenance"] == PROVENANCE
    about = found.about("served", 7)
    assert json.loads(json.dumps(about)) == {
        "name": "served",
        "version": 7,
        "backbone": "nasnet_mobile",
        "about": found.provenance.line(),
        "provenance": PROVENANCE,
    }
    assert not found.made_data


def test_cards_without_provenance_are_read():
    found = card.ModelCard.from_dict(GOOD)
    assert found.provenance is None
    assert not found.made_data
    about = found.about("served", None)
    assert (about["about"], about["provenance"], about["version"]) == ("", None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "provenance.name: it is missing"),
        ({"made_data": "no"}, "provenance.made_data: 'no' is not true or false"),
        ({"figures": {"AUC": {"value": "0.9", "on": "one"}}}, "'0.9' is not a number"),
        ({"trained_on": [{"dataset": "one"}]}, "provenance.trained_on.clips_real"),
    ],
)
def test_a_broken_provenance_is_named(tmp_path, change, message):
    values = {key: value for key, value in {**PROVENANCE, **change}.items() if value is not None}
    with pytest.raises(UsageError, match=message):
        card.read(_model(tmp_path / "model", {**GOOD, "provenance": values}))


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ({"provenance": {**PROVENANCE, "made_data": True}}, True),
        # Cards of before have no provenance.
        ({"data": {"layout": "demo", "split": "official"}}, True),
        ({"data": {"layout": "celeb_df", "split": "official"}}, False),
    ],
)
def test_a_model_of_made_data_is_known(change, made):
    assert card.ModelCard.from_dict({**GOOD, **change}).made_data is made


def test_versions_and_other_folders_have_names(tmp_path):
    assert card.name_and_version(tmp_path / "demo" / "12") == ("demo", 12)
    assert card.name_and_version(tmp_path / "²") == ("²", None)


def test_damaged_metadata(tmp_path):
    _model(tmp_path / "model", GOOD)
    (tmp_path / "model" / card.FILE).write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        card.read(tmp_path / "model")


# As the first versions wrote it: without the settings, and logits of thresholds, that came later.
FIRST_CARD = """{
 "backbone": "tiny",
 "code": "0123456789abcdef",
 "data": {
  "layout": "celeb_df",
  "split": "official"
 },
 "extraction": {
  "frames_per_clip": 4,
  "jpeg_quality": 95,
  "margin": 1.3,
  "max_crop_size": 384,
  "min_face_score": 0.8,
  "min_face_size": 40,
  "min_track_share": 0.2,
  "precropped": false
 },
 "input_size": 64,
 "later": [
  1,
  null
 ],
 "offset": -0.25,
 "operating_points": {
  "fake_clips": 20,
  "points": [
   {
    "fpr": 0.1,
    "name": "eer",
    "threshold": 0.5,
    "tpr": 0.9
   }
  ],
  "real_clips": 20
 },
 "positive_class": "fake",
 "temperature": 1.5,
 "validation": {
  "auc": NaN,
  "loss": 1e-05
 },
 "version": 1
}
"""


def test_cards_are_written_as_they_were_read(tmp_path):
    path = _model(tmp_path / "model") / card.FILE
    path.write_text(FIRST_CARD)
    assert card.read(tmp_path / "model").to_json() == FIRST_CARD


def test_first_cards_give_the_crops_that_they_gave(tmp_path):
    path = _model(tmp_path / "model") / card.FILE
    path.write_text(FIRST_CARD)
    settings = card.read(tmp_path / "model").crop_settings()
    assert settings == CropSettings(
        frames_per_clip=4,
        frames_per_second=0.0,
        max_yaw=90.0,
        min_sharpness=0.0,
        min_relative_size=0.0,
        align=False,
        boxes_of_original=False,
    )
    assert CropSettings().min_sharpness
    assert CropSettings().min_relative_size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": "1.3"}, "extraction.margin: '1.3' is not a number"),
        ({"margin": 0.4}, "extraction.margin: 0.4 is outside 0.5 to 3.0"),
        ({"align": 1}, "extraction.align: 1 is not true or false"),
        ({"frames_per_clip": 4.0}, "extraction.frames_per_clip: 4.0 is not a whole number"),
        ({"marigin": 1.3}, "unknown key 'extraction.marigin'; did you mean 'margin'"),
        ({"precropped": True}, "give it such crops, with --precropped"),
        ({"margin": None}, "extraction.margin is missing"),
    ],
)
def test_crops_that_cannot_be_made_are_refused(change, message):
    values = {**json.loads(FIRST_CARD)["extraction"], **change}
    values = {key: value for key, value in values.items() if value is not None}
    model_card = card.ModelCard.from_dict({**GOOD, "extraction": values})
    with pytest.raises(UsageError, match=message):
        model_card.crop_settings()
    if "precropped" not in change:
        with pytest.raises(UsageError, match="the model was trained on crops that this version"):
            model_card.crop_settings(precropped=True)


@pytest.mark.parametrize("margin", [0.5, 3.0])
def test_given_crops_are_held_against_the_geometry_of_any_margin(margin):
    values = {**json.loads(FIRST_CARD)["extraction"], "margin": margin}
    settings = card.ModelCard.from_dict({**GOOD, "extraction": values}).crop_settings(True)
    assert settings.crop_by == "landmarks"
    assert settings.eye_distance == pytest.approx(0.26 * 1.3 / margin, rel=0.02)


def test_no_model_at_all(tmp_path):
    with pytest.raises(UsageError, match="is not a folder"):
        card.read(tmp_path / "absent")
    with pytest.raises(UsageError, match="holds no exported model"):
        card.read(tmp_path)


def test_needs_no_tensorflow():
    program = "import sys, serving.model.card; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
