"""`deepfake predict`: what it prints, where the scores come from, and how it ends."""

import csv
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_media import face_frame, face_video, write_image
from serving_support.gateway import add_version
from serving_support.models import face_detector
from serving_support.planned_servers import Plan, start_grpc

from pipeline.cli import main
from pipeline.prediction.inputs import items_of
from pipeline.prediction.output import CSV_COLUMNS, JsonLines, Table
from pipeline.prediction.run import FAILED, predict_items
from pipeline.prediction.served_predictor import RemoteServer, ServedPredictor
from preprocessing.faces.face_selection import FaceCounts
from serving.clients import ClientSettings
from serving.model.answer import Answer
from serving.model.outputs import NO_HEAT_MAPS
from serving.model.predictor import Predictor
from serving.model.starter import FOLDER
from serving.model.verdict import DecisionRule, Verdict
from serving.model.windows import ManipulatedParts, Segment, Window
from serving.server.process import ServerProcess

pytestmark = pytest.mark.integration

DEEPFAKE = str(Path(sys.executable).parent / "deepfake")
MEDIA = Path(__file__).parents[1] / "media"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A video and a picture of a face, and a wall."""
    folder = tmp_path_factory.mktemp("files")
    face_video(folder / "a video.mp4")
    write_image(folder / "b.png", face_frame([(60, 40, 1.0)]))
    write_image(folder / "wall.png", np.full((240, 320, 3), 127, np.uint8))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Versions 3 and 7 of a model whose logit is the brightness of a crop."""
    folder = tmp_path_factory.mktemp("predicted")
    base = folder / "tiny"
    base.mkdir()
    model = face_detector(folder / "detector")
    for number in (3, 7):
        add_version(base, number, model, real_below=0.6, fake_above=0.7)
    return base


@pytest.fixture(scope="module")
def server(tmp_path_factory, base):
    """Serves that model's newest version, and the starter."""
    config = tmp_path_factory.mktemp("config") / "models.config"
    config.write_text(
        "model_config_list {\n"
        f'  config {{ name: "tiny" base_path: "{base}" }}\n'
        f'  config {{ name: "starter" base_path: "{FOLDER}" }}\n'
        "}\n"
    )
    with ServerProcess(["--models-config", config]) as server:
        yield server


def answers(capsys, *arguments, status=0) -> list[dict]:
    """The answers of a call with --json, each as the schema has it."""
    assert main(["predict", "--json", *map(str, arguments)]) == status
    printed = json.loads(capsys.readouterr().out)
    for answer in printed:
        checked = Answer.model_validate(answer)
        assert checked.model_dump(mode="json", exclude_unset=True) == answer
    return printed


def logits(answers) -> list[float]:
    return [answer["logit"] for answer in answers]


