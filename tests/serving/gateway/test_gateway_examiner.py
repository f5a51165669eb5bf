"""What the examiner does when the model server misbehaves; with given crops, so it is quick."""

import base64
import contextlib
import dataclasses
import errno
import os
import re
import signal
import threading
import time
import types
import urllib.parse

import cv2
import numpy as np
import pytest
from made_media import write_video
from serving_support.gateway import SETTINGS
from serving_support.planned_servers import FAST
from serving_support.words import conformal

from serving.clients import ClientSettings, Scorer, ScoringError
from serving.gateway import crop_worker
from serving.gateway.examiner import Examiner, Job
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.refusals import Disconnected, Refused
from serving.gateway.request_query import rates_of
from serving.gateway.served_versions import ModelOptions, ServedVersion
from serving.model.answer import Answer
from serving.model.conformal import ConformalClips
from serving.model.operating_points import OperatingPoints
from serving.model.verdict import NOT_A_VERDICT, DecisionRule
from serving.pictures.annotation import HIGH, LOW

WORDS = DecisionRule(clips=ConformalClips.from_dict(conformal(0.9, 0.5))).at()
ABOUT = {"name": "m", "backbone": "tiny", "about": "", "provenance": None}


def version(number, side, decision_rule=WORDS):
    settings = SETTINGS.replace(precropped=True, max_crop_size=side)
    return ServedVersion(number, settings, decision_rule, {**ABOUT, "version": number})


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "face.png"
    assert cv2.imwrite(str(path), np.full((96, 96, 3), 127, np.uint8))
    return path


@pytest.fixture(scope="module")
def examiner(tmp_path_factory):
    """An examiner with one worker, which keeps it warm for all tests."""
    base = tmp_path_factory.mktemp("base")
    options = ModelOptions("grpc://h:1", "m", base, None, None, ClientSettings())
    made = Examiner(options, 1, GatewayMetrics())
    made.start(version(1, 64).settings)
    made.wait()
    yield made
    made.close()


@pytest.fixture
def examine(examiner, picture, monkeypatch):
    """Runs the examiner against versions that a plan serves, and a scorer that it answers for."""

    def run(versions, score, path=picture, cells=None, **job):
        asked = []

        class PlannedScorer(Scorer):
            """With a plan instead of a server."""

            def _request(self, crops, signature, names, seconds, version):
                assert seconds > 0
                if signature == self.settings.explain_signature:
                    asked.append((version, len(crops)))
                    if cells is None:
                        raise ScoringError("INVALID_ARGUMENT", 'signature name "explain" not found')
                    return {self.settings.cells_name: np.array([cells] * len(crops), np.float32)}
                sides = [cv2.imdecode(np.frombuffer(crop, np.uint8), 1).shape[0] for crop in crops]
                asked.append((version, sides))
                return dict.fromkeys(names, np.array([score(version)] * len(crops), np.float32))

            def versions(self, deadline=None):
                raise AssertionError("`served` says which")

            def close(self):
                pass

        def served(asking):
            assert asking is of_file, "another server may serve other versions"
            return next(plan)

        # Nothing else can be asked.
        settings = dataclasses.replace(examiner._options.client, **FAST)
        of_file, plan = PlannedScorer("m", settings), iter(versions)
        shared = types.SimpleNamespace(for_file=lambda: contextlib.nullcontext(of_file))
        monkeypatch.setattr(examiner.versions, "_scorer", shared)
        monkeypatch.setattr(examiner.versions, "served", served)
        given = {"name": "n", "end": time.monotonic() + 60, **job}
        return examiner.examine(Job(path, **given)), asked

    return run


def fails(code, *numbers):
    def score(number):
        if number in numbers:
            raise ScoringError(code, "planned")
        return 3.0

    return score


def test_version_that_is_gone_is_asked_again_with_crops_of_the_new_one(examine):
    answer, asked = examine([version(1, 64), version(2, 32)], fails("NOT_FOUND", 1))
    assert asked == [(1, [64]), (2, [32])]
    assert answer["model"]["version"] == 2
    assert (answer["verdict"], answer["faces"]) == ("fake", 1)


