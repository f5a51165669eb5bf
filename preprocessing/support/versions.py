"""Differences between the two environments, and versions that several files name.

The code is written once for TFX 1.16 (Python 3.10) and TFX 1.21 (Python 3.11 to 3.13). What cannot
be written so that both understand it stands here, each difference with its reason, and nowhere
else. What code must heed to need no such place is listed in docs/versions.md.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from typing import Any

# The image tensorflow/serving of InfraValidator, serving/deploy/ and its documentation: the newest
# whose client, tensorflow-serving-api, TFX 1.21 accepts.
TENSORFLOW_SERVING = "2.19.1"

# Name of the distribution and of its image.
PROJECT = "deepfake-detection"

# By Python version, which TFX setup.py requires.
TFX = {(3, 10): "1.16", (3, 11): "1.21", (3, 12): "1.21", (3, 13): "1.21"}
# The wheels of TFX 1.21's dependencies are manylinux_2_39.
NEWEST_NEEDS_GLIBC = (2, 39)

_SERVING_SERVICES = {
    "prediction_service": "PredictionService",
    "model_service": "ModelService",
}


def serving_service_names() -> list[str]:
    """Full names of TensorFlow Serving's two gRPC services, after registering their descriptors.

    The generated modules of `tensorflow-serving-api` set an attribute on their descriptor that
    protobuf 4 and later make read-only. The import fails there, but only after the descriptors
    were added to the default pool, which is all that reflection needs.

    Returns:
      The names of PredictionService and ModelService.

    Raises:
      KeyError: the descriptors were not registered.
    """
    from google.protobuf import descriptor_pool

    names = []
    for module, service in _SERVING_SERVICES.items():
        try:
            importlib.import_module(f"tensorflow_serving.apis.{module}_pb2")
        except AttributeError as error:
            if "has_options" not in str(error):
                raise
        pool = descriptor_pool.Default()
        names.append(pool.FindServiceByName(f"tensorflow.serving.{service}").full_name)
    return names


def message_class(pool: Any, name: str) -> type:
    """The class of a message type in a descriptor pool.

    protobuf 3 has `MessageFactory.GetPrototype`; later versions removed it for `GetMessageClass`.

    Args:
      pool: a `DescriptorPool`.
      name: full name of the type.

    Raises:
      KeyError: the pool has no such type.
    """
    from google.protobuf import message_factory

    descriptor = pool.FindMessageTypeByName(name)
    message_type: type
    if hasattr(message_factory, "GetMessageClass"):
        message_type = message_factory.GetMessageClass(descriptor)
    else:
        message_type = message_factory.MessageFactory(pool).GetPrototype(descriptor)
    return message_type


@functools.cache
def json_with_defaults() -> dict[str, bool]:
    """Keyword arguments of `json_format` that print fields with their default values.

    protobuf 5 renamed the argument.
    """
    from google.protobuf import json_format

    parameters = inspect.signature(json_format.MessageToDict).parameters
    for name in ("always_print_fields_with_no_presence", "including_default_value_fields"):
        if name in parameters:
            return {name: True}
    raise RuntimeError("json_format has no argument to print fields with default values")


def image_name(target: str = "") -> str:
    """An image that serving/deploy/Dockerfile builds, named after the project and its version.

    Args:
      target: `serve`; without it the image of the pipeline.
    """
    name = f"{PROJECT}-{target}" if target else PROJECT
    return f"{name}:{importlib.metadata.version(PROJECT)}"


def tensorflow_build() -> str:
    """The distribution that TensorFlow comes from: `tensorflow`, or an image's `tensorflow-cpu`."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("tensorflow-cpu")
        return "tensorflow-cpu"
    return "tensorflow"


def has_pipeline() -> bool:
    """Whether the extra `pipeline` of setup.py is installed, and not only what a verdict needs."""
    return importlib.util.find_spec("tfx") is not None


def supported_tfx() -> str | None:
    """The TFX that setup.py requires on this Python; None where this Python is not supported."""
    return TFX.get(sys.version_info[:2])
