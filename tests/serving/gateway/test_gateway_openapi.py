"""The OpenAPI document: valid, complete, and true of what a gateway answers."""

import asyncio
import dataclasses
import itertools
import re

import httpx
import numpy as np
import pytest
from fastapi.routing import APIRoute
from openapi_spec_validator import OpenAPIV31SpecValidator
from serving_support.gateway import ROOT
from serving_support.openapi import VERDICT, agree, faults, operations
from serving_support.starter import PROVENANCE
from serving_support.words import conformal, make_thresholds

from serving import clients
from serving.gateway.answer import Error
from serving.gateway.app import Gateway, GatewayOptions
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.refusals import too_late, unavailable
from serving.gateway.routes import _PATHS
from serving.gateway.served_versions import refusal
from serving.model import answer as classes
from serving.model import familiarity, timeline, windows
from serving.model.answer import Answer
from serving.model.conformal import ConformalClips
from serving.model.familiarity import ClipFamiliarity
from serving.model.operating_points import OperatingPoints
from serving.model.thresholds import Thresholds
from serving.model.timeline import TrackScore
from serving.model.verdict import DecisionRule, PValues, Verdict

WINDOWS = windows.WindowClips.from_dict(
    windows.window_clips(np.linspace(-2, 0, 99), np.zeros(99), np.arange(99))
)
CLIPS = ConformalClips.from_dict(conformal(1.5, -0.5))
FAMILIAR = familiarity.Familiarity.from_dict(
    familiarity.familiarity_section(
        np.linspace(0, 1, 40), np.zeros((40, 1)), np.arange(40), ("contrast",)
    )
)

TOKEN = "let me in"


class Examiner:
    """Fails as it is told to."""

    failure: Exception | None = None

    def examine(self, job):
        raise self.failure


