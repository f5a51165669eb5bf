"""The gateway's page in a real browser, against a real gateway."""

import base64
import json
from pathlib import Path

import av
import axe_core_python
import cv2
import numpy as np
import pytest
from e2e import browser
from made_media import face_frame, write_video
from serving_support.gateway import GatewayProcess, add_version, until
from serving_support.models import face_detector
from serving_support.starter import PROVENANCE, TOLD, make_starter

from serving.model.answer import Answer
from serving.model.verdict import NOT_A_VERDICT
from serving.pictures.film import FilmWriter
from serving.server.process import ServerProcess

pytestmark = pytest.mark.integration

ENTER, TAB = ("Enter", 13), ("Tab", 9)


@pytest.fixture(scope="module")
def chrome():
    found = browser.find()
    if found is None:
        pytest.skip("no Chromium here")
    from serving_support.chrome import Chrome

    with Chrome(found) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    base = folder / "tiny"
    base.mkdir()
    model = face_detector(folder / "detector")
    add_version(base, 4, model, real_below=0.6, fake_above=0.97, min_relative_size=0.65)
    token = folder / "token"
    token.write_text("secret")
    with ServerProcess(["--model-base", base]) as server, GatewayProcess(
        folder / "run", "--server", f"grpc://{server.grpc}", "--model", "tiny",
        "--model-base", base, "--max-bytes", 1_000_000, "--token-file", token,
    ) as process:  # fmt: skip
        yield process


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    frames = [face_frame([(20 + 4 * n, 30, 1.0), (250, 40, 0.8)], width=440) for n in range(8)]
    behind = [face_frame([(20, 30, 1.2), (300, 60, 0.6)], width=440) for _ in range(4)]
    wall = folder / "wall.png"
    assert cv2.imwrite(str(wall), np.full((240, 320, 3), 127, np.uint8))
    (folder / "text.mp4").write_text("no video")
    (folder / "large.mp4").write_bytes(bytes(1_000_001))
    with FilmWriter(folder / "playable.mp4") as film:
        for number, frame in enumerate(frames):
            film.add(frame, 500 * number)
    return {
        "playable": folder / "playable.mp4",
        # A name that would be code if it were not text, and is long without a space.
        "video": write_video(folder / f"<b>{'long' * 20}.mp4", frames),
        "behind": write_video(folder / "behind.mp4", behind),
        "wall": wall,
        "text": folder / "text.mp4",
        "large": folder / "large.mp4",
    }


def shown(chrome, part):
    """Waits until a part of the page is there, and returns its text."""
    until(lambda: chrome.run(f"!document.getElementById('{part}').hidden"), f"{part} is shown")
    return chrome.run(f"document.getElementById('{part}').innerText")


def opened(chrome, gateway, width, token="secret"):
    chrome.open(f"{gateway.url}/", width)
    chrome.run(f"document.getElementById('token').value = '{token}'")


@pytest.mark.parametrize("width", [400, 1400])
def test_verdict_is_shown_whole(chrome, gateway, files, width):
    opened(chrome, gateway, width)
    assert not chrome.faults()
    assert "up to 1.0 MB" in chrome.run("document.body.innerText")
    chrome.choose("#file", files["video"])
    text = shown(chrome, "result")
    assert not chrome.faults()
    # What the API answers, in words; as text, not as markup.
    _, answer = gateway.verdict(files["video"].read_bytes(), token="secret")
    assert answer["verdict"] == "uncertain"
    assert len(answer["tracks"]) == 2
    assert text.startswith("Uncertain")
    for number, entry in enumerate(answer["tracks"], 1):
        assert f"Face {number}" in text
        assert f"score {entry['score']:.3f}" in text
    assert files["video"].name in text
    assert f"version {answer['model']['version']}" in text
    assert "not proof" in chrome.run("document.body.innerText")
    images = "[...document.images].map(one => one.naturalWidth > 0 && one.alt)"
    assert chrome.run(images) == [
        f"Face {number}, {moment['seconds']:.2f} s, score {moment['score']:.3f}"
        for number, track in enumerate(answer["tracks"], 1)
        for moment in track["timeline"]
    ]
    # A model without heat maps is said to have none.
    assert "No heat maps, for the model has no signature `explain`" in text
    assert chrome.run("document.getElementById('heat-row').hidden")
    # The mark stands where the score is, and the band where the thresholds are.
    places = chrome.run(
        "['.mark', '.zone.uncertain'].map(name => { const box ="
        " document.querySelector(name).getBoundingClientRect(),"
        " all = document.getElementById('scale').getBoundingClientRect();"
        " return [(box.left - all.left) / all.width, (box.right - all.left) / all.width]; })"
    )
    assert sum(places[0]) / 2 == pytest.approx(answer["score"], abs=0.01)
    assert places[1] == pytest.approx([0.6, 0.97], abs=0.01)
    label = chrome.run("document.getElementById('scale').getAttribute('aria-label')")
    assert f"{answer['score']:.3f}" in label
    assert "0.600" in label
    assert "0.970" in label
    # A screen reader is taken to the verdict.
    assert chrome.run("document.activeElement.id") == "verdict"


