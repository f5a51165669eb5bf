"""What the OpenAPI document says of jobs, see `serving.gateway.openapi`."""

from __future__ import annotations

from typing import Any

from serving.gateway.answer import JobStatus
from serving.gateway.openapi import (
    AGAIN,
    ANSWER,
    FAILED,
    SENDING,
    UNAUTHORIZED,
    VERDICT,
    answer,
    failure,
    query,
)

_ID = "kDq1w4Zk0T9yqM3xXo2b5A"
_JOB = {
    "name": "job",
    "in": "path",
    "required": True,
    "description": "Its `id`.",
    "schema": {"type": "string"},
}
_STATUS: dict[str, Any] = {
    "id": _ID,
    "name": "clip.mp4",
    "state": "waiting",
    "progress": None,
    "answer": None,
    "error": "",
    "status": None,
    "overlay": "",
    "expires_in": None,
}
_DONE = {
    **_STATUS,
    "state": "done",
    "answer": ANSWER,
    "overlay": f"/v1/jobs/{_ID}/overlay.mp4",
    "expires_in": 3581.2,
}
_NOT_FOUND = failure(
    "There is no such job, or none any more.",
    "there is no such job; results are kept for a time",
)
_SENT = {
    status: response
    for status, response in VERDICT["responses"].items()
    if status in (400, 401, 408, 413, 415, 500)
}

NEW_JOB: dict[str, Any] = {
    "operation_id": "newJob",
    "summary": "Have a long film looked at",
    "description": "As `/v1/verdict`, for files that take longer than a client waits: the file is "
    "taken in, and `Location` says where to come back to. What the file is, is found out later, so "
    "one that cannot be read is a job that fails. Jobs end with the gateway.",
    "response_model": JobStatus,
    "responses": {
        202: {
            **answer("The job waits for its turn."),
            "headers": {
                "Location": {"schema": {"type": "string"}, "example": f"/v1/jobs/{_ID}"},
            },
        },
        **_SENT,
        503: failure(
            "Too many jobs wait, or too many files come.",
            "8 jobs wait or run already",
            Retry_After=AGAIN,
        ),
    },
    "openapi_extra": {
        **SENDING,
        "parameters": [
            *SENDING["parameters"],
            query(
                "overlay",
                "1: a film with its faces marked is written, too.",
                enum=["0", "1"],
            ),
        ],
    },
}
JOB: dict[str, Any] = {
    "operation_id": "job",
    "summary": "How far a job is, and what it came to",
    "response_model": JobStatus,
    "responses": {
        200: answer("The job."),
        401: UNAUTHORIZED,
        404: _NOT_FOUND,
        500: FAILED,
    },
    "openapi_extra": {"parameters": [_JOB]},
}
END_JOB: dict[str, Any] = {
    "operation_id": "endJob",
    "summary": "End a job, and forget it with its files",
    "responses": {
        204: {"description": "It is gone; a running one ends within seconds."},
        401: UNAUTHORIZED,
        404: _NOT_FOUND,
        500: FAILED,
    },
    "openapi_extra": {"parameters": [_JOB]},
}
OVERLAY: dict[str, Any] = {
    "operation_id": "overlay",
    "summary": "The film with its faces marked",
    "description": "H.264 in MP4, which browsers play; parts of it are answered as `Range` asks.",
    "responses": {
        200: {"description": "The film.", "content": {"video/mp4": {}}},
        206: {"description": "A part of it.", "content": {"video/mp4": {}}},
        400: failure(
            "The `Range` cannot be read.",
            "the Range cannot be read; write bytes=FIRST-LAST, or leave it out",
        ),
        401: UNAUTHORIZED,
        404: failure(
            "There is no such job, or no film of it, none yet, or none any more.",
            "there is no film, none yet, or none any more; ask for one with overlay=1, and come "
            "when the job is done",
        ),
        416: failure(
            "The film has no such part.",
            "the film has no such part; Content-Range says how many bytes it has",
            Content_Range="bytes */481216",
        ),
        500: FAILED,
    },
    "openapi_extra": {"parameters": [_JOB]},
}

# FastAPI would leave out what is null in them.
EXAMPLES = (
    ("/v1/jobs", "post", "202", _STATUS),
    ("/v1/jobs/{job}", "get", "200", _DONE),
)
