"""The model manager: polls folders, serves the highest version, drains the old one."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from serving.server.config import LoadOptions, ServedModelConfig
from serving.server.metrics import Metrics
from serving.server.model_versions import (
    ModelVersion,
    State,
    fingerprint,
    forget_ended,
    list_versions,
)
from serving.server.servable import Servable, is_complete
from serving.server.served_model import ServedModel, Target
from serving.server.status_codes import Code, ServingError, invalid

_LOG = logging.getLogger(__name__)

_DEFAULTS = LoadOptions()


class ModelManager:
    """Loads, announces, drains and frees versions, in a thread of its own.

    A version is announced after it was loaded and warmed up; one that cannot be is reported and
    the next lower one serves. Versions leave when another of their model is there.

    Args:
      models: models to serve.
      metrics: metrics in which loads are counted.
      options: options of looking for versions and loading them.
      warm_up: function that is called with each loaded version; an error keeps the version from
        being announced.
      on_change: function that is called after each look at the folders.
    """

    def __init__(
        self,
        models: Sequence[ServedModelConfig],
        metrics: Metrics,
        options: LoadOptions = _DEFAULTS,
        warm_up: Callable[[Servable], object] = lambda servable: None,
        on_change: Callable[[], None] = lambda: None,
    ):
        self._metrics = metrics
        self._options = options
        self._warm_up = warm_up
        self.on_change = on_change
        self._lock = threading.Lock()
        self._models = {config.name: ServedModel(config) for config in models}
        for name in self._models:
            metrics.add_model(name)
        # Versions that are no longer announced and wait for their last request.
        self._draining: list[tuple[str, ModelVersion]] = []
        self._wake = threading.Event()
        self._stopped = False
        # Held while folders are looked at: by the thread, or by a reload.
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._poll, name="models", daemon=True)

    def start(self) -> None:
        """Looks once, so that what can be served is, and goes on in the background.

        Raises:
          ServingError: FAILED_PRECONDITION for a label of a version that is not served.
        """
        self.look()
        with self._lock:
            self._check_labels([model.config for model in self._models.values()])
        self._thread.start()

    def close(self) -> None:
        """Stops looking and frees all versions. No request may be running."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._looking:
            for model in self._models.values():
                self._retire_all(model, "the server stops")
            self._free_drained()

    @contextlib.contextmanager
    def acquire(self, target: Target) -> Iterator[Servable]:
        """Holds a version while a request uses it.

        Args:
          target: model and version that the request names.

        Raises:
          ServingError: NOT_FOUND for a model or version that is not served, INVALID_ARGUMENT for
            an unknown label.
        """
        with self._lock:
            version = self._find(target)
            version.users += 1
        try:
            yield version.servable
        finally:
            with self._lock:
                version.users -= 1
                last = version.users == 0 and version.state is State.UNLOADING
            if last:
                self._wake.set()

    def status(self, target: Target) -> list[ModelVersion]:
        """Copies of the versions that a status request asks for, highest first.

        Raises:
          ServingError: NOT_FOUND or, for an unknown label, INVALID_ARGUMENT.
        """
        with self._lock:
            model = self._models.get(target.name)
            if target.label:
                if model is None:
                    raise ServingError(Code.NOT_FOUND, f"Could not find model {target.name}")
                target = dataclasses.replace(target, version=model.labelled(target.label))
            versions = dict(model.versions) if model else {}
            if target.version is not None and target.version not in versions:
                raise ServingError(
                    Code.NOT_FOUND,
                    f"Could not find version {target.version} of model {target.name}",
                )
            if not versions:
                raise ServingError(
                    Code.NOT_FOUND, f"Could not find any versions of model {target.name}"
                )
            wanted = [target.version] if target.version is not None else versions
            return [
                dataclasses.replace(versions[number], servable=None)
                for number in sorted(wanted, reverse=True)
            ]

    def known(self, name: str) -> bool:
        """Whether a model of this name is configured."""
        return name in self._models

    def ready(self) -> bool:
        """Whether each configured model answers."""
        with self._lock:
            return bool(self._models) and all(model.live() for model in self._models.values())

    def summary(self) -> dict[str, list[int]]:
        """The versions that answer, by model."""
        with self._lock:
            return {name: model.live() for name, model in self._models.items()}

    def reload(self, models: Sequence[ServedModelConfig]) -> None:
        """Serves other models from now on; returns when they are loaded.

        A model whose folder changes answers from the former one until the new one has a version
        that can be served, with a later look at the latest.

        Raises:
          ServingError: FAILED_PRECONDITION for a label of a version that is not served (labels
            stay as they were), UNKNOWN when a model has no version that can be served.
        """
        with self._looking:
            with self._lock:
                former = self._models
                self._models = {}
                for config in models:
                    model = former.get(config.name)
                    if model is not None:
                        model.reconfigure(config)
                    if model is None or (model.successor and not model.live()):
                        model = ServedModel(config)
                        self._metrics.add_model(config.name)
                    self._models[config.name] = model
                removed = [model for model in former.values() if model not in self._models.values()]
            self._look()
            for model in removed:
                self._retire_all(model, "the configuration changed")
            self._free_drained()
            with self._lock:
                settled = [config for config in models if not self._models[config.name].successor]
                self._check_labels(settled)
                for config in settled:
                    self._models[config.name].config = config
                missing = [n for n, m in self._models.items() if m.successor or not m.live()]
        self.on_change()
        if missing:
            raise ServingError(
                Code.UNKNOWN, f"Some models did not become available: {{{', '.join(missing)}}}"
            )

    def look(self) -> None:
        """One look at the folders, with all that follows from it."""
        with self._looking:
            self._look()
        self.on_change()

    def _poll(self) -> None:
        while not self._stopped:
            # Woken, it frees versions; with 0 seconds it does nothing else.
            self._wake.wait(self._options.poll_seconds or None)
            self._wake.clear()
            if self._stopped:
                return
            try:
                if self._options.poll_seconds:
                    self.look()
                else:
                    with self._looking:
                        self._free_drained()
            except Exception:  # The thread must outlive whatever a file system does.
                _LOG.exception("looking at the version folders failed; served versions stay")

    def _look(self) -> None:
        for name, model in list(self._models.items()):
            self._look_at(model.successor or model)
            if model.successor and model.successor.live():
                with self._lock:
                    self._models[name] = model.successor
                self._retire_all(model, "a version of another folder is served")
        self._free_drained()

    def _look_at(self, model: ServedModel) -> None:
        try:
            folders, problem = list_versions(model.config.base_path)
            complete, closed = _complete(folders, model.live())
        except OSError as error:
            model.report(f"its folder cannot be listed ({error.strerror})")
            return
        if closed:
            problem = (
                f"version {', '.join(map(str, closed))} may not be read by the user "
                f"{os.geteuid()} of this process"
            )
        self._note_incomplete(model, folders.keys() - complete.keys() - set(closed))
        usable = [n for n, path in complete.items() if self._may_serve(model, n, path)]
        while True:
            chosen = model.config.policy.choose(usable)
            missing = [number for number in chosen if number not in model.live()]
            if not missing:
                break
            if not self._load(model, missing[0], complete[missing[0]]):
                usable.remove(missing[0])  # What is wanted now is the next lower version.
        if not chosen and not closed:
            model.report("there is no version that can be served in its folder")
        else:
            model.report(problem)
        live = model.live()
        if set(live) & set(chosen):
            for number in set(live) - set(chosen):
                why = "another version is served" if number in complete else "its files are gone"
                self._retire(model, model.versions[number], why)
        with self._lock:
            forget_ended(model.versions, folders)

    def _note_incomplete(self, model: ServedModel, numbers: set[int]) -> None:
        for number in numbers:
            version = model.versions.get(number)
            if version is None or version.state is State.END:
                with self._lock:
                    version = model.versions[number] = ModelVersion(number)
                    version.set(State.START, Code.UNAVAILABLE, "waiting for saved_model.pb")
                _LOG.warning(
                    "model %s: version %d has no saved_model.pb yet", model.config.name, number
                )
        with self._lock:
            for number, version in list(model.versions.items()):
                if version.state is State.START and number not in numbers:
                    del model.versions[number]

    def _may_serve(self, model: ServedModel, number: int, path: Path) -> bool:
        version = model.versions.get(number)
        if version is None or not version.attempts or version.state is not State.END:
            return version is None or version.state is not State.UNLOADING
        if version.fingerprint != fingerprint(path):
            version.attempts = 0
            return True
        return (
            version.attempts <= self._options.max_retries and time.monotonic() >= version.retry_at
        )

    def _load(self, model: ServedModel, number: int, path: Path) -> bool:
        name = model.config.name
        before = model.versions.get(number)
        version = ModelVersion(number, attempts=before.attempts if before else 0)
        version.fingerprint = fingerprint(path)
        with self._lock:
            model.versions[number] = version
            version.set(State.LOADING)
        _LOG.info("model %s: loading version %d", name, number)
        start = time.monotonic()
        servable = None
        try:
            servable = Servable(name, number, path, self._options.tags)
            self._warm_up(servable)
        except Exception as error:
            if not isinstance(error, ServingError):
                _LOG.exception("model %s: loading version %d failed", name, number)
                error = ServingError(Code.INTERNAL, "loading failed; the server's log says why")
            stage = "warm-up" if servable else "loading"
            if servable:
                servable.close()
            self._metrics.load_attempts.add(name, "fail")
            version.attempts += 1
            version.retry_at = time.monotonic() + self._options.retry_seconds
            with self._lock:
                version.set(State.END, error.code, f"{stage} failed: {error.message}")
            _LOG.error(
                "model %s: version %d is not served, %s failed: %s; versions %s stay",
                name,
                number,
                stage,
                error.message,
                model.live(),
            )
            return False
        self._metrics.load_attempts.add(name, "success")
        with self._lock:
            version.servable = servable
            version.attempts = 0
            version.set(State.AVAILABLE)
        _LOG.info(
            "model %s: version %d is served (ready in %.1f s)",
            name,
            number,
            time.monotonic() - start,
        )
        return True

    def _retire_all(self, model: ServedModel, why: str) -> None:
        for number in model.live():
            self._retire(model, model.versions[number], why)

    def _retire(self, model: ServedModel, version: ModelVersion, why: str) -> None:
        with self._lock:
            version.set(State.UNLOADING)
            self._draining.append((model.config.name, version))
        _LOG.info("model %s: version %d leaves: %s", model.config.name, version.number, why)

    def _free_drained(self) -> None:
        with self._lock:
            done = [(name, version) for name, version in self._draining if version.users == 0]
            self._draining = [entry for entry in self._draining if entry not in done]
        for name, version in done:
            servable, version.servable = version.servable, None
            servable.close()
            with self._lock:
                version.set(State.END)
            _LOG.info("model %s: version %d was unloaded", name, version.number)

    def _find(self, target: Target) -> ModelVersion:
        if not target.name:
            raise invalid("ModelSpec has no name specified.")
        model = self._models.get(target.name)
        if model is not None:
            number = target.version
            if target.label:
                number = model.labelled(target.label)
            elif number is None:
                number = next(iter(model.live()), None)
            version = model.versions.get(number) if number is not None else None
            if version is not None and version.state is State.AVAILABLE:
                return version
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {target}")

    def _check_labels(self, models: Sequence[ServedModelConfig]) -> None:
        for config in models:
            self._models[config.name].check_labels(
                config.labels, self._options.labels_of_unavailable
            )


def _complete(
    folders: Mapping[int, Path], live: Collection[int]
) -> tuple[dict[int, Path], list[int]]:
    """The versions that have a SavedModel, and those that may not be looked into.

    Args:
      folders: number of a version -> its folder.
      live: versions that are served; they stay though they may not be looked into any more.
    """
    complete, closed = {}, []
    for number, path in folders.items():
        try:
            has_model = is_complete(path)
        except PermissionError:
            closed.append(number)
            has_model = number in live
        if has_model:
            complete[number] = path
    return complete, sorted(closed)
