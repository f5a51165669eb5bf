r"""The suite runs against any server that serves the models of serving_support/models.py.

By default it starts this project's. For another, for instance TensorFlow Serving:

    PYTHONPATH=tests python -m serving_support.models /tmp/models
    tensorflow_model_server --port=8500 --rest_api_port=8501 \
        --model_config_file=/tmp/models/models.config \
        --allow_version_labels_for_unavailable_models=true
    CONFORMANCE_REST_URL=http://localhost:8501 CONFORMANCE_GRPC_ADDRESS=localhost:8500 \
        pytest tests/conformance
"""

from __future__ import annotations

import os

import grpc
import pytest


@pytest.fixture(scope="session")
def addresses():
    """URL of REST and address of gRPC."""
    rest, address = (
        os.environ.get(name, "") for name in ("CONFORMANCE_REST_URL", "CONFORMANCE_GRPC_ADDRESS")
    )
    if rest and address:
        yield rest.rstrip("/"), address
        return
    if rest or address:
        pytest.fail("give both CONFORMANCE_REST_URL and CONFORMANCE_GRPC_ADDRESS")
    from serving_support import shared

    server = shared.server()
    yield server.rest, server.grpc
    shared.stop()


@pytest.fixture(scope="session")
def rest_url(addresses) -> str:
    return addresses[0]


@pytest.fixture(scope="session")
def channel(addresses):
    with grpc.insecure_channel(addresses[1]) as channel:
        yield channel