def test_every_format_says_the_same(capsys, files, base):
    (files / "notes.txt").write_text("a document")
    model = ["--model", str(base)]
    in_json = answers(capsys, files, *model, status=4)
    assert [Path(answer["name"]).name for answer in in_json] == [
        "a video.mp4", "b.png", "notes.txt", "wall.png",
    ]  # fmt: skip
    assert [answer["score"] is None for answer in in_json] == [False, False, True, True]
    assert in_json[3]["reason"] == "no face"
    assert {answer["schema_version"] for answer in in_json} == {1}
    assert {answer["model"]["version"] for answer in in_json} == {7}

    assert main(["predict", "--jsonl", str(files), *model]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert list(map(json.loads, lines)) == in_json

    assert main(["predict", "--csv", str(files), *model]) == 4
    head, *rows = csv.reader(capsys.readouterr().out.splitlines())
    assert tuple(head) == CSV_COLUMNS
    for row, answer in zip(rows, in_json, strict=True):
        cells = dict(zip(head, row, strict=True))
        for key in ("name", "verdict", "reason", "faces", "faces_found", "frames", "logit"):
            assert cells[key] == ("" if answer[key] is None else str(answer[key]))
        assert (cells["model"], cells["model_version"]) == ("tiny", "7")
        ranks = answer["p_values"] or {"real": "", "fake": ""}
        assert (cells["p_real"], cells["p_fake"]) == (str(ranks["real"]), str(ranks["fake"]))

    assert main(["predict", str(files), *model]) == 4
    _, *rows, meaning = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == [answer["verdict"] or "-" for answer in in_json]
    assert meaning == f"{in_json[0]['meaning']}; {in_json[0]['segments_meaning']}"
    assert "no segments: the model's card holds no windows" in meaning
    (files / "notes.txt").unlink()


@pytest.mark.parametrize("made_data", [False, True])
def test_the_table_tells_parts_of_clips_for_a_model_of_real_data_only(capsys, made_data):
    rule = DecisionRule(made_data=made_data)
    parts = ManipulatedParts(Window(2.2, 0.01), (Segment(0, 0.06, 0.14, 1, 2, 0.9, 2.2),))
    counts = FaceCounts(frames=4, crops=4)
    table = Table(rule, {})
    table.add(Verdict("clip.mp4", 0.9, counts=counts, decision_rule=rule, parts=parts))
    table.end()
    printed = capsys.readouterr().out
    assert ("segment: 0.06 to 0.14 s of track 0" in printed) != made_data
    assert (rule.segments_meaning() in printed) != made_data
    assert rule.meaning() in printed


def test_documents_beside_the_files_do_not_count(capsys, files, base, tmp_path):
    (tmp_path / "notes.txt").write_text("a document")
    write_image(tmp_path / "b.png", face_frame([(60, 40, 1.0)]))
    answers(capsys, tmp_path, "--model", base)
    # Named by itself it is a file like others.
    answers(capsys, tmp_path / "notes.txt", tmp_path / "b.png", "--model", base, status=4)


def test_each_line_is_printed_before_the_next_file_is_looked_at(capsys, files, base):
    printed = []

    class Watched(Predictor):
        def examine(self, *arguments):
            printed.append(capsys.readouterr().out)
            return super().examine(*arguments)

    predictor = Watched(base)
    items = items_of([str(files / name) for name in ("b.png", "wall.png", "gone.png")], bytes)
    assert predict_items(predictor, items, JsonLines(predictor.decision_rule, predictor.about)) == 4
    predictor.close()
    assert printed[0] == ""
    assert json.loads(printed[1])["name"] == items[0].name
    assert [json.loads(line)["reason"] for line in capsys.readouterr().out.splitlines()] == [
        "no face", f"there is no file {files / 'gone.png'}",
    ]  # fmt: skip


def test_whatever_one_file_does_the_others_are_answered(capsys, files, base):
    class Failing(Predictor):
        def examine(self, file, *arguments):
            if file.name == "b.png":
                raise MemoryError("no room for b.png")
            return super().examine(file, *arguments)

    predictor = Failing(base)
    items = items_of([str(files / "b.png"), str(files / "a video.mp4")], bytes)
    assert (
        predict_items(predictor, items, JsonLines(predictor.decision_rule, predictor.about))
        == FAILED
    )
    predictor.close()
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["reason"] == "MemoryError: no room for b.png"
    assert second["score"] is not None


def test_a_list_on_standard_input_and_progress_on_a_terminal(files, base):
    command = [DEEPFAKE, "predict", "--jsonl", "-", "--model", str(base)]
    given = b"\0".join(os.fsencode(files / name) for name in ("b.png", "wall.png"))
    terminal, theirs = pty.openpty()
    try:
        done = subprocess.run(
            command, input=given, stdout=subprocess.PIPE, stderr=theirs, timeout=300, check=False
        )
        shown = os.read(terminal, 1 << 16).decode()
    finally:
        os.close(terminal)
        os.close(theirs)
    assert done.returncode == 4, shown
    assert [json.loads(line)["reason"] for line in done.stdout.splitlines()] == ["", "no face"]
    assert "1/2, frame 0: " in shown
    assert "2/2, about 0:00:" in shown
    assert shown.endswith("\r\033[K"), "the line was taken away"


@pytest.mark.parametrize("scheme", ["grpc", "http"])
@pytest.mark.parametrize("options", [[], ["--precropped"]])
def test_a_server_gives_the_same_logits(capsys, files, base, server, scheme, options):
    url = f"grpc://{server.grpc}" if scheme == "grpc" else server.rest
    given = [files / "a video.mp4", files / "b.png", *options]
    local = answers(capsys, *given, "--model", base)
    served = answers(capsys, *given, "--model", base, "--server", url)
    assert np.abs(np.subtract(logits(served), logits(local))).max() <= 1e-5
    for own, other in zip(local, served, strict=True):
        numbers = {"score", "logit", "tracks"}
        for key in set(own) - numbers:
            assert own[key] == other[key]


def test_the_starter_gives_the_same_logits_and_heat_maps_from_a_server(capsys, server, tmp_path):
    capture = cv2.VideoCapture(str(MEDIA / "fake122.mp4"))
    read, frame = capture.read()
    assert read
    picture = tmp_path / "frame.png"
    cv2.imwrite(str(picture), frame)
    (local,) = answers(capsys, picture, "--save", tmp_path / "local")
    (drawn,) = (tmp_path / "local").rglob("*-heat.png")
    for url in (f"grpc://{server.grpc}", server.rest):
        folder = tmp_path / url.partition(":")[0]
        (served,) = answers(capsys, picture, "--server", url, "--save", folder)
        assert served["logit"] == pytest.approx(local["logit"], abs=1e-5)
        assert served["familiarity"]["distance"] == pytest.approx(
            local["familiarity"]["distance"], abs=1e-4
        )
        assert served["model"] == local["model"]
        (other,) = folder.rglob("*-heat.png")
        difference = cv2.imread(str(other)).astype(int) - cv2.imread(str(drawn))
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("scheme", ["grpc", "http", ""])
def test_a_model_without_heat_maps_is_said_and_no_error(
    capsys, files, base, server, tmp_path, scheme
):
    url = {"grpc": f"grpc://{server.grpc}", "http": server.rest}.get(scheme)
    command = ["predict", str(files / "b.png"), "--model", str(base), "--save", str(tmp_path)]
    assert main([*command, *(["--server", url] if url else [])]) == 0
    assert capsys.readouterr().err == f"note: {NO_HEAT_MAPS}\n"
    assert [path.suffix for path in (tmp_path / "b.png" / "crops").iterdir()] == [".jpg"]


@pytest.mark.parametrize(("options", "status"), [([], 4), (["--precropped"], 0)])
def test_a_batch_run_gives_the_same_answers(capsys, files, base, tmp_path, options, status):
    (tmp_path / "data").mkdir()
    for path in files.iterdir():
        shutil.copy(path, tmp_path / "data")
    (tmp_path / "data/notes.txt").write_text("a document")
    output = tmp_path / "scores.jsonl"
    command = ["score", "--data", str(tmp_path / "data"), "--model", str(base), *options]
    assert main([*command, "--output", str(output)]) == status
    capsys.readouterr()
    batch = [json.loads(line) for line in output.read_text().splitlines()]
    given = answers(capsys, tmp_path / "data", "--model", base, *options, status=status)
    for scored, predicted in zip(batch, given, strict=True):
        Answer.model_validate(scored)
        assert scored["name"] == Path(predicted["name"]).name
        assert scored["logit"] == pytest.approx(predicted["logit"], abs=1e-5)
        for key in set(predicted) - {"name", "score", "logit", "tracks", "reason"}:
            assert scored[key] == predicted[key], key
        for one, other in zip(scored["tracks"], predicted["tracks"], strict=True):
            for moment, expected in zip(one["timeline"], other["timeline"], strict=True):
                assert moment == pytest.approx(expected, abs=1e-5)


def test_servers_that_do_not_have_the_model_are_named(capsys, files, base, server):
    picture, url = str(files / "b.png"), f"grpc://{server.grpc}"
    command = ["predict", picture, "--model", str(base), "--server"]
    assert main([*command, "grpc://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == (
        "error: grpc://127.0.0.1:1: the model server does not answer (model 'tiny')\n"
    )
    assert main([*command, url, "--server-model", "other"]) == 1
    assert "does not serve the model (model 'other')" in capsys.readouterr().err
    # One version's own folder asks for that version.
    (answer,) = answers(capsys, picture, "--model", base / "7", "--server", url)
    assert answer["model"]["version"] == 7
    assert main(["predict", picture, "--model", str(base / "3"), "--server", url]) == 1
    assert "serves version 7 of the model 'tiny', and not 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "--csv"], "give one of --json and --csv"),
        (["--server", "host:8500"], "'host:8500' is no address of a server"),
        (["--server-model", "tiny"], "--server-model names a model on a server"),
        (["--server", "grpc://127.0.0.1:1", "--server-ca", "gone.pem"], "no file gone.pem"),
        (["--server", "grpc://127.0.0.1:1", "--server-token-file", "gone"], "token file gone"),
    ],
)
def test_wrong_usage(capsys, files, base, arguments, words):
    assert main(["predict", str(files), "--model", str(base), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_with_a_server_wrong_usage_is_told_in_the_same_words(capsys, files, base, server, tmp_path):
    url = f"grpc://{server.grpc}"
    command = ["predict", str(files / "b.png"), "--model"]
    for option in ("--false-positive-rate", "--miss-rate"):
        wrong = [*command, str(base), option, "5"]
        assert main(wrong) == 2
        said = capsys.readouterr().err
        assert main([*wrong, "--server", url]) == 2
        assert capsys.readouterr().err == said
    # The server is ahead of the folder, which holds no card of what it serves.
    behind = tmp_path / "tiny"
    shutil.copytree(base / "3", behind / "3")
    assert main([*command, str(behind), "--server", url]) == 2
    assert f"{behind / '7'} is not a folder" in capsys.readouterr().err


def test_the_deadline_grows_with_the_requests_about_a_file(base):
    """A long file's crops take many, and a slow server does not fail it."""
    plan = Plan(version=7)
    planned, port = start_grpc(plan)
    crops = [b"crop"] * (3 * ClientSettings.batch_size)
    try:
        predictor = ServedPredictor(RemoteServer(f"grpc://127.0.0.1:{port}"), base)
        try:
            assert predictor.outputs(crops).logits.tolist() == [4.0] * len(crops)
            assert predictor.cells(crops).shape == (len(crops), 1, 1)
        finally:
            predictor.close()
    finally:
        planned.stop(None)
    assert len(plan.seconds) == 6
    # Those that the first request does not need, the others may.
    assert min(plan.seconds[0], plan.seconds[3]) > 2 * ClientSettings.deadline
    assert max(plan.seconds) < 3.5 * ClientSettings.deadline


def test_a_server_that_goes_away_is_named_and_no_file_is_skipped(capsys, files, base):
    with ServerProcess(["--model-base", base]) as server:
        predictor = ServedPredictor(RemoteServer(f"grpc://{server.grpc}"), base)
        items = items_of([str(files / "b.png"), str(files / "wall.png")], bytes)
        output = JsonLines(predictor.decision_rule, predictor.about)
        assert predict_items(predictor, items, output) == 4
        assert server.stop() == 0
        assert predict_items(predictor, [*items, items[0]], output) == FAILED
        predictor.close()
    first, _, *rest = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["score"] is not None
    assert [answer["reason"].partition(" gave no scores (UNAVAILABLE")[0] for answer in rest] == [
        (gone := f"the model tiny version 7 on grpc://{server.grpc}"), "no face", gone,
    ]  # fmt: skip
