"""A model manager without a server's process, for tests that say when it looks at its folder."""

import shutil
import time

import numpy as np

from serving.server import warmup
from serving.server.config import LoadOptions, ServedModelConfig
from serving.server.inference import Inference
from serving.server.manager import ModelManager
from serving.server.metrics import Metrics
from serving.server.served_model import Target


class Served:
    """A base folder, a manager that looks when it is told, and a model named `m`."""

    def __init__(self, base, made, loading=None, **config):
        self.base = base
        self._made = made
        self.metrics = Metrics()
        self.manager = ModelManager(
            [ServedModelConfig("m", str(base), **config)],
            self.metrics,
            loading or LoadOptions(),
            warm_up=lambda servable: warmup.replay(self.inference, self.metrics, servable),
        )
        self.inference = Inference(self.manager, _run, self.metrics)

    def add(self, *versions, like=None):
        for version in versions:
            shutil.copytree(self._made[like or version], self.base / str(version))
        self.manager.look()
        return self

    def ask(self, version=None, label=""):
        with self.manager.acquire(Target("m", version, label)) as servable:
            feed = np.array([0.0], np.float32)
            outputs = self.inference.predict(servable, "", {"x": feed}, time.monotonic() + 60)
            return float(outputs["y"][0])

    def states(self):
        found = self.manager.status(Target("m"))
        return {version.number: version.state.name for version in found}

    def version(self, number):
        (found,) = self.manager.status(Target("m", number))
        return found


def _run(servable, api, feeds, fetches, deadline):
    return servable.run(feeds, fetches, deadline)
