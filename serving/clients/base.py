"""The base of the gRPC and REST scorers: batches, deadlines, retries."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import tenacity

from serving.clients.upright import upright

# Of TensorFlow Serving, over gRPC and over REST.
_NO_SIGNATURE = re.compile(r"signature (key|name).*not found")
_Answer = TypeVar("_Answer")


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
    """Request settings of a `Scorer`.

    Attributes:
      batch_size: crops a request; more are split.
      deadline: seconds for all requests of one call, retries included.
      attempts: number of attempts of each request. Only UNAVAILABLE is tried again: no server
        answered, or it stopped.
      first_wait: seconds before the second attempt; each wait is up to twice the one before.
      longest_wait: seconds that a wait takes at most.
      max_message_bytes: bytes of an answer at most; gRPC's own default is 4 MB.
      token: bearer token; empty sends none.
      tls_ca: path of a PEM file with the authority that signed the server's certificate; empty
        takes the system's authorities.
      signature: name of the signature that gives scores.
      input_name: name of its input, encoded crops; the same for `explain_signature`.
      output_name: name of the output with the logits.
      score_name: name of the output with P(fake).
      appearance_name: name of the output with the distance to the training crops and the image
        facts.
      explain_signature: name of the signature that gives class activation maps.
      cells_name: name of the class activation map's output.
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
    explain_signature: str = "explain"
    cells_name: str = "cells"


@dataclasses.dataclass(frozen=True)
class CropScores:
    """Model outputs for crops.

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
      model: name of the model on the server.
      settings: request settings.
      version: number of the version; None takes the latest.
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
        check: Callable[[], None] = lambda: None,
    ) -> CropScores:
        """Scores encoded crops.

        Args:
          crops: JPEG or PNG files. Those with an EXIF orientation are turned upright.
          deadline: seconds for the whole call; None takes the settings'.
          version: a version number; None takes the scorer's.
          appearance: whether `appearance_name` is asked for, too, which not every model has.
          check: function that is called before each request; what it raises ends the call.

        Returns:
          Scores in the order of the crops; empty arrays for no crops.

        Raises:
          ScoringError: the server refused, failed, or was not there in time.
        """
        settings = self.settings
        names = [settings.score_name, settings.output_name]
        names += [settings.appearance_name] if appearance else []
        parts = [
            self._scores(outputs, count, appearance)
            for outputs, count in self._batches(
                crops, settings.signature, names, deadline, version, check
            )
        ]
        if not parts:
            return CropScores(np.zeros(0, np.float32), np.zeros(0, np.float32))
        return CropScores(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.appearance for part in parts]) if appearance else None,
        )

    def cells(
        self,
        crops: Sequence[bytes],
        deadline: float | None = None,
        version: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> np.ndarray | None:
        """Class activation maps of encoded crops.

        Args:
          crops: see `score`; at least one.
          deadline: see `score`.
          version: see `score`.
          check: see `score`.

        Returns:
          One logit per spatial position, float32 [crops, rows, columns]; None where the model has
          no such signature.

        Raises:
          ScoringError: see `score`.
        """
        name, signature = self.settings.cells_name, self.settings.explain_signature
        try:
            batches = self._batches(crops, signature, [name], deadline, version, check)
        except ScoringError as error:
            if _NO_SIGNATURE.search(str(error)):
                return None
            raise
        for outputs, count in batches:
            if outputs[name].ndim != 3 or len(outputs[name]) != count:
                raise ScoringError(
                    "INTERNAL",
                    f"the server gave class activation maps of shape {outputs[name].shape} for "
                    f"{count} crops",
                )
        cells: np.ndarray = np.concatenate([outputs[name] for outputs, _ in batches])
        return cells

    @contextlib.contextmanager
    def for_file(self) -> Iterator[Scorer]:
        """A scorer for the calls about one file, which ends with the block.

        Where the address has several servers they may serve different versions, so all calls about
        a file go to one of them, and those about the next file to another. Without such a choice
        it is this scorer.
        """
        yield self

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
        self,
        crops: list[bytes],
        signature: str,
        names: Sequence[str],
        seconds: float,
        version: int | None,
    ) -> dict[str, np.ndarray]:
        """One request, one attempt: the outputs of these names, float32."""

    def _batches(
        self,
        crops: Sequence[bytes],
        signature: str,
        names: Sequence[str],
        deadline: float | None,
        version: int | None,
        check: Callable[[], None],
    ) -> list[tuple[dict[str, np.ndarray], int]]:
        """The outputs of a signature, and the number of crops, of each batch."""
        crops = [upright(crop) for crop in crops]
        size = self.settings.batch_size
        version = self.version if version is None else version
        end = self._end(deadline)
        answers = []
        for start in range(0, len(crops), size):
            check()
            batch = crops[start : start + size]

            def ask(seconds: float, batch: list[bytes] = batch) -> dict[str, np.ndarray]:
                return self._request(batch, signature, names, seconds, version)

            outputs = self._with_retries(ask, end)
            answers.append((outputs, len(batch)))
        return answers

    def _end(self, deadline: float | None) -> float:
        """`time.monotonic` at the deadline of a call that begins now; None takes the settings'."""
        return time.monotonic() + (self.settings.deadline if deadline is None else deadline)

    def _with_retries(self, ask: Callable[[float], _Answer], end: float) -> _Answer:
        """The answer to a request, which is tried as often as the settings say.

        Args:
          ask: makes one attempt, which may take so many seconds.
          end: `time.monotonic` after which there is no other attempt.
        """
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

        def attempt() -> _Answer:
            seconds = end - time.monotonic()
            if seconds <= 0:
                raise ScoringError("DEADLINE_EXCEEDED", "there was no time left for the request")
            return ask(seconds)

        return retrying(attempt)

    def _scores(
        self, outputs: Mapping[str, np.ndarray], crops: int, appearance: bool
    ) -> CropScores:
        settings = self.settings
        scores, logits = outputs[settings.score_name], outputs[settings.output_name]
        if scores.shape != (crops,) or logits.shape != (crops,):
            raise ScoringError(
                "INTERNAL",
                f"the server gave {scores.shape} scores for {crops} crops; is it a model of this "
                "project?",
            )
        appearances = outputs[settings.appearance_name] if appearance else None
        if appearances is not None and (appearances.ndim != 2 or len(appearances) != crops):
            raise ScoringError(
                "INTERNAL", f"the server gave an appearance of shape {appearances.shape}"
            )
        return CropScores(scores, logits, appearances)


def no_output(name: str) -> ScoringError:
    """For an answer of a model server that lacks an output."""
    return ScoringError(
        "INTERNAL", f"the server gave no output {name!r}; is it a model of this project?"
    )


def _is_unavailable(error: BaseException) -> bool:
    return isinstance(error, ScoringError) and error.code == "UNAVAILABLE"
