"""Assembles the server from its parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from preprocessing.support.errors import UsageError
from serving.http.cors import Cors
from serving.http.http_server import HttpServer
from serving.server import warmup
from serving.server.config import ServedModelConfig, ServerOptions
from serving.server.grpc_service import GrpcServer
from serving.server.inference import Inference
from serving.server.manager import ModelManager
from serving.server.metrics import Metrics
from serving.server.rest import RestApi
from serving.server.runner import Admission, Runner
from serving.server.servable import Servable
from serving.server.status_codes import ServingError

_LOG = logging.getLogger(__name__)


class Server:
    """Serves models until it is stopped. Use it in a process of its own.

    Args:
      models: models to serve.
      options: addresses and limits.
      on_failure: function that is called when REST ended without having been asked to.

    Attributes:
      grpc_port: port of gRPC.
      rest_port: port of REST; None without REST.
      manager: the models.

    Raises:
      UsageError: a port is taken, or the TLS files cannot be used.
    """

    def __init__(
        self,
        models: Sequence[ServedModelConfig],
        options: ServerOptions,
        on_failure: Callable[[], None] = lambda: None,
    ):
        self._options = options
        metrics = Metrics()
        self._runner = Runner(options.slots, options.batching, metrics)
        self._admission = Admission(options.max_in_flight, metrics, options.max_body_bytes)
        self.manager = ModelManager(
            models,
            metrics,
            options.loading,
            warm_up=self._warm_up,
        )
        inference = Inference(self.manager, self._runner.run, metrics, options.check_methods)
        # Warm-up runs past queues: the version is not announced, and must not wait for others.
        self._warming = Inference(self.manager, _run_at_once, metrics, options.check_methods)
        self._metrics = metrics
        self._grpc = GrpcServer(options, inference, self._admission, metrics)
        self._rest: HttpServer | None = None
        if options.rest_port is not None:
            api = RestApi(options, inference, self._admission, metrics)
            app = Cors(api, options.cors_origins) if options.cors_origins else api
            self._rest = HttpServer(options.http, app, on_failure)
        self.grpc_port = self._grpc.port
        self.rest_port = self._rest.port if self._rest else None

    @property
    def failed(self) -> bool:
        """Whether REST ended without having been asked to."""
        return self._rest is not None and self._rest.failure is not None

    def start(self) -> None:
        """Loads what can be served and begins to answer.

        Raises:
          UsageError: a label names a version that does not answer.
          RuntimeError: REST did not start.
        """
        try:
            self.manager.start()
        except ServingError as error:
            raise UsageError(
                f"{error.message}; correct version_labels, or give --labels-of-unavailable"
            ) from error
        self.manager.on_change = self._tell_health
        self._tell_health()
        self._grpc.start()
        if self._rest:
            self._rest.start()

    def stop(self) -> bool:
        """Refuses new requests, lets the others finish, and frees the models.

        Returns:
          False when requests were left after the time for draining.
        """
        self.manager.on_change = lambda: None
        grpc_done = self._grpc.stop(self._options.drain_seconds)
        drained = self._admission.close(self._options.drain_seconds)
        grpc_done.wait()
        if self._rest:
            self._rest.stop()
        if not drained:
            _LOG.warning("some requests were cut off after %.0f s", self._options.drain_seconds)
            return False
        self._runner.close()
        self.manager.close()
        return True

    def _warm_up(self, servable: Servable) -> None:
        if self._options.loading.warm_up:
            iterations = self._options.loading.warmup_iterations
            warmup.replay(self._warming, self._metrics, servable, iterations)

    def _tell_health(self) -> None:
        self._grpc.set_ready(self.manager.ready())


def _run_at_once(
    servable: Servable,
    api: str,
    feeds: Mapping[str, np.ndarray],
    fetches: Sequence[str],
    deadline: float,
) -> list[np.ndarray]:
    return servable.run(feeds, fetches, deadline)
