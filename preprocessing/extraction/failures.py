"""Clips that failed in runs, and whether another try may change that."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path

from preprocessing.support.files import place, replacing


@dataclasses.dataclass(frozen=True)
class Failures:
    """Clips of the last run that failed for a passing reason, and how often that was tried again.

    TFX reuses what a node made when its parameters are the same. A run that ended with such clips
    would be reused too, so FaceExtractor has `attempt` as a parameter: the run after it gets a
    higher one, works again, finds the finished clips in the store, and tries the others. All that
    follows, training too, is done again then. So a clip that fails in two runs in a row is no
    reason for a third try, until the store holds it: `deepfake extract` tries it at any time.

    Each configuration has a file of its own, since other clips fail in the runs of another. It lies
    beside the store, not in it: without the store, clips are extracted again, and TFX may still
    know the results of earlier attempts.

    Attributes:
      attempt: parameter of the last run.
      clips: path -> reason, of those that failed in it.
      repeated: paths of those that had failed in the run before it, too.
    """

    attempt: int = 0
    clips: dict[str, str] = dataclasses.field(default_factory=dict)
    repeated: tuple[str, ...] = ()

    @classmethod
    def read(cls, file: str | Path) -> Failures:
        """Those of a file; none where nothing (readable) is written down."""
        try:
            record = json.loads(place(file).read_text(encoding="utf-8"))
            clips = dict(record["clips"])
            repeated = tuple(path for path in record["repeated"] if path in clips)
            return cls(int(record["attempt"]), clips, repeated)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def write(self, file: str | Path) -> None:
        """Writes them down for the next run."""
        with replacing(place(file)) as record:
            json.dump(dataclasses.asdict(self), record, indent=1)

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
