"""The base of the gRPC and REST scorers: batches, deadlines, retries."""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import tenacity

from serving.clients.upright import upright


class ScoringError(RuntimeError):
    """The server gave no scores.

    Attributes:
      code: name of the canonical status code, such as `NOT_FOUND`.
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclasses.dataclass(frozen=True)
class ClientSettings:
    """How a scorer asks.

    Attributes:
      batch_size: crops a request; more are split.
      deadline: seconds for all requests of one call, retries included.
      attempts: of each request. Only UNAVAILABLE is tried again: then the server did not begin.
      first_wait: seconds before the second attempt; each wait is up to twice the one before.
      longest_wait: bound of the waits.
      max_message_bytes: of an answer; gRPC's own default is 4 MB.
      token: bearer token; empty sends none.
      tls_ca: path of a PEM file with the authority that signed the server's certificate; empty
        takes the system's authorities.
      signature: of the model.
      input_name: of the signature.
      output_name: that holds logits.
      score_name: that holds P(fake).
      appearance_name: that holds what crops look like, where it is asked for.
    """

    batch_size: int = 16
    deadline: float = 30.0
    attempts: int = 4
    first_wait: float = 0.1
    longest_wait: float = 2.0
    max_message_bytes: int = 64 << 20
    token: str = dataclasses.field(default="", repr=False)
    tls_ca: str = ""
    signature: str = "serving_default"
    input_name: str = "image"
    output_name: str = "logit"
    score_name: str = "score"
    appearance_name: str = "appearance"


@dataclasses.dataclass(frozen=True)
class CropScores:
    """What a model says of crops.

    Attributes:
      scores: P(fake), float32 [crops].
      logits: float32 [crops].
      appearance: float32 [crops, 1 + facts]; None where it was not asked for.
    """

    scores: np.ndarray
    logits: np.ndarray
    appearance: np.ndarray | None = None


class Scorer(abc.ABC):
    """Scores face crops with a served model. Threads may share one.

    Args:
      model: its name on the server.
      settings: how to ask.
      version: a version number; None takes the latest.
    """

    def __init__(self, model: str, settings: ClientSettings, version: int | None = None):
        self.model = model
        self.settings = settings
        self.version = version

    def score(
        self,
        crops: Sequence[bytes],
        deadline: float | None = None,
        version: int | None = None,
        appearance: bool = False,
    ) -> CropScores:
        """Scores encoded crops.

        Args:
          crops: JPEG or PNG files. Those with an EXIF orientation are turned upright.
          deadline: seconds for the whole call; None takes the settings'.
          version: a version number; None takes the scorer's.
          appearance: ask for the output of this name, too, which not every model has.

        Returns:
          Scores in the order of the crops; empty arrays for no crops.

        Raises:
          ScoringError: the server refused, failed, or was not there in time.
        """
        crops = [upright(crop) for crop in crops]
        size = self.settings.batch_size
        version = self.version if version is None else version
        end = time.monotonic() + (self.settings.deadline if deadline is None else deadline)
        parts = [
            self._with_retries(list(crops[start : start + size]), end, version, appearance)
            for start in range(0, len(crops), size)
        ]
        if not parts:
            return CropScores(np.zeros(0, np.float32), np.zeros(0, np.float32))
        return CropScores(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.appearance for part in parts]) if appearance else None,
        )

    @abc.abstractmethod
    def versions(self, deadline: float | None = None) -> list[int]:
        """Numbers of the versions that answer, highest first.

        Args:
          deadline: seconds for the call; None takes the settings'.

        Raises:
          ScoringError: see `score`.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connections."""

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def _request(
        self, crops: list[bytes], seconds: float, version: int | None, appearance: bool
    ) -> CropScores:
        """One request, one attempt."""

    def _with_retries(
        self, crops: list[bytes], end: float, version: int | None, appearance: bool
    ) -> CropScores:
        settings, half = self.settings, self.settings.first_wait / 2
        longest = settings.longest_wait / 2
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_unavailable),
            # Half of the wait is random: clients that failed together must not return so.
            wait=tenacity.wait_exponential(multiplier=half, max=longest)
            + tenacity.wait_random_exponential(multiplier=half, max=longest),
            stop=tenacity.stop_after_attempt(settings.attempts)
            | tenacity.stop_before_delay(end - time.monotonic()),
            reraise=True,
        )
        return retrying(self._attempt, crops, end, version, appearance)

    def _attempt(
        self, crops: list[bytes], end: float, version: int | None, appearance: bool
    ) -> CropScores:
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise ScoringError("DEADLINE_EXCEEDED", "there was no time left for the request")
        scores = self._request(crops, seconds, version, appearance)
        return self._checked(scores, len(crops), appearance)

    @staticmethod
    def _checked(scores: CropScores, crops: int, appearance: bool) -> CropScores:
        if scores.scores.shape != (crops,) or scores.logits.shape != (crops,):
            raise ScoringError(
                "INTERNAL",
                f"the server gave {scores.scores.shape} scores for {crops} crops; is it a model "
                "of this project?",
            )
        shape = None if scores.appearance is None else scores.appearance.shape
        if appearance and (shape is None or len(shape) != 2 or shape[0] != crops):
            raise ScoringError("INTERNAL", f"the server gave an appearance of shape {shape}")
        return scores


def _is_unavailable(error: BaseException) -> bool:
    return isinstance(error, ScoringError) and error.code == "UNAVAILABLE"
