"""What the OpenAPI document says of each path, besides what the code itself tells.

The gateway reads requests for a verdict by itself, as a stream, and FastAPI is not told of their
parts. So query, headers and body stand here in words of OpenAPI.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

from fastapi.security import HTTPBearer

from serving.gateway.answer import Alive, Error, Ready
from serving.gateway.body import HOW_TO_SEND, too_large
from serving.gateway.limits import FileLimits
from serving.gateway.refusals import RETRY_AFTER, failed
from serving.model.answer import Answer

TITLE = "Deepfake detection gateway"
DESCRIPTION = (
    "A picture or video in, a verdict out. Every failure is answered with an `Error`: a path that "
    "does not exist with 404, a method that a path does not take with 405 and `Allow`. Only beyond "
    "`--max-connections` the answer is 503 in plain text. HEAD is answered wherever GET is."
)
BEARER = HTTPBearer(
    scheme_name="token",
    description="The token of `--token-file`; a gateway started without one asks for none.",
    auto_error=False,
)

_JSON = "application/json"
_FILE = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
_FORM = {
    "type": "object",
    "properties": {
        "file": {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "description": "Any name does; the first part with a file name is taken.",
        }
    },
    "required": ["file"],
}


def project_version() -> str:
    """The version in setup.py; `unknown` in a checkout that was not installed."""
    try:
        return importlib.metadata.version("deepfake-detection")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def failure(when: str, error: str, **headers: str) -> dict[str, Any]:
    """One status of a path.

    Args:
      when: case in which it is answered, a sentence.
      error: example of the sentence.
      **headers: names, with _ for -, and values.
    """
    # Named here, too: FastAPI would have it in the content type of the path's usual answer.
    schema = {"$ref": "#/components/schemas/Error"}
    response: dict[str, Any] = {
        "model": Error,
        "description": when,
        "content": {_JSON: {"schema": schema, "example": {"error": error}}},
    }
    if headers:
        response["headers"] = {
            name.replace("_", "-"): {"schema": {"type": "string"}, "example": value}
            for name, value in headers.items()
        }
    return response


def answer(what: str, example: dict[str, Any] | None = None) -> dict[str, Any]:
    """A status with an answer in JSON."""
    return {"description": what, "content": {_JSON: {"example": example} if example else {}}}


def query(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """A parameter of the query."""
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


_RATE = {"type": "number", "minimum": 0.0001, "maximum": 0.5}
_MODEL = {
    "name": "starter",
    "version": 1,
    "backbone": "efficientnet_lite0",
    "about": "Model: starter: EfficientNet-Lite0 at 176 pixels, trained on published face crops. "
    "Trained on: Celeb-DF v2 (119 real and 807 fake clips, 39 persons, split train). Figures: "
    "AUC per clip, Celeb-DF v2 0.951 [0.896, 0.987] on 30 real and 130 fake clips of 20 "
    "persons or originals of its test.",
    "provenance": {
        "name": "starter",
        "summary": "EfficientNet-Lite0 at 176 pixels, trained on published face crops",
        "trained_on": [
            {
                "dataset": "Celeb-DF v2",
                "clips_real": 119,
                "clips_fake": 807,
                "persons": 39,
                "split": "train",
            }
        ],
        "figures": {
            "AUC per clip, Celeb-DF v2": {
                "value": 0.9505,
                "low": 0.8964,
                "high": 0.9873,
                "on": "30 real and 130 fake clips of 20 persons or originals of its test",
            }
        },
    },
}
ANSWER = {
    "name": "clip.mp4",
    "schema_version": 1,
    "verdict": "fake",
    "warning": "",
    "score": 0.9701133201963639,
    "logit": 3.48,
    "reason": "",
    "note": "",
    "notes": ["it is damaged or cut off; what comes after that is not read"],
    "frames": 32,
    "shots": 1,
    "faces_found": 35,
    "faces": 32,
    "left_out": {"track too short": 3},
    "tracks": [
        {
            "track": 0,
            "score": 0.9701133201963639,
            "faces": 32,
            "timeline": [{"frame": 4, "seconds": 0.16, "score": 0.9478464369215823, "logit": 2.9}],
        }
    ],
    "p_values": {"real": 0.0023, "fake": 0.88},
    "window": {"logit": 5.2, "p_value": 0.0023},
    "segments": [
        {
            "track": 0,
            "start": 1.2,
            "end": 4.04,
            "first_frame": 32,
            "last_frame": 99,
            "score": 0.9918374288468401,
            "logit": 4.8,
        }
    ],
    "familiarity": {"p_value": 0.41, "distance": 0.62, "facts": []},
    "thresholds": {
        "false_positive_rate": 0.01,
        "miss_rate": 0.05,
        "fake_above_logit": 2.45,
        "real_below_logit": -1.73,
        "real_clips": 484,
        "real_clusters": 455,
        "fake_clips": 596,
        "fake_clusters": 465,
        "guaranteed": True,
        "fake_above": 0.9205614508160216,
        "real_below": 0.15060971365300203,
    },
    "blended_fakes": False,
    "meaning": "fake: above 0.921, where at most 1.0% of real clips are; real: below 0.151, where "
    "at most 5.0% of fakes are; uncertain: else (for clips like those of validation: 484 real ones "
    "in 455 and 596 fake ones in 465 clusters of persons)",
    "segments_meaning": "segments: within 20% of a track's frames or more whose mean is above "
    "0.953, which at most 1.0% of real clips have",
    "model": _MODEL,
}

UNAUTHORIZED = failure(
    "The token is missing or wrong.", "a bearer token is needed", WWW_Authenticate="Bearer"
)
FAILED = failure("The gateway failed; its log says why.", failed().message)
_NO_SCORES = failure(
    "The model server failed, or gave no numbers.",
    "the model server failed; the gateway's log says how",
)
_UNAVAILABLE = "The model server does not answer, or serves no version that can be used."
AGAIN = str(RETRY_AFTER)

# How a file is sent, for a verdict and for a job alike.
SENDING: dict[str, Any] = {
    "parameters": [
        query("name", "What the answer calls the file; 200 characters of it are kept."),
        query("crops", "1: each track comes with a small picture.", enum=["0", "1"]),
        query(
            "explain",
            "1: each track comes with small pictures of faces, and heat maps to be laid over them.",
            enum=["0", "1"],
        ),
        query("all_faces", "1: no face that was found is left out.", enum=["0", "1"]),
        query(
            "false_positive_rate",
            "Share of real clips that may be called fake; the gateway's where it is absent.",
            **_RATE,
        ),
        query("miss_rate", "Share of fake clips that may be called real.", **_RATE),
        {
            "name": "Content-Encoding",
            "in": "header",
            "required": False,
            "description": "Of the body, a form's, too.",
            "schema": {"type": "string", "enum": ["identity", "gzip", "x-gzip"]},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": _FILE,
            "image/*": _FILE,
            "video/*": _FILE,
            "multipart/form-data": {"schema": _FORM},
        },
    },
}

PAGE: dict[str, Any] = {
    "operation_id": "page",
    "summary": "The page to drop a file on",
    "responses": {200: {"description": "A page that fetches nothing but the films of `example`."}},
}
EXAMPLE: dict[str, Any] = {
    "operation_id": "example",
    "summary": "A film to try, as the page offers it",
    "responses": {
        200: {"description": "The film, H.264 in MP4.", "content": {"video/mp4": {}}},
        404: failure(
            "There is no such film.", "there is no example of this name; the page lists them"
        ),
    },
    "openapi_extra": {
        "parameters": [
            {
                "name": "name",
                "in": "path",
                "required": True,
                "description": "The name of a film.",
                "schema": {"type": "string"},
                "example": "changed.mp4",
            }
        ]
    },
}
DOCUMENT: dict[str, Any] = {
    "operation_id": "document",
    "summary": "This document",
    "responses": {
        200: {"description": "OpenAPI 3.1.", "content": {_JSON: {"schema": {"type": "object"}}}}
    },
}
ALIVE: dict[str, Any] = {
    "operation_id": "alive",
    "summary": "Whether the gateway answers",
    "response_model": Alive,
    "responses": {200: answer("It does.", {"status": "alive"})},
}
READY: dict[str, Any] = {
    "operation_id": "ready",
    "summary": "Whether a file would get a verdict",
    "response_model": Ready,
    "responses": {
        200: answer("It would.", {"status": "ready", "version": 1}),
        500: FAILED,
        502: _NO_SCORES,
        503: failure(_UNAVAILABLE, "the model server does not answer", Retry_After=AGAIN),
    },
}
METRICS: dict[str, Any] = {
    "operation_id": "metrics",
    "summary": "Counts and times for Prometheus",
    "responses": {
        200: {"description": "In the text format of Prometheus."},
        401: {**UNAUTHORIZED, "model": None},
    },
}
VERDICT: dict[str, Any] = {
    "operation_id": "verdict",
    "summary": "Whether a picture or video is fake",
    "description": "The file is the body itself or a part of a form. What kind of file it is, its "
    "content says. A file without a face is answered, too, with a `score` of null.",
    "response_model": Answer,
    "responses": {
        200: answer("The verdict, or why there is none.", ANSWER),
        400: failure(
            "The body is empty, its file cannot be read or is beyond another limit, or the query "
            "asks for a rate that cannot be.",
            f"the file is empty; {HOW_TO_SEND}",
        ),
        401: UNAUTHORIZED,
        408: failure(
            "The body did not come within `--timeout`.",
            "the file did not arrive in time",
            Connection="close",
        ),
        413: failure(
            "The file is beyond `--max-bytes`, or takes more than `--worker-memory-mb`.",
            too_large(FileLimits().bytes).message,
        ),
        415: failure(
            "The headers tell of a body that holds no picture or video.",
            f"application/json is no picture or video; {HOW_TO_SEND}",
        ),
        500: FAILED,
        502: _NO_SCORES,
        503: failure(
            f"{_UNAVAILABLE} Or too many files wait.",
            "8 files are being looked at or wait already",
            Retry_After=AGAIN,
        ),
        504: failure("`--timeout` has passed.", "looking at the file took too long"),
    },
    "openapi_extra": SENDING,
}
