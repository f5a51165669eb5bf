"""What the examiner does when the model server misbehaves; with given crops, so it is quick."""

import dataclasses
import threading
import time

import cv2
import numpy as np
import pytest
from serving_support.gateway import SETTINGS

from preprocessing.verdict import Thresholds
from serving.clients import Scores, ScoringError
from serving.clients import Settings as ClientSettings
from serving.gateway import examiner as module
from serving.gateway.errors import Disconnected, Refused
from serving.gateway.examiner import Examiner, Job
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.versions import ModelOptions, Version

BAND = Thresholds(0.01, 0.9, 0.5, 400)


def version(number, side):
    settings = dataclasses.replace(SETTINGS, precropped=True, max_crop_size=side)
    return Version(number, settings, BAND, "tiny")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "face.png"
    assert cv2.imwrite(str(path), np.full((96, 96, 3), 127, np.uint8))
    return path


@pytest.fixture
def examine(picture, tmp_path, monkeypatch):
    """Runs the examiner against versions that a plan serves, and a scorer that it answers for."""

    def run(versions, score, **job):
        asked = []

        class Scorer:
            def __init__(self, url, model, settings, number):
                self.number = number

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def score(self, jpegs, deadline):
                sides = [cv2.imdecode(np.frombuffer(j, np.uint8), 1).shape[0] for j in jpegs]
                asked.append((self.number, sides))
                logits = np.array([score(self.number)] * len(jpegs), np.float32)
                return Scores(logits, logits)

        monkeypatch.setattr(module.clients, "connect", Scorer)
        options = ModelOptions("grpc://h:1", "m", tmp_path, 0.01, ClientSettings())
        made = Examiner(options, 1, GatewayMetrics())
        served = iter(versions)
        monkeypatch.setattr(made.versions, "served", lambda: next(served))
        made.start(versions[0].settings)
        try:
            given = {"name": "n", "end": time.monotonic() + 60, **job}
            return made.examine(Job(picture, **given)), asked
        finally:
            made.close()

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