@pytest.mark.parametrize("width", [400, 1400])
def test_moments_of_the_curve_are_shown_by_the_film(chrome, gateway, files, width):
    opened(chrome, gateway, width)
    chrome.choose("#file", files["playable"])
    shown(chrome, "over-time")
    until(lambda: not chrome.run("document.getElementById('film').hidden"), "the film is shown")
    assert not chrome.faults()
    _, answer = gateway.verdict(files["playable"].read_bytes(), token="secret")
    moments = [moment for track in answer["tracks"] for moment in track["timeline"]]
    assert len(moments) == 8
    # The most suspicious one first.
    told = "document.getElementById('told').textContent"
    highest = max(moments, key=lambda moment: moment["score"])
    assert chrome.run(told).startswith(f"{highest['seconds']:.2f} s")
    # By the slider, which keys move.
    chrome.run("document.getElementById('moment').focus()")
    for _ in range(8):
        chrome.key("ArrowLeft", 37)
    earliest = min(moment["seconds"] for moment in moments)
    assert chrome.run(told).startswith(f"{earliest:.2f} s")
    time = "document.getElementById('film').currentTime"
    until(lambda: chrome.run(time) == pytest.approx(earliest, abs=0.01), "the film shows it")
    # By a click at the right end.
    chrome.run(
        "(() => { const box = document.getElementById('curve').getBoundingClientRect();"
        " document.getElementById('curve').dispatchEvent(new MouseEvent('click', {bubbles: true,"
        " clientX: box.right - 1, clientY: box.top + box.height / 2})); })()"
    )
    latest = max(moment["seconds"] for moment in moments)
    assert chrome.run(told).startswith(f"{latest:.2f} s")
    until(lambda: chrome.run(time) == pytest.approx(latest, abs=0.01), "the film shows it")
    assert chrome.run("document.getElementById('moment').getAttribute('aria-valuetext')") == (
        chrome.run(told)
    )


def test_heat_maps_are_shown_and_taken_away(chrome, gateway, files):
    opened(chrome, gateway, 400)
    _, answer = gateway.verdict(files["playable"].read_bytes(), "?explain=1", token="secret")
    layer = cv2.imencode(".png", np.full((8, 8, 4), (0, 94, 213, 150), np.uint8))[1].tobytes()
    for track in answer["tracks"]:
        assert track["strip"]
        for face in track["strip"]:
            face["heat"] = base64.b64encode(layer).decode()
    told = "document.getElementById('heat-told').textContent"
    for change, means in (
        ({}, True),
        ({"warning": "w"}, False),
        ({"verdict": "unfamiliar"}, False),
    ):
        changed = json.dumps({**answer, "no_heat_maps": "", **change})
        chrome.run(f"draw({changed}, new File(['x'], 'a.mp4'))")
        assert ("says nothing about this file" not in chrome.run(told)) == means
    seen = "[...document.querySelectorAll('.heat')].map(one => one.checkVisibility())"
    assert chrome.run(seen) == [True] * sum(len(track["strip"]) for track in answer["tracks"])
    assert not chrome.faults()
    chrome.run("document.getElementById('heat').focus()")
    chrome.key(" ", 32)
    assert set(chrome.run(seen)) == {False}
    # A face shows its moment.
    face = answer["tracks"][0]["strip"][-1]
    chrome.run("[...document.querySelectorAll('.strip')][0].lastChild.click()")
    moment = chrome.run("document.getElementById('told').textContent")
    assert moment == f"{face['seconds']:.2f} s: face 1, score {face['score']:.3f}"


def test_several_files_are_answered_one_after_the_other(chrome, gateway, files):
    opened(chrome, gateway, 400)
    chrome.choose("#file", files["playable"], files["text"], files["wall"])
    rows = "[...document.querySelectorAll('#files button')].map(one => one.innerText)"
    assert "playable.mp4" in shown(chrome, "result")
    assert not chrome.faults()
    told = [row.replace("\n", " ") for row in chrome.run(rows)]
    assert told == ["playable.mp4 Uncertain", "text.mp4 Error", "wall.png No score"]
    current = "[...document.querySelectorAll('#files button')].map(one => one.ariaCurrent)"
    assert chrome.run(current) == ["true", "false", "false"]
    # The others are opened by key.
    chrome.run("document.querySelectorAll('#files button')[1].focus()")
    chrome.key(*ENTER)
    assert "cannot be read" in shown(chrome, "failed")
    chrome.run("document.querySelectorAll('#files button')[2].focus()")
    chrome.key(*ENTER)
    assert "No face found" in shown(chrome, "result")
    assert chrome.run(current) == ["false", "false", "true"]