def test_a_model_of_made_data_gives_no_word_whatever_its_score(examine):
    made = version(1, 64, dataclasses.replace(WORDS, made_data=True))
    answer, _ = examine([made], always)
    assert answer["score"] == pytest.approx(0.9526, abs=1e-4)
    assert answer["verdict"] == answer["warning"] == NOT_A_VERDICT
    assert answer["meaning"].startswith(NOT_A_VERDICT)
    assert "fake" not in answer["meaning"]


def test_a_request_chooses_its_rates(examine):
    answer, _ = examine([version(1, 64)], always)
    assert (answer["verdict"], answer["thresholds"]["false_positive_rate"]) == ("fake", 0.01)
    # A hundred persons of validation cannot show 0.1%.
    answer, _ = examine([version(1, 64)], always, false_positive_rate=0.001)
    assert (answer["verdict"], answer["thresholds"]["fake_above"]) == ("uncertain", None)
    points = [{"name": "eer", "threshold": 0.5}, {"name": "fpr_0.01", "threshold": 0.9}]
    earlier = DecisionRule(points=OperatingPoints.from_dict({"points": points})).at()
    with pytest.raises(Refused, match="an earlier version exported the model") as raised:
        examine([version(1, 64, earlier)], always, false_positive_rate=0.2)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("false_positive_rate=x", "false_positive_rate is 'x'; give a number, as in 0.01"),
        ("miss_rate=0.7", "miss_rate: 0.7 is outside 0.0001 to 0.5"),
        ("miss_rate=nan", "miss_rate"),
    ],
)
def test_rates_that_cannot_be_are_refused(query, message):
    with pytest.raises(Refused, match=message) as raised:
        rates_of(urllib.parse.parse_qs(query))
    assert raised.value.status == 400
    assert rates_of(urllib.parse.parse_qs("miss_rate=0.2&name=a")) == {"miss_rate": 0.2}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("NOT_FOUND", 503),
        ("UNAVAILABLE", 503),
        ("RESOURCE_EXHAUSTED", 503),
        ("DEADLINE_EXCEEDED", 504),
        ("INTERNAL", 502),
        ("UNAUTHENTICATED", 502),
    ],
)
def test_failures_of_the_server_have_their_statuses(examine, code, status):
    with pytest.raises(Refused) as raised:
        examine([version(1, 64)] * 2, fails(code, 1))
    assert raised.value.status == status
    assert "planned" not in raised.value.message
    assert (b"retry-after" in dict(raised.value.headers)) == (status == 503)


def test_scores_that_are_no_numbers_are_no_verdict(examine):
    with pytest.raises(Refused) as raised:
        examine([version(1, 64)], lambda number: float("nan"))
    assert raised.value.status == 502


def test_nothing_is_scored_when_nobody_waits(examine):
    def never(number):
        raise AssertionError("was scored")

    with pytest.raises(Refused) as raised:
        examine([version(1, 64)], never, end=time.monotonic() - 1)
    assert raised.value.status == 504
    left = threading.Event()
    left.set()
    with pytest.raises(Disconnected):
        examine([version(1, 64)], never, abandoned=left)


def always(number):
    return 3.0


def test_work_that_nobody_waits_for_ends_between_batches(examiner, examine, tmp_path, monkeypatch):
    clip = write_video(tmp_path / "clip.mp4", [np.full((96, 96, 3), 127, np.uint8)] * 12)
    two = dataclasses.replace(examiner._options, client=ClientSettings(batch_size=2))
    monkeypatch.setattr(examiner, "_options", two)
    answer, asked = examine([version(1, 64)], always, path=clip)
    assert [len(sides) for _, sides in asked] == [2, 2]
    assert answer["faces"] == 4
    left, batches = threading.Event(), []

    def leave(number):
        batches.append(number)
        left.set()
        return 3.0

    with pytest.raises(Disconnected):
        examine([version(1, 64)], leave, path=clip, abandoned=left)
    assert batches == [1]


