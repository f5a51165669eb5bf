"""The image `serve` as the compose files start it: one start for all tests, in their order."""

import concurrent.futures
import os
import re
import shutil
import signal
import threading

import pytest
from e2e import browser
from e2e.composed import Composed
from e2e.containers import CLIP, MEDIA, listens, metrics, own, push, ready, request, until, verdict
from made_media import face_frame, write_image
from serving_support.rules import alert_rules, queried

from benchmarks._flood import OVERLOAD, flood, sustainable
from benchmarks.serving import make_crops
from serving.clients import connect

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

# Of the page, by the verdict.
HEADINGS = {"fake": "Manipulated", "real": "No sign of manipulation", "uncertain": "Uncertain"}
# Of the gateway: workers and those that may wait.
ADMITTED = 8


@pytest.fixture(scope="module")
def composed(podman, serve, volume, tmp_path_factory):
    if not shutil.which("podman-compose"):
        pytest.skip("there is no podman-compose: apt-get install podman-compose")
    composed = Composed(podman, tmp_path_factory.mktemp("composed"), volume)
    try:
        composed("up", "--detach", *composed.services)
        until(lambda: ready(composed.address), composed.log)
        yield composed
    finally:
        composed("down", "--timeout", "5", "--volumes", check=False)


def test_page_shows_the_verdict_of_an_upload(composed):
    """In Chromium; the other tests ask as programs do."""
    if not (found := browser.find()):
        pytest.skip("no Chromium here")
    from serving_support.chrome import Chrome

    status, answer = verdict(composed.address)
    assert status == 200, answer
    assert answer["model"]["version"] == 1
    with Chrome(found) as chrome:
        chrome.open(f"{composed.address}/", 1300)
        chrome.choose("#file", MEDIA / "anareal121.mp4")
        shown = "!document.getElementById('result').hidden"
        until(lambda: chrome.run(shown), composed.log)
        text = chrome.run("document.getElementById('result').innerText")
        assert not chrome.faults()
    assert text.startswith(HEADINGS[answer["verdict"]])
    assert f"score {answer['tracks'][0]['score']:.3f}" in text
    assert "version 1" in text


def test_new_version_is_served_without_a_lost_request(composed, volume):
    answers: list = []
    swapped = threading.Event()

    def ask() -> None:
        while not swapped.is_set():
            answers.append(verdict(composed.address))

    asking = threading.Thread(target=ask)
    asking.start()
    push(volume / "deepfake", 2)
    try:
        until(lambda: answers and answers[-1][1].get("model", {}).get("version") == 2, composed.log)
    finally:
        swapped.set()
        asking.join(600)
    assert {status for status, _ in answers} == {200}, "no request is lost"


def test_version_that_another_user_keeps_to_himself_is_said(composed, volume):
    """A new one by the server, which serves the last one; the last one by the gateway."""
    base = volume / "deepfake"
    closed = "may not be read by the user 10001"
    push(base, 3, user=0, mode=0o700)
    try:
        said = f"version 3 {closed}"
        until(lambda: said in composed.container("serving").log(), composed.log)
        status, answer = verdict(composed.address)
        assert (status, answer.get("model", {}).get("version")) == (200, 2), answer
        (base / "2").chmod(0o700)
        own(base / "2", 0)
        status, answer = verdict(composed.address)
        assert status == 503
        assert "the model server serves version 2" in answer["error"]
        said = f"version 2 is served and cannot be used: /models/deepfake/2 {closed}"
        until(lambda: said in composed.container("gateway").log(), composed.log)
    finally:
        shutil.rmtree(base / "3")
        own(base / "2")
        (base / "2").chmod(0o755)
    until(lambda: ready(composed.address), composed.log)


def test_overload_stays_within_the_limits_of_memory(composed):
    """Four times what the server can do or more, and more uploads than the gateway admits."""
    limits = {
        service: composed.container(service).peak_memory()[1] for service in ("serving", "gateway")
    }
    assert limits == {"serving": 4 << 30, "gateway": 9 << 30}, "the file's limits hold here"
    crop = make_crops(1)[0]
    with connect(f"grpc://{composed.grpc}", "deepfake") as scorer:
        rate = sustainable(scorer, crop, 2.0)
    uploads: list = []
    over = threading.Event()

    def upload() -> None:
        while not over.is_set():
            uploads.append(verdict(composed.address)[0])
            over.wait(0.05)

    with concurrent.futures.ThreadPoolExecutor(ADMITTED + 4) as threads:
        for _ in range(ADMITTED + 4):
            threads.submit(upload)
        try:
            where = (composed.grpc, composed.rest, "deepfake")
            # Where other tests ran while the rate was measured, four times of it is no overload.
            for factor in (1, 2, 4, 8):
                tally, _ = flood(where, crop, factor * OVERLOAD * rate, 6.0)
                if tally.refused or tally.unanswered:
                    break
        finally:
            over.set()
    assert not tally.unanswered, tally.reasons
    assert tally.scored > 0
    assert tally.refused > 0, "it was overloaded"
    assert set(uploads) == {200, 503}, "of either, some are answered and some are refused"
    for service, limit in limits.items():
        peak, _, killed = composed.container(service).peak_memory()
        print(f"{service}: at most {peak >> 20} MiB of {limit >> 20}")
        assert peak < limit
        assert killed == 0
    assert verdict(composed.address)[0] == 200, "and it goes on"


