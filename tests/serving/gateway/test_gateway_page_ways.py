"""The page with the starter: its card, films made for the page, and the camera."""

import io
import json
import urllib.request

import av
import cv2
import pytest
from e2e import browser
from serving_support.gateway import GatewayProcess, until

from serving.gateway.page import examples
from serving.model import card, starter
from serving.server.process import ServerProcess

pytestmark = pytest.mark.integration

ENTER = ("Enter", 13)
NAMES = "[...document.querySelectorAll('.example')].map(button => button.dataset.name)"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A gateway that asks the committed starter."""
    folder = tmp_path_factory.mktemp("run")
    with ServerProcess([]) as server, GatewayProcess(
        folder, "--server", f"grpc://{server.grpc}"
    ) as process:  # fmt: skip
        yield process


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    """A browser whose camera sees the first example."""
    program = browser.find()
    if program is None:
        pytest.skip("no Chromium here")
    from serving_support.chrome import Chrome

    film = tmp_path_factory.mktemp("camera") / "seen.mjpeg"
    frames = frames_of(examples()["untouched.mp4"])[:5]
    film.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
    with Chrome(program, camera=film) as chrome:
        yield chrome


def frames_of(film):
    with av.open(io.BytesIO(film)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def shown(chrome, part):
    """Waits until a part of the page is there, and returns its text."""
    until(lambda: chrome.run(f"!document.getElementById('{part}').hidden"), f"{part} is shown")
    return chrome.run(f"document.getElementById('{part}').innerText")


def allow_camera(chrome, gateway, setting):
    """Answers the browser's question once and for all."""
    chrome.ask(
        "Browser.setPermission",
        permission={"name": "camera"}, setting=setting, origin=gateway.url,
    )  # fmt: skip


def press(chrome, selector):
    """Presses a button by keyboard."""
    chrome.run(f"document.querySelector({selector!r}).focus()")
    chrome.key(*ENTER)


def test_examples_are_films_that_anyone_may_have(chrome, gateway):
    chrome.open(f"{gateway.url}/", 390)
    assert sorted(chrome.run(NAMES)) == sorted(examples())
    assert len(examples()) == 3
    for name, film in examples().items():
        with urllib.request.urlopen(f"{gateway.url}/examples/{name}") as answer:
            assert answer.headers["content-type"] == "video/mp4"
            assert answer.read() == film
        assert len(frames_of(film)) == 75
    for name in ("other.mp4", "..%2fpage.html", "%2e%2e"):
        assert gateway.request("GET", f"/examples/{name}")[0] == 404


@pytest.mark.parametrize("width", [390, 1300])
def test_the_card_of_the_model_is_a_drawer(chrome, gateway, width):
    chrome.open(f"{gateway.url}/", width)
    facts = card.read(starter.FOLDER).provenance.facts()
    text = chrome.run("document.body.innerText")
    assert f"Model: {facts.pop('Model')}" in text
    assert set(facts) == {"Trained on", "Figures", "Never shown", "Terms"}
    assert not any(fact in text for fact in facts.values())
    press(chrome, "summary")
    opened = chrome.run("document.body.innerText")
    assert all(fact in opened for fact in facts.values())
    assert not chrome.faults()


@pytest.mark.parametrize("width", [390, 1300])
def test_an_example_is_answered_as_a_file_is(chrome, gateway, width):
    chrome.open(f"{gateway.url}/", width)
    assert not chrome.faults()
    press(chrome, "[data-name='changed.mp4']")
    text = shown(chrome, "result")
    assert not chrome.faults()
    _, answer = gateway.verdict(examples()["changed.mp4"])
    assert answer["model"]["name"] == "starter"
    assert "changed.mp4" in text
    assert f"{answer['score']:.4f}" in text
    until(lambda: not chrome.run("document.getElementById('film').hidden"), "the film plays")


@pytest.mark.parametrize(("width", "waits"), [(390, False), (1300, True)])
def test_a_picture_is_taken_with_the_camera(chrome, gateway, width, waits):
    """Of what is seen, also when the button is pressed before the camera has shown anything."""
    allow_camera(chrome, gateway, "granted")
    chrome.open(f"{gateway.url}/", width)
    press(chrome, "#camera")
    assert "Nothing is sent" in shown(chrome, "snapshot")
    if waits:
        until(lambda: chrome.run("document.getElementById('view').currentTime > 0"), "it is seen")
    assert chrome.run("document.activeElement.id") == "shoot"
    assert not chrome.faults()
    chrome.key(*ENTER)
    text = shown(chrome, "result")
    assert "camera.png" in text
    assert "Face 1" in text
    # The light at the camera goes out.
    assert chrome.run("camera") is None
    assert chrome.run("document.getElementById('snapshot').hidden")
    assert not chrome.faults()


def test_the_camera_is_closed_without_a_picture(chrome, gateway):
    allow_camera(chrome, gateway, "granted")
    chrome.open(f"{gateway.url}/", 390)
    press(chrome, "#camera")
    shown(chrome, "snapshot")
    tracks = "window.tracks = camera.getTracks(); tracks.map(track => track.readyState)"
    assert chrome.run(tracks) == ["live"]
    press(chrome, "#close-camera")
    assert chrome.run("document.getElementById('snapshot').hidden")
    assert chrome.run("tracks.map(track => track.readyState)") == ["ended"]
    assert chrome.run("document.activeElement.id") == "camera"
    assert chrome.run("document.getElementById('working').hidden")