def test_answer_and_film_are_downloaded(chrome, gateway, files, tmp_path):
    opened(chrome, gateway, 400)
    chrome.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    chrome.choose("#file", files["playable"])
    shown(chrome, "result")
    # The second one cancels the film, the third asks for it once more.
    presses = [("json", ""), ("film", "Cancel"), ("film", "Download"), ("film", "Cancel")]
    with gateway.workers_stopped():
        for name, text in presses:
            button = f"document.getElementById('save-{name}')"
            chrome.run(f"{button}.focus()")
            chrome.key(*ENTER)
            assert text in chrome.run(f"{button}.textContent")
    told = "document.getElementById('film-told').textContent"
    until(lambda: chrome.run(told) == "Done.", "the film is written")
    whole = {"playable.mp4.json", "playable.mp4.marked.mp4"}
    until(lambda: {path.name for path in tmp_path.iterdir()} == whole, "both are there")
    answer = Answer.model_validate_json((tmp_path / "playable.mp4.json").read_bytes())
    assert answer.name == "playable.mp4"
    with av.open(str(tmp_path / "playable.mp4.marked.mp4")) as film:
        assert len(list(film.decode(video=0))) == 8
    # The server keeps nothing of it.
    until(lambda: not gateway.uploads(), "the job is dropped")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1300])
def test_axe_finds_nothing(chrome, gateway, files, width, dark, tmp_path):
    axe = Path(axe_core_python.__file__).with_name("axe.min.js").read_text()

    def violations():
        chrome.run(axe + ";0")
        found = chrome.run("axe.run().then(found => JSON.stringify(found.violations))")
        return [
            (rule["id"], node["html"][:120]) for rule in json.loads(found) for node in rule["nodes"]
        ]

    chrome.open(f"{gateway.url}/", width, dark=dark)
    chrome.run("document.getElementById('token').value = 'secret'")
    assert violations() == []
    chrome.choose("#file", files["playable"], files["text"])
    shown(chrome, "over-time")
    until(lambda: chrome.run("document.getElementById('working').hidden"), "all are answered")
    assert violations() == []
    assert not chrome.faults()
    chrome.picture(tmp_path / "result.png")
    chrome.run("document.querySelectorAll('#files button')[1].click()")
    shown(chrome, "failed")
    assert violations() == []


def test_parts_are_told_where_the_score_says_something(chrome, gateway, files):
    opened(chrome, gateway, 400)
    _, answer = gateway.verdict(files["playable"].read_bytes(), token="secret")
    times = [moment["seconds"] for moment in answer["tracks"][0]["timeline"]]
    segment = {"track": 0, "start": times[0], "end": times[-1], "first_frame": 0, "last_frame": 7}
    for change, told in (({}, True), ({"warning": "w"}, False), ({"verdict": "unfamiliar"}, False)):
        changed = json.dumps({**answer, "segments": [segment], **change})
        chrome.run(f"drawTime({changed}, new File(['x'], 'a.mp4'))")
        text = chrome.run("document.getElementById('parts').textContent")
        assert text.startswith("Manipulated parts: ") == told
        assert bool(chrome.run("document.querySelectorAll('#curve .part').length")) == told


def test_pictures_and_films_that_the_browser_cannot_play(chrome, gateway, files):
    opened(chrome, gateway, 400)
    chrome.choose("#file", files["video"])
    shown(chrome, "over-time")
    # MPEG-4 part 2: the curve alone, also once the browser has tried.
    until(lambda: chrome.run("document.getElementById('film').error !== null"), "it fails")
    assert chrome.run("document.getElementById('film').hidden")
    chrome.choose("#file", files["wall"])
    until(lambda: chrome.run("document.getElementById('over-time').hidden"), "no curve is left")


