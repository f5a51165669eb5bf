"""What a request names, and what the manager knows of each model."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

from serving.server.config import ServedModelConfig
from serving.server.model_versions import ModelVersion, State
from serving.server.status_codes import Code, ServingError, invalid

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Target:
    """What a request names: a model, and at most one of version and label."""

    name: str
    version: int | None = None
    label: str = ""

    def __str__(self) -> str:
        if self.version is not None:
            return f"Specific({self.name}, {self.version})"
        return f"Latest({self.name})"


class ServedModel:
    """A model that is configured.

    Args:
      config: name, folder, policy and labels.

    Attributes:
      config: name, folder, policy and labels; replaced when the configuration changes.
      versions: number -> version, of those that were on disk since the start.
      problem: fault of its folder, as it was last reported; empty when there is none.
      successor: model of the same name with another folder, which takes this one's place with its
        first version that answers; None where the folder stays.
    """

    def __init__(self, config: ServedModelConfig):
        self.config = config
        self.versions: dict[int, ModelVersion] = {}
        self.problem = ""
        self.successor: ServedModel | None = None

    def reconfigure(self, config: ServedModelConfig) -> None:
        """Takes over another configuration; another folder makes a `successor`.

        Labels stay until `reload` has checked them; a successor has its own.

        Args:
          config: configuration of the same name.
        """
        if config.base_path == self.config.base_path:
            self.successor = None
            self.config = dataclasses.replace(config, labels=self.config.labels)
        elif self.successor and config.base_path == self.successor.config.base_path:
            self.successor.config = config
        else:
            self.successor = ServedModel(config)

    def report(self, problem: str) -> None:
        """Logs what is wrong with its folder once, and the end of that.

        Args:
          problem: what is wrong; empty where nothing is.
        """
        name = self.config.name
        if problem and problem != self.problem:
            _LOG.warning("model %s: %s; versions %s stay", name, problem, self.live())
        elif self.problem and not problem:
            _LOG.info("model %s: its folder is in order again", name)
        self.problem = problem

    def live(self) -> list[int]:
        """Numbers of the versions that answer, highest first."""
        return sorted(
            (v.number for v in self.versions.values() if v.state is State.AVAILABLE), reverse=True
        )

    def labelled(self, label: str) -> int:
        """The version that a label names.

        Raises:
          ServingError: INVALID_ARGUMENT for an unknown label.
        """
        if label not in self.config.labels:
            raise invalid(f"Unrecognized servable version label: {label}")
        return self.config.labels[label]

    def check_labels(self, labels: Mapping[str, int], of_unavailable: bool) -> None:
        """Sees to it that labels may be assigned.

        Args:
          labels: versions by label.
          of_unavailable: whether a label that names no version yet may name one that does not
            answer; one that moves may not even then.

        Raises:
          ServingError: FAILED_PRECONDITION.
        """
        live = self.live()
        for label, number in labels.items():
            moves = self.config.labels.get(label, number) != number
            if number not in live and (moves or not of_unavailable):
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {number} of model {self.config.name}, "
                    "which is not currently available for inference",
                )