def test_a_camera_that_the_browser_refuses_is_said(chrome, gateway):
    allow_camera(chrome, gateway, "denied")
    chrome.open(f"{gateway.url}/", 390)
    press(chrome, "#camera")
    assert "does not allow this page to use the camera" in shown(chrome, "failed")
    assert chrome.run("document.getElementById('snapshot').hidden")


def test_neither_way_is_open_while_a_file_is_looked_at(chrome, gateway):
    chrome.open(f"{gateway.url}/", 390)
    disabled = "[...document.querySelectorAll('.example, #camera, #file')].map(way => way.disabled)"
    assert chrome.run(disabled) == [False] * 5
    with gateway.workers_stopped():
        press(chrome, "[data-name='untouched.mp4']")
        shown(chrome, "working")
        assert chrome.run(disabled) == [True] * 5
        press(chrome, "#cancel")
    until(lambda: chrome.run("document.getElementById('working').hidden"), "it is cancelled")
    assert chrome.run(disabled) == [False] * 5


@pytest.mark.parametrize(
    ("way", "late"),
    [
        ("#camera", "settle.done(stream)"),
        ("#camera", "settle.fail(new DOMException('', 'NotAllowedError'))"),
        (".example", "settle.fail(Error())"),
    ],
)
def test_what_comes_late_hides_no_running_upload(chrome, gateway, way, late):
    """A prompt that is answered, or an example that fails, when a file was chosen meanwhile."""
    chrome.open(f"{gateway.url}/", 390)
    chrome.run(
        "window.fetch = navigator.mediaDevices.getUserMedia ="
        " () => new Promise((done, fail) => { window.settle = {done, fail}; });"
        "XMLHttpRequest.prototype.send = () => {};"
        "window.canvas = document.createElement('canvas'); canvas.getContext('2d');"
        "window.stream = canvas.captureStream(); 0"
    )
    press(chrome, way)
    chrome.run("take([new File(['x'], 'chosen.mp4')])")
    chrome.run(f"{late}; new Promise(done => setTimeout(done))")
    assert "chosen.mp4" in shown(chrome, "working")
    assert chrome.run("['snapshot', 'failed'].every(part => at(part).hidden)")
    assert chrome.run("camera") is None
    assert chrome.run("at('shoot').disabled")
    ended = chrome.run("stream.getTracks().every(track => track.readyState === 'ended')")
    assert ended == (late == "settle.done(stream)")


@pytest.mark.parametrize("every", [False, True])
def test_an_answer_keeps_to_the_faces_that_were_asked_for(chrome, gateway, every):
    """Its film and the hint at what was left out, whatever the box says by then."""
    chrome.open(f"{gateway.url}/", 390)
    box = "document.getElementById('all-faces').checked"
    chrome.run(f"{box} = {json.dumps(every)}")
    press(chrome, "[data-name='changed.mp4']")
    shown(chrome, "result")
    chrome.run(f"{box} = {json.dumps(not every)}")
    chrome.run("shown.answer.left_out = {'too small': 2}; openEntry(shown)")
    facts = chrome.run("document.getElementById('facts').textContent")
    assert "2 too small" in facts
    assert ("“Judge every face” above includes them" in facts) != every
    chrome.run("window.fetch = path => { window.asked = path; return new Promise(() => {}); }; 0")
    press(chrome, "#save-film")
    assert f"&all_faces={int(every)}&" in chrome.run("asked")


def test_the_marked_film_is_offered_where_one_frame_has_a_judged_face(chrome, gateway):
    """It has no curve; a picture and a film without judged faces have no marked film."""
    _, answer = gateway.verdict(examples()["changed.mp4"])
    assert answer["frames"] > 1
    track = answer["tracks"][0]
    moment = track["timeline"][0]

    def one_face(frame):
        return [{**track, "timeline": [{**moment, "frame": frame}]}]

    chrome.open(f"{gateway.url}/", 390)
    for changes, offered in (
        ({"tracks": one_face(0)}, True),
        # Of a film one frame was looked at, its middle; a picture has no other than the first.
        ({"tracks": one_face(12), "frames": 1}, True),
        ({"tracks": one_face(0), "frames": 1}, False),
        ({"tracks": []}, False),
    ):
        chrome.run(f"draw({json.dumps({**answer, **changes})}, new File([], 'a.mp4'))")
        assert chrome.run("document.getElementById('over-time').hidden")
        assert chrome.run("document.getElementById('save-film').hidden") != offered


def test_fakes_blended_from_real_clips_are_told_from_others(chrome, gateway):
    """Of others nothing is promised."""
    _, answer = gateway.verdict(examples()["changed.mp4"])
    assert answer["blended_fakes"] is False
    chrome.open(f"{gateway.url}/", 390)
    for verdict in ("real", "uncertain"):
        for blended in (True, False):
            changed = {**answer, "verdict": verdict, "blended_fakes": blended}
            chrome.run(f"draw({json.dumps(changed)}, new File([], 'a.mp4'))")
            told = chrome.run("document.getElementById('sentence').textContent")
            assert ("fakes blended from real clips" in told) == blended
            assert ("manipulated clips" in told) != blended
            facts = chrome.run("document.getElementById('facts').textContent")
            assert ("Fakes blended from real clips with such a score" in facts) == blended
            assert ("Fakes with such a score" in facts) != blended