@pytest.fixture
def app(tmp_path, monkeypatch):
    """The application itself, for what a gateway and its server do not do on demand."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    options = GatewayOptions(max_bytes=100, workers=1, waiting=0, timeout=60.0, token=TOKEN)
    app = Gateway(options, Examiner(), GatewayMetrics())
    yield app
    app.close()


def examples(document):
    """(path, method, status, schema, example) of each answer that has an example."""
    for (path, method), operation in operations(document).items():
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                if "example" in content:
                    yield path, method, int(status), content["schema"], content["example"]


def test_document_is_openapi_of_this_version_of_the_project(document):
    assert document["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    version = re.search(r'^    version="(.+)",$', (ROOT / "setup.py").read_text(), re.M)
    assert document["info"]["version"] == version[1]


def test_document_lists_the_paths_that_exist_and_no_other(document):
    existing = {
        (route.path, method)
        for route in _PATHS.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    listed = set(operations(document))
    assert listed == {(path, method) for path, method in existing if method != "HEAD"}
    assert {path for path, method in listed if method == "GET"} == {
        path for path, method in existing if method == "HEAD"
    }
    assert len(_PATHS.routes) == len(existing), "one route for each"


def test_request_is_described_as_it_is_read(document):
    operation = document["paths"][VERDICT]["post"]
    named = {(parameter["in"], parameter["name"]) for parameter in operation["parameters"]}
    assert named == {
        ("query", "name"),
        ("query", "crops"),
        ("query", "explain"),
        ("query", "all_faces"),
        ("query", "false_positive_rate"),
        ("query", "miss_rate"),
        ("header", "Content-Encoding"),
    }
    assert set(operation["requestBody"]["content"]) == {
        "application/octet-stream",
        "image/*",
        "video/*",
        "multipart/form-data",
    }
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_examples_are_as_their_schemas_say(document):
    statuses = set()
    for path, _, status, schema, example in examples(document):
        assert faults(document, schema, example) == [], (path, status)
        if status >= 400:
            assert schema == {"$ref": "#/components/schemas/Error"}
            Error.model_validate(example)
        statuses.add((path, status))
    assert {status for path, status in statuses if path == VERDICT} == {
        *(200, 400, 401, 408, 413, 415, 500, 502, 503, 504),
    }
    answer = document["paths"][VERDICT]["post"]["responses"]["200"]["content"]
    Answer.model_validate(answer["application/json"]["example"])


async def slowly():
    yield b"x"
    await asyncio.sleep(60)


def broken_server():
    return refusal(clients.ScoringError("INTERNAL", "a secret"))


@pytest.mark.parametrize(
    ("status", "body", "headers", "failure"),
    [
        (400, b"", {}, None),
        (401, b"x", {"Authorization": "Bearer wrong"}, None),
        (408, slowly(), {}, None),
        (413, bytes(101), {}, None),
        (415, b"{}", {"Content-Type": "application/json"}, None),
        (500, b"x", {}, RuntimeError("a secret")),
        (502, b"x", {}, broken_server()),
        (503, b"x", {}, unavailable("1 files are being looked at or wait already", "busy")),
        (504, b"x", {}, too_late("looking at the file took too long")),
    ],
    ids="empty token slow large kind failed server busy late".split(),
)
def test_failures_are_answered_as_their_examples(app, document, status, body, headers, failure):
    app._examiner.failure = failure
    if status == 408:
        app._options = dataclasses.replace(app._options, timeout=0.5)

    async def ask():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            given = {"Authorization": f"Bearer {TOKEN}", **headers}
            return await client.post(VERDICT, content=body, headers=given)

    answer = asyncio.run(ask())
    assert answer.status_code == status
    described = document["paths"][VERDICT]["post"]["responses"][str(status)]
    example = described["content"]["application/json"]["example"]

    def without_numbers(error):
        return re.sub(r"\d+", "0", error["error"])

    assert without_numbers(answer.json()) == without_numbers(example)
    assert answer.headers["content-type"] == "application/json"
    for name, header in described.get("headers", {}).items():
        assert answer.headers[name] == header["example"]


@pytest.mark.parametrize(("status", "token"), [(401, "wrong"), (503, TOKEN)])
def test_refused_requests_are_refused_before_their_bodies_are_read(app, status, token):
    app._admitted = 1
    sent = []

    async def receive():
        raise AssertionError("the body is read")

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": VERDICT,
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
    asyncio.run(app(scope, receive, send))
    assert [message.get("status") for message in sent] == [status, None]


@pytest.mark.parametrize(
    "rule",
    [
        DecisionRule(),
        DecisionRule(make_thresholds(), points=OperatingPoints()),
        DecisionRule(clips=CLIPS, familiarity=FAMILIAR).at(),
        DecisionRule(clips=CLIPS, windows=WINDOWS).at(),
        DecisionRule(clips=CLIPS, made_data=True).at(0.001),
    ],
    ids=["no thresholds", "an earlier version", "thresholds", "windows", "made data"],
)
def test_answers_of_every_kind_of_model_are_as_the_class_says(document, rule):
    moments = (timeline.Moment(7, 0.28, 0.75, 1.1), timeline.Moment(9, None, 0.5, 0.0))
    tracks = (TrackScore(0, 0.75, 3, moments), TrackScore(2, 0.5, 1))
    positions = windows.CropPositions(np.zeros(5), np.arange(5), np.arange(5) / 25)
    parts = rule.find_segments(np.array([-1.0, 3.0, 3.0, -1.0, -1.0]), positions)
    assert bool(parts and parts.segments) == bool(rule.windows)
    clip_familiarity = rule.familiarity_of(np.array([[9.0, 1.0]]), np.zeros(1), "clip.mp4")
    word = rule.verdict(1.1, clip_familiarity)
    assert (word == "unfamiliar") == (clip_familiarity is not None)
    with_face = Verdict(
        "file",
        0.75,
        tracks,
        verdict=word,
        decision_rule=rule,
        logit=1.1,
        familiarity=clip_familiarity,
        parts=parts,
    )
    without = Verdict("file", None, reason="no face", decision_rule=rule)
    about = {"name": "tiny", "version": 7, "backbone": "tiny", "about": ""}
    newer = {**PROVENANCE, "of_a_later_version": 1}
    for verdict, provenance in itertools.product((with_face, without), (None, PROVENANCE, newer)):
        model = {**about, "provenance": provenance}
        answer = {"name": "", **verdict.as_dict(), "model": model}
        agree(document, answer)


def test_classes_have_the_keys_of_what_they_describe():
    verdict = Verdict("file", None).as_dict()
    assert list(Answer.model_fields) == ["name", *verdict, "model", "no_heat_maps"]

    def names(kind):
        return {field.name for field in dataclasses.fields(kind)}

    assert set(classes.Track.model_fields) == {*names(TrackScore), "crop", "strip"}
    assert set(classes.Thresholds.model_fields) == names(Thresholds)
    assert set(classes.PValues.model_fields) == names(PValues)
    assert set(classes.ClipFamiliarity.model_fields) == names(ClipFamiliarity)
    assert set(classes.Moment.model_fields) == names(timeline.Moment)
    assert set(classes.Segment.model_fields) == names(windows.Segment)
    assert set(classes.Window.model_fields) == names(windows.Window)
