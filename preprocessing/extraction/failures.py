"""Clips that failed in runs, and whether another try may change that."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path

from preprocessing.support.files import place, replacing

# Beside the store: without its clips they are extracted again, and TFX may still know the results
# of earlier attempts.
_FAILURES = "{}-failures.json"


@dataclasses.dataclass(frozen=True)
class Failures:
    """Clips of the last run that failed for a passing reason, and how often that was tried again.

    TFX reuses what a node made when its parameters are the same. A run that ended with such clips
    would be reused too, so FaceExtractor has `attempt` as a parameter: the run after it gets a
    higher one, works again, finds the finished clips in the store, and tries the others. All that
    follows, training too, is done again then. So a clip that fails in two runs in a row is no
    reason for a third try, until the store holds it: `deepfake extract` tries it at any time.

    Attributes:
      attempt: parameter of the last run.
      clips: path -> reason, of those that failed in it.
      repeated: paths of those that had failed in the run before it, too.
    """

    attempt: int = 0
    clips: dict[str, str] = dataclasses.field(default_factory=dict)
    repeated: tuple[str, ...] = ()

    @classmethod
    def read(cls, store: str | Path) -> Failures:
        """Of a store; no failures where nothing (readable) is written down."""
        try:
            record = json.loads(_failures_of(store).read_text(encoding="utf-8"))
            clips = dict(record["clips"])
            repeated = tuple(path for path in record.get("repeated", ()) if path in clips)
            return cls(int(record["attempt"]), clips, repeated)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def write(self, store: str | Path) -> None:
        """Writes them down for the next run."""
        with replacing(_failures_of(store)) as file:
            json.dump(dataclasses.asdict(self), file, indent=1)

    def after(self, attempt: int, clips: dict[str, str]) -> Failures:
        """Those of the run that follows.

        Args:
          attempt: its parameter.
          clips: path -> reason, of the clips that failed in it.
        """
        return Failures(attempt, clips, tuple(sorted(clips.keys() & self.clips.keys())))

    def next_attempt(self, finished: Collection[str] = ()) -> int:
        """The parameter of the next run: a higher one where a try may change something.

        Args:
          finished: paths of clips whose faces the store holds by now.
        """
        settled = set(self.repeated) - set(finished)
        return self.attempt + bool(self.clips.keys() - settled)


def _failures_of(store: str | Path) -> Path:
    folder = place(store)
    return folder.with_name(_FAILURES.format(folder.name))
