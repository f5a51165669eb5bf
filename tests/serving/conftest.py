"""The shared server; see serving_support/shared.py."""

import pytest


@pytest.fixture(scope="session")
def server():
    from serving_support import shared

    yield shared.server()
    shared.stop()
