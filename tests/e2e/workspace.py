"""A dataset, an output folder and the pipeline between them, small enough for tests."""

import dataclasses
import json
from pathlib import Path

from pipeline.config import load_config
from pipeline.run import run

SMALL = (
    "data.demo.train_identities=8",
    "data.demo.val_identities=3",
    "data.demo.test_identities=4",
    "extraction.frames_per_clip=3",
    "model.backbone=tiny",
    "training.batch_size=8",
    "training.epochs=1",
    "training.steps_per_epoch=8",
    "training.recalibration_steps=2",
    "evaluation.gate.min_accuracy=0.0",
    "evaluation.gate.min_auc=0.0",
    # So small a model's AUC is a coin's; what the gate does is tested by its own values.
    "evaluation.gate.max_auc_drop=1.0",
    "evaluation.clip_gate.min_accuracy=0.0",
    "evaluation.clip_gate.min_auc=0.0",
    "evaluation.clip_gate.max_auc_drop=1.0",
    "evaluation.resamples=100",
)


@dataclasses.dataclass
class Workspace:
    """A dataset and an output folder; `run` is the pipeline's own entry.

    Attributes:
      data: folder of the dataset.
      output: folder of the run.
      own: overrides of every run, after SMALL.
    """

    data: Path
    output: Path
    own: tuple[str, ...] = ()

    def config_texts(self) -> list[str]:
        """Overrides of every run, without the places of data and output."""
        return [*SMALL, *self.own]

    def config(self, *overrides: str):
        places = [
            f"data.dir={json.dumps(str(self.data))}",
            f"output={json.dumps(str(self.output))}",
        ]
        return load_config("demo", [*self.config_texts(), *places, *overrides])

    def run(self, *overrides: str) -> tuple[int, dict]:
        """Exit status and summary (empty when there is none) of one run."""
        path = self.output / "summary.json"
        path.unlink(missing_ok=True)
        status = run(self.config(*overrides))
        return status, json.loads(path.read_text()) if path.exists() else {}


def executed(summary: dict) -> set[str]:
    return {node for node, state in summary["nodes"].items() if state == "executed"}