def test_a_worker_that_was_killed_while_idle_is_no_fault_of_the_next_file(examiner, examine):
    (worker,) = examiner._started_workers
    os.killpg(worker._process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker._process.pid, os.WEXITED | os.WNOWAIT)
    answer, _ = examine([version(1, 64)], always)
    assert answer["verdict"] == "fake"
    page = examiner._metrics.page().decode()
    assert re.search(r"^deepfake_gateway_workers_replaced_total [1-9]", page, re.M)


def test_a_worker_that_cannot_be_replaced_is_not_lost(examiner, examine, monkeypatch):
    """No process can be started: that file fails, and the next one is answered all the same."""
    (worker,) = examiner._started_workers
    os.killpg(worker._process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker._process.pid, os.WEXITED | os.WNOWAIT)

    def none_left(*_, **__):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(crop_worker.subprocess, "Popen", none_left)
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                examine([version(1, 64)], always)
    assert examine([version(1, 64)], always)[0]["verdict"] == "fake"


def test_a_worker_that_dies_on_a_file_is_replaced(examiner, examine, monkeypatch):
    (worker,) = examiner._started_workers
    worker.wait(lambda: None)
    # Stopped, so that it surely has the file when it is killed.
    os.killpg(worker._process.pid, signal.SIGSTOP)
    send = worker._send

    def send_and_kill(header):
        send(header)
        os.killpg(worker._process.pid, signal.SIGKILL)

    monkeypatch.setattr(worker, "_send", send_and_kill)
    with pytest.raises(Refused, match="SIGKILL") as raised:
        examine([version(1, 64)], always)
    assert raised.value.status == 500
    assert examine([version(1, 64)], always)[0]["verdict"] == "fake"


def test_a_worker_that_stands_still_is_ended_with_the_deadline(examiner, examine):
    """A stopped process is what no deadline of its own can end."""
    (worker,) = examiner._started_workers
    worker.wait(lambda: None)
    os.killpg(worker._process.pid, signal.SIGSTOP)
    with pytest.raises(Refused) as raised:
        examine([version(1, 64)], always, end=time.monotonic() + 3)
    assert raised.value.status == 504
    assert not worker.alive
    assert examine([version(1, 64)], always)[0]["verdict"] == "fake"


def test_the_child_drops_a_file_that_nobody_waits_for(examiner, examine, tmp_path):
    frames = [np.full((96, 96, 3), 127, np.uint8)] * 12
    clip = write_video(tmp_path / "clip.mp4", frames)
    left = threading.Event()
    left.set()
    with pytest.raises(Disconnected):
        examine([version(1, 64)], always, path=clip, abandoned=left)
    assert examine([version(1, 64)], always, path=clip)[0]["frames"] == 4


def test_faces_come_with_heat_maps_where_the_model_tells_them(examine):
    told, asked = examine([version(1, 64)], always, cells=[[9.0, -9.0]], explain=True)
    assert asked == [(1, [64]), (1, 1)]
    assert told["no_heat_maps"] == ""
    (face,) = told["tracks"][0]["strip"]
    (moment,) = told["tracks"][0]["timeline"]
    assert {key: face[key] for key in ("frame", "seconds", "score")} == {
        key: moment[key] for key in ("frame", "seconds", "score")
    }
    layer = cv2.imdecode(
        np.frombuffer(base64.b64decode(face["heat"]), np.uint8), cv2.IMREAD_UNCHANGED
    )
    # The left speaks for fake, the right for real, and the face is seen below.
    assert tuple(layer[32, 2, 2::-1]) == HIGH
    assert tuple(layer[32, -2, 2::-1]) == LOW
    assert 0 < layer[32, 2, 3] < 200
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(face["picture"]), np.uint8), 1)
    assert picture.shape == (64, 64, 3)

    silent, _ = examine([version(1, 64)], always, explain=True)
    assert "signature `explain`" in silent["no_heat_maps"]
    assert "heat" not in silent["tracks"][0]["strip"][0]
    for answer in (told, silent):
        assert Answer.model_validate(answer)
    plain, asked = examine([version(1, 64)], always, cells=[[0.0]])
    assert len(asked) == 1
    assert "no_heat_maps" not in plain
    assert "strip" not in plain["tracks"][0]
