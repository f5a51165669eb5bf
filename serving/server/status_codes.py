"""Errors of requests: TensorFlow's status codes, and their statuses over HTTP."""

from __future__ import annotations

import enum
from typing import Any


class Code(enum.IntEnum):
    """The canonical status codes (google/rpc/code.proto), which gRPC and TensorFlow share."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# As model_servers/http_server.cc of TensorFlow Serving maps them.
HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}

# Longer messages quote the request back at its sender; gRPC carries them in a header of 8 KiB.
_MAX_MESSAGE = 1024


class ServingError(Exception):
    """A request that cannot be answered; `code` and `message` go to the client.

    Args:
      code: the canonical status code.
      message: one sentence for the client; cut where it is longer than a header may be.
    """

    def __init__(self, code: Code, message: str):
        if len(message) > _MAX_MESSAGE:
            message = message[:_MAX_MESSAGE] + "..."
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> ServingError:
    """INVALID_ARGUMENT, the commonest of all."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def from_tensorflow(error: Exception, hide: str = "") -> ServingError:
    """What a client may know of a `tf.errors.OpError`, or of any error while a model runs.

    Args:
      error: error of TensorFlow, or any other (INTERNAL, without its text).
      hide: a path that messages must not reveal.

    Returns:
      The error with the first line of its message: what follows are traces of the graph.
    """
    code = getattr(error, "error_code", None)
    if code is None:
        return ServingError(Code.INTERNAL, "the model could not be run; the server's log says why")
    # The session wraps the error in another, whose text is a trace of where the graph was built.
    original: Any = error.__context__ if hasattr(error.__context__, "error_code") else error
    message = str(original.message).strip().split("\n")[0]
    if hide:
        message = message.replace(hide, "<model>")
    return ServingError(Code(code), message)
