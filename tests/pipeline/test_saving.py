"""`deepfake predict --save`: what is written for each file, and what happens where it cannot be."""

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_media import face_frame, face_video, write_image
from serving_support.gateway import add_version
from serving_support.models import face_detector

from pipeline.cli import main
from pipeline.prediction import saving
from serving.model.answer import Answer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    base = folder / "tiny"
    base.mkdir()
    add_version(base, 1, face_detector(folder / "detector"), real_below=0.6, fake_above=0.7)
    return base


@pytest.fixture(scope="module")
def saved(base, tmp_path_factory) -> Path:
    """The folder after a call with a film, a picture, a wall, a text, and a second film."""
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("saved") / "deep"
    (data / "more").mkdir()
    face_video(data / "a.mp4", 16)
    face_video(data / "more" / "a.mp4", 8)
    write_image(data / "b.png", face_frame([(60, 40, 1.0)]))
    write_image(data / "wall.png", np.full((240, 320, 3), 127, np.uint8))
    (data / "note.mp4").write_text("no film")
    names = ("a.mp4", "b.png", "wall.png", "note.mp4", "more/a.mp4")
    arguments = ["predict", "--model", str(base), "--save", str(folder)]
    assert main([*arguments, *(str(data / name) for name in names)]) == 4
    return folder


def test_a_folder_for_each_file(saved):
    assert {path.name for path in saved.iterdir()} == {
        "a.mp4", "b.png", "wall.png", "note.mp4", "a.mp4-2",
    }  # fmt: skip


def test_the_answer_is_that_of_json(saved):
    for folder in saved.iterdir():
        answer = json.loads((folder / "answer.json").read_text())
        assert Answer.model_validate(answer).name.endswith(folder.name.removesuffix("-2"))
    assert json.loads((saved / "wall.png" / "answer.json").read_text())["reason"] == "no face"


def test_a_film_keeps_its_frames_and_times_and_shows_boxes(saved):
    with av.open(str(saved / "a.mp4" / "annotated.mp4")) as film:
        frames = list(film.decode(video=0))
    assert [round(1000 * frame.time) for frame in frames] == [40 * n for n in range(16)]
    answer = json.loads((saved / "a.mp4" / "answer.json").read_text())
    assert answer["frames"] == 4
    with av.open(str(saved / "a.mp4" / "annotated.mp4")) as film:
        drawn = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert drawn.shape[0] > 240  # A heading and a bar.
    assert drawn.shape[1] == 320


def test_crops_are_named_by_track_frame_and_score(saved):
    answer = json.loads((saved / "a.mp4" / "answer.json").read_text())
    (track,) = answer["tracks"]
    expected = {
        f"track{track['track']}-frame{moment['frame']:06d}-{moment['score']:.3f}.jpg"
        for moment in track["timeline"]
    }
    assert {path.name for path in (saved / "a.mp4" / "crops").iterdir()} == expected
    assert len(expected) == 4


def test_a_picture_is_a_picture(saved):
    names = {path.name for path in (saved / "b.png").iterdir()}
    assert names == {"answer.json", "annotated.png", "crops"}
    drawn = cv2.imread(str(saved / "b.png" / "annotated.png"))
    assert drawn.shape[1] == 320


def test_without_a_face_there_is_the_answer_alone(saved):
    for name in ("wall.png", "note.mp4"):
        assert {path.name for path in (saved / name).iterdir()} == {"answer.json", "crops"}
        assert not list((saved / name / "crops").iterdir())


def test_what_an_earlier_call_wrote_is_replaced(base, tmp_path, capfd):
    film = face_video(tmp_path / "a.mp4", 8)
    arguments = ["predict", "--model", str(base), "--save", str(tmp_path / "out"), str(film)]
    assert main(arguments) == 0
    write_image(tmp_path / "picture.png", np.full((240, 320, 3), 127, np.uint8)).replace(film)
    assert main(arguments) == 4
    assert {path.name for path in (tmp_path / "out" / "a.mp4").iterdir()} == {
        "answer.json",
        "crops",
    }


def test_no_name_leads_out_of_the_folder(base, tmp_path, capfd):
    film = face_video(tmp_path / "a.mp4", 8)
    out = tmp_path / "all" / "out"
    (tmp_path / "all" / "crops").mkdir(parents=True)
    (tmp_path / "all" / "scores.png").write_text("of somebody else")
    arguments = ["predict", "--model", str(base), "--save", str(out), str(film)]
    assert main([*arguments, str(tmp_path / "gone/..")]) == 4
    assert {path.name for path in out.iterdir()} == {"a.mp4", "file"}
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"out", "crops", "scores.png"}


def test_a_full_disk_is_an_error_and_the_answers_are_printed(base, tmp_path, capfd, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    film = face_video(tmp_path / "a.mp4", 8)
    arguments = ["predict", "--model", str(base), "--save", str(tmp_path / "out"), str(film)]
    assert main(arguments) == 0
    assert (tmp_path / "out/a.mp4/answer.json").is_file()
    capfd.readouterr()
    monkeypatch.setattr(saving, "score_curve", full)
    assert main(arguments) == 1
    assert not (tmp_path / "out/a.mp4/answer.json").exists(), "the folder is not complete"
    said = capfd.readouterr()
    assert "a.mp4 could not be saved: [Errno 28] No space left on device" in said.err
    assert "a.mp4" in said.out


def test_a_folder_that_cannot_be_made_is_refused_before_the_model_is_loaded(tmp_path, capfd):
    film = face_video(tmp_path / "a.mp4", 8)
    (tmp_path / "file").write_text("")
    assert main(["predict", "--save", str(tmp_path / "file"), str(film)]) == 2
    assert "name another one with --save" in capfd.readouterr().err
