"""The served version with its crop settings, so that crops and scores belong to one version."""

from __future__ import annotations

import dataclasses
import logging
import threading
from pathlib import Path
from typing import Any

from preprocessing.faces.crop_settings import CropSettings
from preprocessing.support.errors import UsageError
from preprocessing.support.readable import check_readable
from serving import clients
from serving.gateway.refusals import Refused, unavailable
from serving.model import card
from serving.model.provenance import Provenance
from serving.model.verdict import DecisionRule

_LOG = logging.getLogger(__name__)

# For the question which versions are served; a server that takes longer does not answer.
ASK_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class ServedVersion:
    """A version of the model, and what stands beside it.

    Attributes:
      number: number of the version, its folder's name.
      settings: crop settings of the version.
      decision_rule: rule of its verdicts.
      about: description in answers, see `ModelCard.about`.
      provenance: provenance on its card; None where it has none.
    """

    number: int
    settings: CropSettings
    decision_rule: DecisionRule
    about: dict[str, Any]
    provenance: Provenance | None = None


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """Which model is asked, and where.

    Attributes:
      server: address, see `serving.clients.connect`.
      model: name of the model on the server.
      base: folder of the version folders that the server serves.
      false_positive_rate: share of real clips that may be called fake; None for the card's.
      miss_rate: share of fake clips that may be called real; None for the card's.
      client: request settings.
      precropped: whether the files are crops already.
    """

    server: str
    model: str
    base: Path
    false_positive_rate: float | None
    miss_rate: float | None
    client: clients.ClientSettings
    precropped: bool = False


class Versions:
    """Reads what stands beside the versions, and asks the server which it serves.

    Nothing is remembered: the files are small beside a video, and a folder or a server that
    changed is noticed with the next request. Only the scorer is kept.

    Args:
      options: model and server.

    Raises:
      UsageError: the server's address is none.
    """

    def __init__(self, options: ModelOptions):
        clients.check_address(options.server)
        self._options = options
        self._scorer: clients.Scorer | None = None
        self._lock = threading.Lock()

    def connect(self) -> clients.Scorer:
        """What asks the server; made with the first call, which for gRPC imports TensorFlow.

        All calls about a file are made with one scorer of its `for_file`.
        """
        with self._lock:
            if self._scorer is None:
                options = self._options
                self._scorer = clients.connect(options.server, options.model, options.client)
            return self._scorer

    def close(self) -> None:
        """Closes the connection to the server."""
        with self._lock:
            if self._scorer:
                self._scorer.close()
                self._scorer = None

    def newest(self) -> ServedVersion:
        """The highest version in the folder.

        Raises:
          UsageError: there is none, or its crops or thresholds cannot be had here.
        """
        base = self._options.base
        check_readable(base)
        numbers = card.version_folders(base)
        if not numbers:
            raise UsageError(
                f"{base} holds no version of a model; give the folder of version folders that "
                "the model server serves"
            )
        return self.read(max(numbers))

    def read(self, number: int) -> ServedVersion:
        """What stands beside a version.

        Raises:
          UsageError: as `newest`.
        """
        folder = self._options.base / str(number)
        if not folder.is_dir():  # Zeros may stand before it; every request asks, so not at once.
            folder = card.version_folders(self._options.base).get(number, folder)
        model_card = card.read(folder)
        return ServedVersion(
            number,
            model_card.answer_settings(self._options.precropped),
            DecisionRule.of(model_card, self._options.false_positive_rate, self._options.miss_rate),
            model_card.about(self._options.model, number),
            model_card.provenance,
        )

    def served(self, scorer: clients.Scorer | None = None) -> ServedVersion:
        """The highest version that the server answers for and whose crops can be cut here.

        Args:
          scorer: scorer that asks, see `Scorer.for_file`; None for one of its own.

        Raises:
          Refused: the server does not answer, or serves no such version; the latter from the
            `UsageError` of the highest that it serves.
        """
        if scorer is None:
            with self.connect().for_file() as scorer:
                return self.served(scorer)
        try:
            numbers = scorer.versions(deadline=ASK_SECONDS)
        except clients.ScoringError as error:
            raise refusal(error) from error
        problems: list[UsageError] = []
        for number in numbers:
            try:
                return self.read(number)
            except UsageError as error:
                problems.append(error)
                _LOG.warning("version %d is served and cannot be used: %s", number, error)
        if not numbers:
            raise unavailable("the model server has no version ready", "no_server")
        raise unavailable(
            f"the model server serves version {', '.join(map(str, numbers))}, whose crops this "
            "gateway does not know how to cut; its log says why",
            "no_settings",
        ) from problems[0]


def refusal(error: clients.ScoringError) -> Refused:
    """What a client of the gateway gets when the model server gave no scores."""
    _LOG.warning("the model server gave no scores: %s", error)
    if error.code == "NOT_FOUND":
        return unavailable("the model server does not serve the model", "no_server")
    if error.code == "RESOURCE_EXHAUSTED":
        return unavailable("the model server is busy", "no_server")
    if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return unavailable("the model server does not answer", "no_server")
    return Refused(502, "the model server failed; the gateway's log says how", "model_error")
