"""gRPC's ProfilerService, by which TensorBoard's clients take traces of a server that runs.

`tensorflow.ProfilerService` is tsl/profiler/protobuf/profiler_service.proto of TensorFlow, which
ships no Python classes for it. A trace is written to the folder that the client names, as
TensorFlow's own service does: whoever may ask can write files where the server may.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool

from preprocessing.support.versions import message_class
from serving.server.status_codes import Code, ServingError

_PACKAGE = "deepfake.profiler"
# (number, name, type) of the fields that are read or written.
_REQUEST = (
    (1, "duration_ms", descriptor_pb2.FieldDescriptorProto.TYPE_UINT64),
    (5, "repository_root", descriptor_pb2.FieldDescriptorProto.TYPE_STRING),
    (6, "session_id", descriptor_pb2.FieldDescriptorProto.TYPE_STRING),
    (7, "host_name", descriptor_pb2.FieldDescriptorProto.TYPE_STRING),
)
_RESPONSE = ((7, "empty_trace", descriptor_pb2.FieldDescriptorProto.TYPE_BOOL),)
_LONGEST_SECONDS = 60.0
_busy = threading.Lock()


def add_profiler(server: grpc.Server) -> None:
    """Adds the service to a server; of its methods, Profile."""
    handler = grpc.unary_unary_rpc_method_handler(
        _profile,
        request_deserializer=_class("ProfileRequest").FromString,
        response_serializer=_class("ProfileResponse").SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tensorflow.ProfilerService", {"Profile": handler}),)
    )


def _profile(request: Any, context: grpc.ServicerContext) -> Any:
    try:
        trace = _trace(request.duration_ms / 1000)
        _write(trace, request.repository_root, request.session_id, request.host_name)
    except ServingError as error:
        context.abort(grpc.StatusCode[error.code.name], error.message)
    except OSError as error:
        context.abort(grpc.StatusCode.INTERNAL, f"the trace cannot be written: {error.strerror}")
    return _class("ProfileResponse")(empty_trace=not trace)


def _trace(seconds: float) -> bytes:
    """A serialized XSpace of what runs in the next seconds."""
    from tensorflow.python.profiler.internal import _pywrap_profiler

    if not 0 < seconds <= _LONGEST_SECONDS:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"duration_ms must be 1 to {int(_LONGEST_SECONDS * 1000)}"
        )
    if not _busy.acquire(blocking=False):
        raise ServingError(Code.ALREADY_EXISTS, "another trace is being taken")
    try:
        session = _pywrap_profiler.ProfilerSession()
        session.start("", {})
        time.sleep(seconds)
        return bytes(session.stop())
    finally:
        _busy.release()


def _write(trace: bytes, root: str, session: str, host: str) -> None:
    import tensorflow as tf

    # The root may be an address, such as gs://bucket.
    folder = os.path.join(root, session)  # noqa: PTH118
    name = f"{host.replace(':', '_')}.xplane.pb"
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(os.path.join(folder, name), "wb") as file:  # noqa: PTH118
        file.write(trace)


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="deepfake/profiler_service.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in (("ProfileRequest", _REQUEST), ("ProfileResponse", _RESPONSE)):
        message = file.message_type.add(name=name)
        for number, field, kind in fields:
            message.field.add(
                name=field,
                number=number,
                type=kind,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _class(name: str) -> Any:
    return message_class(_pool(), f"{_PACKAGE}.{name}")
