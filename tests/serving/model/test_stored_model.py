"""A model that version 90b7ebd pushed gives the scores that it gave then."""

import json
from pathlib import Path

import pytest
from made_media import face_frame, write_image

from pipeline.cli import main
from preprocessing.support.errors import UsageError
from serving.model import card
from serving.model.card import read

MODEL = Path(__file__).parents[2] / "models" / "90b7ebd"
# What `deepfake predict --json` of that version said of these pictures, of which it cut the faces.
SCORES = {
    (60, 30, 1.0): 0.400045758631292,
    (20, 10, 1.1): 0.4310125434328821,
    (100, 60, 0.8): 0.46800926627352957,
}


@pytest.mark.integration
def test_it_scores_as_it_did(tmp_path, capsys):
    files = [
        str(write_image(tmp_path / f"{number}.png", face_frame([place])))
        for number, place in enumerate(SCORES)
    ]
    assert main(["predict", *files, "--model", str(MODEL), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    scores = [answer["score"] for answer in answers]
    assert scores == pytest.approx(list(SCORES.values()), abs=1e-6)


def test_its_card_is_read():
    model_card = read(MODEL)
    assert (model_card.backbone, model_card.input_size) == ("tiny", 64)
    assert model_card.made_data, "the layout `demo` tells"
    assert model_card.answer_settings().margin == 1.3


def test_a_card_of_a_later_version_is_refused_with_the_remedy(tmp_path):
    content = json.loads((MODEL / card.FILE).read_text())
    path = tmp_path / card.FILE
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**content, "version": 99}))
    (tmp_path / "saved_model.pb").write_bytes(b"")
    remedy = "has version 99, and this program reads version 1; use the program that exported"
    with pytest.raises(UsageError, match=remedy):
        read(tmp_path)
