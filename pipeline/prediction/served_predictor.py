"""Predicts files with a model that a running server has."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from preprocessing.support.errors import UsageError, cause
from serving import clients
from serving.gateway.refusals import Refused
from serving.gateway.served_versions import ASK_SECONDS, ModelOptions, ServedVersion, Versions
from serving.model import card
from serving.model.outputs import CropOutputs, NoOutputs
from serving.model.predictor import FilePredictor


@dataclasses.dataclass(frozen=True)
class RemoteServer:
    """A running server, and the model on it that predicts.

    Attributes:
      url: address, see `serving.clients.connect`.
      name: name of the model on the server; empty for the name of its folder.
      token: bearer token; empty sends none.
      ca: PEM file with the authority that signed the server's certificate; empty takes the
        system's.
    """

    url: str
    name: str = ""
    token: str = dataclasses.field(default="", repr=False)
    ca: str = ""


class ServedPredictor(FilePredictor):
    """Scores files with one version of a model on a server, for as long as it is served.

    Each request of a file's crops (`ClientSettings.batch_size` of them) may take as long as
    `ClientSettings.deadline`; what one does not need, the others may.

    Args:
      server: the server and its model.
      model: folder of a model version, which is asked for then, or of the versions that the server
        serves, of which the highest that it answers for is taken. Only its card is read.
      all_faces: see `Predictor`.
      false_positive_rate: see `Predictor`.
      miss_rate: see `Predictor`.
      precropped: see `Predictor`.

    Raises:
      UsageError: see `Predictor`; or the address or the folder cannot be used, as one without the
        version that is served.
      NoOutputs: the server does not answer, or not for this model or version.
    """

    def __init__(
        self,
        server: RemoteServer,
        model: str | Path,
        all_faces: bool = False,
        false_positive_rate: float | None = None,
        miss_rate: float | None = None,
        precropped: bool = False,
    ):
        base, number = _base_and_version(Path(model))
        name = server.name or base.resolve().name
        self._client = clients.ClientSettings(token=server.token, tls_ca=server.ca)
        rates = false_positive_rate, miss_rate
        self._versions = Versions(
            ModelOptions(server.url, name, base, *rates, self._client, precropped)
        )
        self._server = server.url
        version = self._served(number, name)
        self._number = version.number
        super().__init__(
            f"{name} version {version.number} on {server.url}",
            version.settings,
            version.decision_rule,
            version.about,
            all_faces,
        )

    def outputs(self, jpegs: Sequence[bytes]) -> CropOutputs:
        """See `FilePredictor.outputs`."""
        appearance = self.decision_rule.familiarity is not None
        with self._asked("scores") as scorer:
            scores = scorer.score(jpegs, self._deadline(jpegs), self._number, appearance)
        return CropOutputs(scores.logits, scores.appearance)

    def cells(self, jpegs: Sequence[bytes]) -> np.ndarray | None:
        """See `FilePredictor.cells`."""
        if not jpegs:
            return None
        with self._asked("heat maps") as scorer:
            return scorer.cells(jpegs, self._deadline(jpegs), self._number)

    def close(self) -> None:
        """Closes the connection, and ends the processes that decode files."""
        super().close()
        self._versions.close()

    def _deadline(self, jpegs: Sequence[bytes]) -> float:
        """Seconds for all requests about crops."""
        return self._client.deadline * math.ceil(len(jpegs) / self._client.batch_size)

    @contextlib.contextmanager
    def _asked(self, what: str) -> Iterator[clients.Scorer]:
        """The scorer; its errors become `NoOutputs`, which say what was asked for."""
        try:
            yield self._versions.connect()
        except clients.ScoringError as error:
            again = "; ask again" if error.code == "NOT_FOUND" else ""
            raise NoOutputs(f"the model {self._name} gave no {what} ({error}){again}") from error

    def _served(self, number: int | None, name: str) -> ServedVersion:
        scorer = self._versions.connect()
        try:
            if number is None:
                return self._versions.served(scorer)
            served = scorer.versions(deadline=ASK_SECONDS)
        except Refused as error:
            # What the rates or the folder are to blame for, as without a server.
            if (usage := cause(error, UsageError)) is not None:
                raise usage from None
            raise NoOutputs(f"{self._server}: {error} (model {name!r})") from error
        except clients.ScoringError as error:
            raise NoOutputs(
                f"{self._server} does not serve the model {name!r} ({error})"
            ) from error
        if number not in served:
            raise NoOutputs(
                f"{self._server} serves version {', '.join(map(str, served)) or 'none'} of the "
                f"model {name!r}, and not {number}; name one that it serves with --model"
            )
        return self._versions.read(number)


def _base_and_version(model: Path) -> tuple[Path, int | None]:
    """The folder of versions, and the version where it is one's own folder that is given."""
    if not model.is_dir():
        raise UsageError(f"{model} is not a folder; give the folder of versions")
    folder = model.resolve()
    if card.is_version(folder.name) and (folder / "saved_model.pb").is_file():
        return folder.parent, int(folder.name)
    return model, None
