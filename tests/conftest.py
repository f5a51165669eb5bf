"""Fixtures that more than one folder of tests needs."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real clips; tests that need it skip where there is none."""
    folder = os.environ.get("DEEPFAKE_TEST_MEDIA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("DEEPFAKE_TEST_MEDIA names no folder of real clips")
    return Path(folder)