def test_prometheus_reads_both_and_evaluates_the_rules(composed):
    if "prometheus" not in composed.services:
        pytest.skip("there is no prometheus: apt-get install prometheus")
    status, answer = request(f"{composed.address}/v1/jobs?name=clip.mp4", CLIP)
    assert status == 202, answer

    def ended() -> bool:
        return request(f"{composed.address}/v1/jobs/{answer['id']}")[1]["state"] == "done"

    until(ended, composed.log)
    asked = {name for rule in alert_rules() for name in queried(rule["expr"])}

    def missing() -> set[str]:
        return asked - set(composed.prometheus("label/__name__/values") or ())

    until(lambda: not missing(), lambda: f"without series: {missing()}")
    targets = composed.prometheus("targets")["activeTargets"]
    assert {target["labels"]["job"]: target["health"] for target in targets} == {
        "serving": "up",
        "gateway": "up",
    }, targets
    # Of rules that compare what was asked before, the compared value is there.
    for rule in alert_rules():
        if rule["alert"] in ("ServingErrors", "ServingSlow", "GatewayErrors"):
            value = rule["expr"].rpartition(">")[0]
            value = re.sub(r"{[a-z]+[!=]~[^}]*}", "", value)
            until(lambda: composed.prometheus("query", query=value)["result"], lambda: value)  # noqa: B023

    def rules() -> list[dict]:
        groups = composed.prometheus("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    until(lambda: all(rule["health"] != "unknown" for rule in rules()), lambda: str(rules()))
    assert {rule["name"]: rule["health"] for rule in rules()} == {
        rule["alert"]: "ok" for rule in alert_rules()
    }


def test_stopped_gateway_answers_all_that_it_admitted(composed, tmp_path):
    """Small pictures, or the last one would wait for its turn longer than is allowed."""
    picture = write_image(tmp_path / "face.png", face_frame([(60, 30, 1.0)])).read_bytes()
    gateway = composed.container("gateway")

    def ask() -> int:
        return verdict(composed.address, picture)[0]

    try:
        with concurrent.futures.ThreadPoolExecutor(ADMITTED + 1) as threads:
            with gateway.workers_stopped():
                admitted = [threads.submit(ask) for _ in range(ADMITTED)]
                full = f"deepfake_gateway_in_flight {ADMITTED}"
                until(lambda: full in metrics(composed.address), lambda: "not admitted")
                assert ask() == 503
                stopped = threads.submit(gateway.stop, 140)
                until(lambda: not listens(composed.address), gateway.log)
            assert [future.result() for future in admitted] == [200] * ADMITTED, gateway.log()
            assert stopped.result() == 0, gateway.log()
    finally:
        gateway.podman("start", gateway.name)
        until(lambda: ready(composed.address), composed.log)


def test_killed_containers_come_back(composed):
    for service in ("serving", "gateway"):
        container = composed.container(service)
        first = container.state["Pid"]
        # 0 is that of a container which does not run; a signal to 0 would end these tests.
        assert first > 0, container.log()
        os.kill(first, signal.SIGKILL)
        until(lambda: container.state["Pid"] not in (0, first), container.log)  # noqa: B023
    until(lambda: ready(composed.address), composed.log)
    assert verdict(composed.address)[0] == 200


def test_stopped_server_answers_all_that_it_admitted_and_is_missed(composed):
    """The last one, for the server stays away."""
    crop, count = make_crops(1)[0], 48
    serving = composed.container("serving")
    with (
        connect(f"grpc://{composed.grpc}", "deepfake") as grpc,
        connect(composed.rest, "deepfake") as rest,
        concurrent.futures.ThreadPoolExecutor(count) as threads,
    ):
        scorers = [grpc, rest] * (count // 2)
        admitted: list[concurrent.futures.Future] = []

        def all_answered() -> bool:
            return all(future.done() for future in admitted)

        def all_admitted() -> bool:
            answered = sum(future.done() for future in admitted)
            return all_answered() or answered + composed.in_flight() >= count

        for _ in range(5):  # Where all are answered before anybody looks, they are sent again.
            admitted = [threads.submit(scorer.score, [crop] * 2) for scorer in scorers]
            until(all_admitted, lambda: "not admitted", pause=0.02)
            if not all_answered():
                break
        else:
            pytest.fail("all are answered before the server can be stopped")
        status = serving.stop(60)
        scores = [future.result() for future in admitted]
    assert all(len(answer.logits) == 2 for answer in scores)
    assert status == 0, serving.log()

    status, answer = verdict(composed.address)
    assert (status, answer["error"]) == (503, "the model server does not answer")
    said = "the model server gave no scores"
    until(lambda: said in composed.container("gateway").log(), composed.log)
    if "prometheus" in composed.services:
        down = 'ALERTS{alertname="ServingDown",alertstate="pending"}'
        until(lambda: composed.prometheus("query", query=down)["result"], lambda: down)
