"""The gateway's application, for tests that choose how long the work takes."""

import pytest
from serving_support.asgi import Examiner
from serving_support.gateway import until

from serving.gateway.app import Gateway, GatewayOptions
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.routes import make_api


@pytest.fixture
def examiner():
    examiner = Examiner()
    yield examiner
    examiner.go.set()


@pytest.fixture
def gateway(examiner, monkeypatch, tmp_path):
    """Makes the application, and sees to it that no file is left at the end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = []

    def make(**changed):
        options = {"max_bytes": 100, "workers": 1, "waiting": 0, "timeout": 60.0, **changed}
        metrics = GatewayMetrics()
        app = Gateway(GatewayOptions(**options), examiner, metrics)
        app.files = lambda: list(app._folder.iterdir())
        app.outcomes = lambda: {
            tuple(sample.labels.values()): sample.value
            for family in metrics.requests.collect()
            for sample in family.samples
            if sample.value
        }
        made.append(app)
        return app

    yield make
    examiner.go.set()
    for app in made:
        until(lambda app=app: app.close() or not app._running, "the workers have ended")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def document():
    """The OpenAPI document."""
    return make_api(None).openapi()
