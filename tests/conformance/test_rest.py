"""Each REST case, and status and metadata."""

import gzip
import http.client
import json
import math
import urllib.parse

import pytest
from conformance.rest_cases import CASES, HALF, Case

pytestmark = pytest.mark.integration


def ask(rest_url: str, case: Case) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; http.client sends paths as they are."""
    parts = urllib.parse.urlsplit(rest_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.request(case.method, case.path, body=case.data(), headers=dict(case.headers))
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()
    finally:
        connection.close()


def same(given, expected) -> bool:
    """Equality in which NaN equals NaN, and 3 does not equal 3.0: clients read types from it."""
    if isinstance(expected, dict):
        return (
            isinstance(given, dict)
            and given.keys() == expected.keys()
            and all(same(given[key], expected[key]) for key in expected)
        )
    if isinstance(expected, list):
        return (
            isinstance(given, list)
            and len(given) == len(expected)
            and all(map(same, given, expected))
        )
    if isinstance(expected, float) and math.isnan(expected):
        return isinstance(given, float) and math.isnan(given)
    return type(given) is type(expected) and given == expected


def test_there_are_enough_cases():
    assert len({case.name for case in CASES}) == len(CASES) >= 80


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(rest_url, case):
    status, headers, body = ask(rest_url, case)
    assert status == case.status, body
    if case.answer is not None:
        assert headers["content-type"] == "application/json"
        assert same(json.loads(body), case.answer), body
    if case.error:
        answer = json.loads(body)
        assert list(answer) == ["error"]
        assert case.error in answer["error"]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "gzip, identity", "GZIP"])
def test_gzip_body(rest_url, encoding):
    text = json.dumps({"instances": [2]}).encode()
    body = gzip.compress(text[:5]) + gzip.compress(text[5:])
    case = Case("gzip", f"{HALF}:predict", body, headers=(("Content-Encoding", encoding),))
    status, _, answer = ask(rest_url, case)
    assert (status, json.loads(answer)) == (200, {"predictions": [3.0]})


STATUS = {
    "model_version_status": [
        {
            "version": "123",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    ]
}


@pytest.mark.parametrize("which", ["", "/versions/123", "/labels/stable"])
def test_status(rest_url, which):
    status, headers, body = ask(rest_url, Case("status", HALF + which, method="GET"))
    assert (status, json.loads(body)) == (200, STATUS)
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/models/foo", "Could not find any versions of model foo"),
        (f"{HALF}/versions/2", "Could not find version 2 of model half_plus_two"),
    ],
)
def test_status_of_unknown(rest_url, path, error):
    status, _, body = ask(rest_url, Case("status", path, method="GET"))
    assert status == 404
    assert error in json.loads(body)["error"]


@pytest.mark.parametrize("which", ["", "/versions/123", "/labels/stable"])
def test_metadata(rest_url, which):
    status, _, body = ask(rest_url, Case("metadata", f"{HALF}{which}/metadata", method="GET"))
    document = json.loads(body)
    assert status == 200
    assert document["model_spec"] == {
        "name": "half_plus_two",
        "signature_name": "",
        "version": "123",
    }
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert signatures["regress_x_to_y"]["method_name"] == "tensorflow/serving/regress"
    default = signatures["serving_default"]
    assert default["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert default["inputs"]["x"]["name"] == "x:0"
    assert default["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
        "unknown_rank": False,
    }
    assert default["outputs"]["y"]["name"] == "y:0"


def test_metadata_of_unknown_model(rest_url):
    status, _, body = ask(rest_url, Case("metadata", "/v1/models/foo/metadata", method="GET"))
    assert status == 404
    assert "Servable not found" in json.loads(body)["error"]
