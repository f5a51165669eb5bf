"""The result of a serving check, as later nodes and the run's summary read it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

FILE = "report.json"


@dataclasses.dataclass
class ServingResult:
    """What the check found.

    Attributes:
      problems: why the model must not be pushed; none blesses it.
      skipped: why the model was not served; empty when it was.
      warmup_requests: how many the model holds; each was answered over both protocols.
      crops: how many of the examples were scored.
      largest_difference: of logits, by protocol, from those that evaluation had.
      p50_ms: median latency of one crop, by protocol.
      p95_ms: 95th percentile, by protocol.
      log: the end of the server's log, where something failed.
    """

    problems: list[str] = dataclasses.field(default_factory=list)
    skipped: str = ""
    warmup_requests: int = 0
    crops: int = 0
    largest_difference: dict[str, float] = dataclasses.field(default_factory=dict)
    p50_ms: dict[str, float] = dataclasses.field(default_factory=dict)
    p95_ms: dict[str, float] = dataclasses.field(default_factory=dict)
    log: str = ""

    @property
    def blessed(self) -> bool:
        """Whether nothing was found."""
        return not self.problems and not self.skipped

    def text(self) -> str:
        """The outcome in a line, or one a problem."""
        if self.problems or self.skipped:
            return self.skipped or "\n".join(self.problems)
        largest = max(self.largest_difference.values(), default=0.0)
        relation = f"at most {largest:.2g} from" if largest else "equal to"
        latency = ", ".join(f"{name} {value:.0f} ms" for name, value in self.p50_ms.items())
        return (
            f"{self.crops} crops over {' and '.join(self.p50_ms)}: logits {relation} the "
            f"evaluation's; median of one crop: {latency}"
        )

    def write(self, folder: str | Path) -> None:
        """Writes the file of this report into a folder, which is made where need be."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {"blessed": self.blessed, **dataclasses.asdict(self)}
        Path(folder, FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read(folder: str | Path) -> ServingResult:
    """Reads what `ServingResult.write` wrote."""
    document = json.loads(Path(folder, FILE).read_text(encoding="utf-8"))
    del document["blessed"]
    return ServingResult(**document)
