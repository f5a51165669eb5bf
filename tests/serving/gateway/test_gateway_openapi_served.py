"""The OpenAPI document is true of what a real gateway answers, also to requests made at random."""

import gzip
import itertools

import cv2
import httpx
import hypothesis
import numpy as np
import pytest
import schemathesis
from made_media import face_frame
from schemathesis.specs.openapi import checks
from serving_support.gateway import GatewayProcess
from serving_support.openapi import VERDICT, agree, faults, operations
from serving_support.starter import make_starter

from serving.gateway.answer import JobStatus
from serving.model.answer import Answer
from serving.server.process import ServerProcess

pytestmark = pytest.mark.integration

TOKEN = "let me in"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
# Of each operation; one for a verdict takes a worker a tenth of a second.
RANDOM_REQUESTS = 12


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openapi")
    base = make_starter(folder / "tiny")
    (folder / "token").write_text(TOKEN)
    with ServerProcess(["--model-base", base]) as server, GatewayProcess(
        folder / "run", "--server", server.rest, "--model-base", base,
        "--token-file", folder / "token",
    ) as process:  # fmt: skip
        yield process


@pytest.fixture(scope="module")
def client(gateway):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=240) as client:
        yield client


def png(pixels):
    return cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()


def test_document_is_there_without_a_token(client, document):
    open_to_all = {"Authorization": ""}
    answer = client.get("/openapi.json", headers=open_to_all)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == document
    head = client.head("/openapi.json", headers=open_to_all)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == answer.headers


def test_paths_answer_as_listed(client, document):
    listed = operations(document)
    for path, method in itertools.product(document["paths"], METHODS):
        allowed = sorted(name for name in METHODS if (path, name) in listed)
        allowed += ["HEAD"] if "GET" in allowed else []
        answer = client.request(method, path, headers={"Authorization": "Bearer wrong"})
        if method not in allowed:
            assert answer.status_code == 405
            assert answer.headers["allow"] == ", ".join(allowed)
            continue
        operation = listed[(path, "GET" if method == "HEAD" else method)]
        assert (answer.status_code == 401) == ("security" in operation), (method, path)
        assert str(answer.status_code) in operation["responses"]
    for path in ("/docs", "/redoc", "/v1", "/healthz/", "/healthz%0A", "/v1/verdict%0A"):
        for method in METHODS:
            assert client.request(method, path).status_code == 404, (method, path)


@pytest.mark.parametrize("crops", [False, True])
def test_real_answers_are_as_the_document_says(client, document, crops):
    face, wall = face_frame([(60, 40, 1.0)]), np.full((240, 320, 3), 127, np.uint8)
    for pixels, tracks in ((face, 1), (wall, 0)):
        query = {"name": "x" * 300, **({"crops": "1"} if crops else {})}
        answer = client.post(VERDICT, params=query, content=png(pixels))
        assert answer.status_code == 200, answer.text
        agree(document, answer.json())
        assert Answer.model_validate_json(answer.content).name == "x" * 200
        assert len(answer.json()["tracks"]) == tracks
        assert all(("crop" in track) == crops for track in answer.json()["tracks"])
    ready = client.get("/readyz").json()
    assert faults(document, {"$ref": "#/components/schemas/Ready"}, ready) == []
    assert (
        faults(document, {"$ref": "#/components/schemas/Alive"}, client.get("/healthz").json())
        == []
    )


def test_bodies_are_taken_as_the_document_says(client, document):
    picture = png(face_frame([(60, 40, 1.0)]))
    content = document["paths"][VERDICT]["post"]["requestBody"]["content"]
    answers = []
    for kind in content:
        if kind.startswith("multipart/"):
            sent = {"files": {"file": ("face.png", picture)}}
        else:
            sent = {"content": picture, "headers": {"Content-Type": kind.replace("*", "png")}}
        plain = client.build_request("POST", VERDICT, **sent)
        packed = client.build_request(
            "POST",
            VERDICT,
            content=gzip.compress(plain.read()),
            headers={"Content-Type": plain.headers["content-type"], "Content-Encoding": "gzip"},
        )
        for request in (plain, packed):
            answer = client.send(request)
            assert answer.status_code == 200, (kind, answer.text)
            assert answer.json()["name"] == ("face.png" if "files" in sent else "")
            answers.append(answer.json()["score"])
    assert len(set(answers)) == 1


def test_jobs_are_as_the_document_says(client, document):
    schema = {"$ref": "#/components/schemas/JobStatus"}
    picture = png(face_frame([(60, 40, 1.0)]))
    begun = client.post("/v1/jobs", content=picture)
    assert begun.status_code == 202
    job = {"state": ""}
    while job["state"] != "done":
        job = client.get(begun.headers["location"]).json()
        assert faults(document, schema, job) == []
        JobStatus.model_validate(job)
    agree(document, job["answer"])
    assert client.delete(begun.headers["location"]).status_code == 204


def test_random_requests_are_answered_as_the_document_says(gateway, document):
    """No status that is not listed, least of all a failure; and each answer as its schema says."""
    schema = schemathesis.openapi.from_dict(document)
    seen = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(
            max_examples=RANDOM_REQUESTS,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def ask(case):
            answer = case.call(
                base_url=gateway.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=240
            )
            case.validate_response(
                answer,
                checks=[
                    checks.status_code_conformance,
                    checks.content_type_conformance,
                    checks.response_schema_conformance,
                ],
            )
            assert answer.status_code not in (500, 502), answer.text
            seen.add((case.path, case.method, answer.status_code))

        ask()
    print(sorted(seen))
    assert ("/v1/jobs", "POST", 202) in seen
    assert {path for path, _, _ in seen} == set(document["paths"])