def test_a_model_of_made_data_shows_a_score_and_neither_word_nor_colour(chrome, tmp_path, files):
    provenance = {**PROVENANCE, "made_data": True}
    base = make_starter(tmp_path / "starter", provenance)
    with ServerProcess(["--model-base", base]) as server, GatewayProcess(
        tmp_path / "run", "--server", f"grpc://{server.grpc}", "--model-base", base,
    ) as process:  # fmt: skip
        chrome.open(f"{process.url}/", 400)
        text = chrome.run("document.body.innerText")
        assert NOT_A_VERDICT in text
        assert not chrome.faults()
        chrome.choose("#file", files["video"])
        text = shown(chrome, "result")
        assert not chrome.faults()
    assert text.startswith(f"Not a verdict\n\n{NOT_A_VERDICT.capitalize()}.")
    assert TOLD in text
    # The card's line counts the clips it learnt from; nothing else is called anything.
    for line in text.replace(TOLD, "").splitlines():
        words = "fake" in line or "manipul" in line.lower()
        assert not words or NOT_A_VERDICT in line, line
    assert chrome.run("document.querySelectorAll('.zone.fake, .zone.real').length") == 0
    assert chrome.run("document.getElementById('verdict').className") == "verdict"
    label = chrome.run("document.getElementById('scale').getAttribute('aria-label')")
    assert "fake" not in label
    assert label.startswith("Score 0.")


def test_faces_left_out_are_said_and_judged_when_asked_for(chrome, gateway, files):
    opened(chrome, gateway, 400)
    chrome.choose("#file", files["behind"])
    text = shown(chrome, "result")
    assert "4 far smaller than the largest face of the shot" in text
    assert "Judge every face" in text
    assert "Face 2" not in text
    assert not chrome.faults()
    chrome.run("document.getElementById('all-faces').click()")
    chrome.run("document.getElementById('result').hidden = true")
    chrome.choose("#file", files["behind"])
    text = shown(chrome, "result")
    assert "Face 2" in text
    assert "left out" not in text
    assert not chrome.faults()
    chrome.picture(files["behind"].with_suffix(".png"))


@pytest.mark.parametrize(
    ("name", "part", "words"),
    [
        ("wall", "result", "No face found"),
        ("text", "failed", "cannot be read"),
        ("large", "failed", "up to 1.0 MB are accepted"),
    ],
)
def test_other_answers_are_said(chrome, gateway, files, name, part, words):
    opened(chrome, gateway, 400)
    chrome.choose("#file", files[name])
    assert words in shown(chrome, part)
    assert not chrome.faults()
    # No scale, no number that could be taken for a score, and no film to be marked.
    assert not chrome.run("document.querySelector('.mark')")
    assert not chrome.run("document.getElementById('save-film').checkVisibility()")


def test_wrong_token_is_said_and_can_be_mended(chrome, gateway, files):
    opened(chrome, gateway, 400, token="wrong")
    chrome.choose("#file", files["wall"])
    assert "token" in shown(chrome, "failed")
    chrome.run("document.getElementById('token').value = 'secret'")
    chrome.choose("#file", files["wall"])
    assert "No face found" in shown(chrome, "result")
    assert chrome.run("document.getElementById('failed').hidden")


def test_keys_reach_all_there_is_to_do(chrome, gateway, files):
    opened(chrome, gateway, 1400)
    names = []
    for _ in range(2):
        chrome.key(*TAB)
        names.append(chrome.run("document.activeElement.id"))
    assert names == ["token", "file"]
    outline = "getComputedStyle(document.getElementById('drop')).outlineStyle"
    assert chrome.run(outline) == "solid", "the focus can be seen"
    # Enter opens the dialog, which a test cannot see; the page is told that a file was chosen.
    chrome.ask("Page.setInterceptFileChooserDialog", enabled=True)
    opens = "new Promise(tell => document.getElementById('file').addEventListener('click', tell))"
    chrome.run(f"window.opened = {opens}.then(() => true); 0")
    chrome.key(*ENTER)
    assert chrome.run("window.opened")
    # A request that never ends, to be cancelled by keyboard.
    chrome.run("XMLHttpRequest.prototype.open = function () {}; 0")
    chrome.run("XMLHttpRequest.prototype.setRequestHeader = XMLHttpRequest.prototype.send = "
               "function () {}; 0")  # fmt: skip
    chrome.run("XMLHttpRequest.prototype.abort = function () { this.onabort(); }; 0")
    chrome.choose("#file", files["wall"])
    assert "Sending wall.png" in shown(chrome, "working")
    chrome.run("document.getElementById('cancel').focus()")
    chrome.key(*ENTER)
    assert chrome.run("document.getElementById('working').hidden")
    assert chrome.run("document.activeElement.id") == "file"
    unnamed = (
        "[...document.querySelectorAll('input, button, progress, [role=img]')]"
        ".filter(one => !(one.labels && one.labels.length) && !one.getAttribute('aria-label')"
        " && !one.textContent.trim() && one.id !== 'scale').map(one => one.id)"
    )
    assert chrome.run(unnamed) == []
